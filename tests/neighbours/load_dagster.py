# Loads definitions into Dagster, says what it has understood, and runs the job with a program that ends with the status that the
# environment's STATUS says, and whose tests end as FAILED says. Arguments: the file of each warehouse, the first of which is run.
import importlib.util
import os
import sys

import dagster as dg


def loaded(path):
    name = os.path.basename(path).removesuffix(".py")
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    dg.Definitions.validate_loadable(module.defs)
    return name, module


modules = [loaded(path) for path in sys.argv[1:]]
# All are loaded; these are looked at.
SHOWN = ["ecommerce", "pagila", "watched"]
for name, module in modules:
    if name not in SHOWN:
        continue
    schedule = next(one for one in module.defs.schedules)
    print(f"{name}: {schedule.cron_schedule}, {schedule.execution_timezone}")
    graph = module.defs.resolve_asset_graph()
    for key in sorted(graph.get_all_asset_keys(), key=lambda key: key.path):
        node = graph.get(key)
        after = ", ".join(sorted(parent.path[-1] for parent in node.parent_keys))
        checks = ", ".join(sorted(check.name for check in node.check_keys))
        print(f"  {'.'.join(key.path[1:])} <- [{after}] {{{checks}}} {node.group_name}")

name, module = modules[0]
resolve = module.defs.resolve_job_def


def ended(status, failed="", exceeded="", job=name, resolve=resolve):
    os.environ.update(STATUS=status, FAILED=failed, EXCEEDED=exceeded)
    result = resolve(job).execute_in_process(raise_on_error=False)
    materialized = len(result.get_asset_materialization_events())
    failing = sorted(one.check_name for one in result.get_asset_check_evaluations() if not one.passed)
    retried = sum(event.event_type_value == "STEP_UP_FOR_RETRY" for event in result.all_events)
    print(f"status {status}: success {result.success}, {materialized} assets, failed {failing}, tried again {retried}")


ended("0")
ended("0", "range_fact_payment_amount")
ended("1")
watched = dict(modules)["watched"].defs.resolve_job_def
ended("0", job="watched", resolve=watched)
ended("0", exceeded="unapplied", job="watched", resolve=watched)
