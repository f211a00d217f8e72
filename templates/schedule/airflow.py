# Written by `medallion schedule --for airflow`, for Airflow 3.
{%- if let Some(description) = description %}
{{ description }}
{%- endif %}
#
# `run` lands what is new and publishes all relations together, or none where a test refuses: no task computes one alone.
# The task of a relation holds all its rows to its tests, after those of what it reads. Hang what needs a relation behind
# its task; other DAGs may wait for the assets of the marts.
#
# The workers need `{{ program }}` and the variables DATABASE_URL and SOURCE_DATABASE_URL.

from __future__ import annotations

import os
from datetime import timedelta
from typing import NamedTuple

import pendulum
from airflow.exceptions import AirflowException, AirflowFailException
from airflow.providers.standard.hooks.subprocess import SubprocessHook
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Asset, BaseOperator, TaskGroup

COMMAND = [{{ command }}]


class Relation(NamedTuple):
    """A relation of the warehouse, which stands behind those that it reads."""

    name: str
    layer: str
    task: str
    # The tasks of what it reads.
    reads: list[str]
    # What holds it to its tests; nothing where it has none.
    test: list[str]
    doc: str


RELATIONS = [
{%- for relation in relations %}
    Relation(
        {{ relation.name }},
        layer={{ relation.layer }},
        task={{ relation.task }},
        reads=[{{ relation.reads }}],
        test=[{{ relation.test }}],
        doc={{ relation.doc }},
    ),
{%- endfor %}
]


class Warehouse(BaseOperator):
    """A verb of the warehouse. What it finds (status 1) it would find again, and is not tried again; what could not run is."""

    def __init__(self, *, verb: list[str], **kwargs):
        super().__init__(**kwargs)
        self.verb = verb
        self.process = SubprocessHook()

    def execute(self, context):
        ended = self.process.run_command([*COMMAND, *self.verb], env=dict(os.environ))
        if ended.exit_code == 1:
            raise AirflowFailException("it has found what may not be: the lines above say what")
        if ended.exit_code != 0:
            raise AirflowException(f"it could not run: {ended.output}")

    def on_kill(self):
        # What is not published yet is rolled back.
        self.process.send_sigterm()


with DAG(
    dag_id={{ dag }},
    description={{ summary }},
    schedule={{ cron }},
    # The zone of the schedule; nothing is caught up on, for each run brings over all that is new.
    start_date=pendulum.datetime(2025, 1, 1, tz={{ time_zone }}),
    catchup=False,
    max_active_runs=1,
    default_args={
        "retries": {{ retries }},
        "retry_delay": timedelta(minutes=1),
        "retry_exponential_backoff": True,
    },
    tags=["medallion"],
) as dag:
    publish = Warehouse(task_id="run", verb=[{{ run }}])
{%- if let Some(look) = look %}
    # Whether something has gone beyond a threshold of the spec's. No relation waits for it.
    publish >> Warehouse(task_id="alerts", verb=[{{ look }}])
{%- endif %}
    groups = {layer: TaskGroup(layer) for layer in dict.fromkeys(relation.layer for relation in RELATIONS)}
    tasks = {}
    for relation in RELATIONS:
        outlets = [Asset({{ prefix }} + relation.name)] if relation.layer == "gold" else []
        about = {"task_group": groups[relation.layer], "doc": relation.doc, "outlets": outlets}
        if relation.test:
            task = Warehouse(task_id=relation.task, verb=relation.test, **about)
        else:
            task = EmptyOperator(task_id=relation.task, **about)
        tasks[relation.task] = task
        ([tasks[read] for read in relation.reads] or publish) >> task
