# Written by `medallion schedule --for dagster`.
{%- if let Some(description) = description %}
{{ description }}
{%- endif %}
#
# Each relation is an asset, each test of the data a check. A run lands what is new and publishes all relations together, or
# none where a test refuses: so all assets are one step. The checks then look at all rows; what stands behind an asset
# waits for those that block.
#
# Who runs it needs `{{ program }}` and the variables DATABASE_URL and SOURCE_DATABASE_URL.

import json
import subprocess

import dagster as dg

COMMAND = [{{ command }}]

RELATIONS = [
{%- for relation in relations %}
    dg.AssetSpec(
        [{{ relation.key }}],
        deps=[{{ relation.reads }}],
        group_name={{ relation.layer }},
        kinds={"postgres"},
        description={{ relation.doc }},
    ),
{%- endfor %}
]
{%- if !tests.is_empty() %}

# By the name that the spec has for it.
TESTS = {
{%- for test in tests %}
    {{ test.name }}: dg.AssetCheckSpec(
        {{ test.check }},
        asset=[{{ test.key }}],
        blocking={{ test.blocking }},
        description={{ test.doc }},
    ),
{%- endfor %}
}
{%- endif %}
{%- if !alerts.is_empty() %}

# Thresholds of the spec's, about all that lands, by the names that `status` has for them.
ALERTS = {
{%- for alert in alerts %}
    {{ alert.name }}: dg.AssetCheckSpec(
        {{ alert.check }},
        asset=[{{ alert.key }}],
        blocking={{ alert.blocking }},
        description={{ alert.doc }},
    ),
{%- endfor %}
}
{%- endif %}

# What could not run is tried again.
AGAIN = dg.RetryPolicy(max_retries={{ retries }}, delay=60, backoff=dg.Backoff.EXPONENTIAL)


def ask(verb, well=(0,), **how):
    """Runs a verb of the warehouse. What it finds (status 1) it would find again, and is not tried again."""
    ended = subprocess.run([*COMMAND, *verb], check=False, **how)
    if ended.returncode not in well:
        said = f"`{' '.join(verb)}` ended with status {ended.returncode}: its output says why"
        raise dg.Failure(said, allow_retries=ended.returncode != 1)
    return ended.stdout


@dg.multi_asset(name={{ publish }}, specs=RELATIONS, retry_policy=AGAIN)
def publish():
    """Brings over what is new, and publishes it."""
    ask([{{ run }}])
    for relation in RELATIONS:
        yield dg.MaterializeResult(asset_key=relation.key)
{%- if !tests.is_empty() %}


@dg.multi_asset_check(name={{ look }}, specs=list(TESTS.values()), can_subset=True)
def look(context: dg.AssetCheckExecutionContext):
    """Holds all rows to the tests of the data."""
    asked = {name: spec for name, spec in TESTS.items() if spec.key in context.selected_asset_check_keys}
    select = [f"test:{''.join(c if c.isalnum() or c in '_-' else '?' for c in name)}" for name in asked]
    printed = ask(["test", "--format", "json", "--select", *select], well=(0, 1), stdout=subprocess.PIPE, text=True)
    ended = {one["unique_id"].removeprefix({{ prefix }}): one for one in json.loads(printed)["results"]}
    for name, spec in asked.items():
        one = ended[name]
        yield dg.AssetCheckResult(
            asset_key=spec.asset_key,
            check_name=spec.name,
            passed=one["status"] == "pass",
            severity=dg.AssetCheckSeverity.WARN if one["status"] == "warn" else dg.AssetCheckSeverity.ERROR,
            description=one["message"],
            metadata={"failures": one["failures"]},
        )
{%- endif %}
{%- if !alerts.is_empty() %}


@dg.multi_asset_check(name={{ measure }}, specs=list(ALERTS.values()), can_subset=True)
def measure(context: dg.AssetCheckExecutionContext):
    """Holds what is measured to its thresholds."""
    measured = json.loads(ask(["status", "--format", "json"], well=(0, 1), stdout=subprocess.PIPE, text=True))
    ended = {one["alert"]: one for one in measured["alerts"]}
    for name, spec in ALERTS.items():
        if spec.key in context.selected_asset_check_keys:
            one = ended[name]
            yield dg.AssetCheckResult(
                asset_key=spec.asset_key,
                check_name=spec.name,
                passed=not one["exceeded"],
                metadata={"most": one["most"], **({} if one["value"] is None else {"value": one["value"]})},
            )
{%- endif %}


job = dg.define_asset_job({{ name }}, dg.AssetSelection.assets(*[relation.key for relation in RELATIONS]))

defs = dg.Definitions(
    assets=[publish],
{%- if !looks.is_empty() %}
    asset_checks=[{{ looks }}],
{%- endif %}
    jobs=[job],
    schedules=[
        dg.ScheduleDefinition(
            name={{ name }},
            job=job,
            cron_schedule={{ cron }},
            execution_timezone={{ time_zone }},
        )
    ],
)
