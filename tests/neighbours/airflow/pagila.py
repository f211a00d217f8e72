# Written by `medallion schedule --for airflow`, for Airflow 3.
# A DVD rental shop: from its OLTP tables to three marts.
#
# `run` lands what is new and publishes all relations together, or none where a test refuses: no task computes one alone.
# The task of a relation holds all its rows to its tests, after those of what it reads. Hang what needs a relation behind
# its task; other DAGs may wait for the assets of the marts.
#
# The workers need `warehouse` and the variables DATABASE_URL and SOURCE_DATABASE_URL.

from __future__ import annotations

import os
from datetime import timedelta
from typing import NamedTuple

import pendulum
from airflow.exceptions import AirflowException, AirflowFailException
from airflow.providers.standard.hooks.subprocess import SubprocessHook
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Asset, BaseOperator, TaskGroup

COMMAND = ["warehouse", "--warehouse", "pagila"]


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
    Relation(
        "cdc_bronze.br_customer_cdc",
        layer="bronze",
        task="br_customer_cdc",
        reads=[],
        test=[],
        doc="Every change of a customer.",
    ),
    Relation(
        "cdc_bronze.br_payment_cdc",
        layer="bronze",
        task="br_payment_cdc",
        reads=[],
        test=[],
        doc="Every change of a payment.",
    ),
    Relation(
        "cdc_bronze.br_rental_cdc",
        layer="bronze",
        task="br_rental_cdc",
        reads=[],
        test=[],
        doc="Every change of a rental: it begins, and comes back.",
    ),
    Relation(
        "medallion.lookup_address_cdc",
        layer="reference",
        task="lookup_address_cdc",
        reads=[],
        test=[],
        doc="",
    ),
    Relation(
        "medallion.lookup_category_cdc",
        layer="reference",
        task="lookup_category_cdc",
        reads=[],
        test=[],
        doc="",
    ),
    Relation(
        "medallion.lookup_film_category_cdc",
        layer="reference",
        task="lookup_film_category_cdc",
        reads=[],
        test=[],
        doc="",
    ),
    Relation(
        "medallion.lookup_film_cdc",
        layer="reference",
        task="lookup_film_cdc",
        reads=[],
        test=[],
        doc="",
    ),
    Relation(
        "medallion.lookup_inventory_cdc",
        layer="reference",
        task="lookup_inventory_cdc",
        reads=[],
        test=[],
        doc="",
    ),
    Relation(
        "medallion.lookup_language_cdc",
        layer="reference",
        task="lookup_language_cdc",
        reads=[],
        test=[],
        doc="",
    ),
    Relation(
        "medallion.lookup_staff_cdc",
        layer="reference",
        task="lookup_staff_cdc",
        reads=[],
        test=[],
        doc="",
    ),
    Relation(
        "medallion.lookup_store_cdc",
        layer="reference",
        task="lookup_store_cdc",
        reads=[],
        test=[],
        doc="",
    ),
    Relation(
        "medallion.lookup_address_hist",
        layer="reference",
        task="lookup_address_hist",
        reads=["lookup_address_cdc"],
        test=[],
        doc="Addresses of customers, staff and stores.",
    ),
    Relation(
        "temporal_silver.dim_customer_hist",
        layer="silver",
        task="dim_customer_hist",
        reads=["br_customer_cdc", "lookup_address_hist"],
        test=["test", "--select", "temporal_silver.dim_customer_hist"],
        doc="Customers, every version; an address that is rewritten makes one too.",
    ),
    Relation(
        "medallion.lookup_category_hist",
        layer="reference",
        task="lookup_category_hist",
        reads=["lookup_category_cdc"],
        test=[],
        doc="Kinds of film.",
    ),
    Relation(
        "medallion.lookup_film_hist",
        layer="reference",
        task="lookup_film_hist",
        reads=["lookup_film_cdc"],
        test=[],
        doc="Films, in brief; `dim_film` has all of it.",
    ),
    Relation(
        "medallion.lookup_film_category_hist",
        layer="reference",
        task="lookup_film_category_hist",
        reads=["lookup_film_category_cdc"],
        test=[],
        doc="Which film is of which kinds.",
    ),
    Relation(
        "medallion.lookup_inventory_hist",
        layer="reference",
        task="lookup_inventory_hist",
        reads=["lookup_inventory_cdc"],
        test=[],
        doc="Copies of films, and the store where each one stands.",
    ),
    Relation(
        "temporal_silver.fact_rental",
        layer="silver",
        task="fact_rental",
        reads=["br_rental_cdc", "lookup_inventory_hist"],
        test=["test", "--select", "temporal_silver.fact_rental"],
        doc="One row a rental; the return date comes later.",
    ),
    Relation(
        "temporal_silver.fact_payment",
        layer="silver",
        task="fact_payment",
        reads=["br_payment_cdc", "fact_rental"],
        test=["test", "--select", "temporal_silver.fact_payment"],
        doc="One row a payment, with the film and the store of its rental.",
    ),
    Relation(
        "medallion.lookup_language_hist",
        layer="reference",
        task="lookup_language_hist",
        reads=["lookup_language_cdc"],
        test=[],
        doc="Languages that films are spoken in.",
    ),
    Relation(
        "temporal_silver.dim_film_hist",
        layer="silver",
        task="dim_film_hist",
        reads=["lookup_film_cdc", "lookup_language_hist"],
        test=[],
        doc="Films, every version: a price change makes one.",
    ),
    Relation(
        "medallion.lookup_staff_hist",
        layer="reference",
        task="lookup_staff_hist",
        reads=["lookup_staff_cdc"],
        test=[],
        doc="People who work, or worked, at the stores.",
    ),
    Relation(
        "medallion.lookup_store_hist",
        layer="reference",
        task="lookup_store_hist",
        reads=["lookup_store_cdc"],
        test=[],
        doc="Stores, and who manages them.",
    ),
    Relation(
        "simple_gold.vw_monthly_revenue",
        layer="gold",
        task="vw_monthly_revenue",
        reads=["fact_payment"],
        test=["test", "--select", "simple_gold.vw_monthly_revenue"],
        doc="What each store took each month.",
    ),
    Relation(
        "simple_gold.vw_store_scorecard",
        layer="gold",
        task="vw_store_scorecard",
        reads=["fact_rental", "fact_payment", "dim_film_hist", "lookup_staff_hist", "lookup_store_hist"],
        test=[],
        doc="How each store did each day on which something was rented, paid or due.",
    ),
    Relation(
        "simple_gold.vw_top_titles",
        layer="gold",
        task="vw_top_titles",
        reads=["lookup_inventory_hist", "fact_rental", "fact_payment", "dim_film_hist"],
        test=[],
        doc="How each film did each month, by the month its rentals began.",
    ),
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
    dag_id="pagila",
    description="A DVD rental shop: from its OLTP tables to three marts.",
    schedule="*/15 * * * *",
    # The zone of the schedule; nothing is caught up on, for each run brings over all that is new.
    start_date=pendulum.datetime(2025, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    default_args={
        "retries": 3,
        "retry_delay": timedelta(minutes=1),
        "retry_exponential_backoff": True,
    },
    tags=["medallion"],
) as dag:
    publish = Warehouse(task_id="run", verb=["run", "--wait", "300"])
    groups = {layer: TaskGroup(layer) for layer in dict.fromkeys(relation.layer for relation in RELATIONS)}
    tasks = {}
    for relation in RELATIONS:
        outlets = [Asset("pagila." + relation.name)] if relation.layer == "gold" else []
        about = {"task_group": groups[relation.layer], "doc": relation.doc, "outlets": outlets}
        if relation.test:
            task = Warehouse(task_id=relation.task, verb=relation.test, **about)
        else:
            task = EmptyOperator(task_id=relation.task, **about)
        tasks[relation.task] = task
        ([tasks[read] for read in relation.reads] or publish) >> task
