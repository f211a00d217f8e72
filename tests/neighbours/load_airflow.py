# Loads DAGs into Airflow as its DAG processor does, says what it has understood, and runs operators by hand. Arguments: the
# folder of the DAGs. The program that they run ends with the status that the environment's STATUS says.
import os
import sys

from airflow.dag_processing.dagbag import DagBag
from airflow.exceptions import AirflowException, AirflowFailException

bag = DagBag(dag_folder=sys.argv[1])
assert not bag.import_errors, bag.import_errors

# All are loaded; these are looked at.
SHOWN = ["ecommerce", "pagila", "watched"]
for dag_id, dag in sorted(bag.dags.items()):
    if dag_id not in SHOWN:
        continue
    print(f"{dag_id}: {dag.timetable.summary if hasattr(dag.timetable, 'summary') else dag.schedule}, {dag.timezone}")
    for task in dag.topological_sort():
        after = ", ".join(sorted(task.upstream_task_ids))
        verb = " ".join(getattr(task, "verb", []))
        outlets = ", ".join(asset.name for asset in task.outlets)
        print(f"  {task.task_id} <- [{after}] {task.retries} `{verb}` {outlets}".rstrip())

run = bag.dags["pagila"].get_task("run")
for status, raised in [("0", None), ("1", AirflowFailException), ("2", AirflowException)]:
    os.environ["STATUS"] = status
    try:
        run.execute({})
        assert raised is None, status
    except AirflowException as error:
        assert type(error) is raised, (status, error)
print("operators end as the program does")
