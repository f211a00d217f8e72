# Written by `medallion schedule --for dagster`.
# A DVD rental shop: from its OLTP tables to three marts.
#
# Each relation is an asset, each test of the data a check. A run lands what is new and publishes all relations together, or
# none where a test refuses: so all assets are one step. The checks then look at all rows; what stands behind an asset
# waits for those that block.
#
# Who runs it needs `warehouse` and the variables DATABASE_URL and SOURCE_DATABASE_URL.

import json
import subprocess

import dagster as dg

COMMAND = ["warehouse", "--warehouse", "pagila"]

RELATIONS = [
    dg.AssetSpec(
        ["pagila", "cdc_bronze", "br_customer_cdc"],
        deps=[],
        group_name="bronze",
        kinds={"postgres"},
        description="Every change of a customer.",
    ),
    dg.AssetSpec(
        ["pagila", "cdc_bronze", "br_payment_cdc"],
        deps=[],
        group_name="bronze",
        kinds={"postgres"},
        description="Every change of a payment.",
    ),
    dg.AssetSpec(
        ["pagila", "cdc_bronze", "br_rental_cdc"],
        deps=[],
        group_name="bronze",
        kinds={"postgres"},
        description="Every change of a rental: it begins, and comes back.",
    ),
    dg.AssetSpec(
        ["pagila", "medallion", "lookup_address_cdc"],
        deps=[],
        group_name="reference",
        kinds={"postgres"},
        description="",
    ),
    dg.AssetSpec(
        ["pagila", "medallion", "lookup_category_cdc"],
        deps=[],
        group_name="reference",
        kinds={"postgres"},
        description="",
    ),
    dg.AssetSpec(
        ["pagila", "medallion", "lookup_film_category_cdc"],
        deps=[],
        group_name="reference",
        kinds={"postgres"},
        description="",
    ),
    dg.AssetSpec(
        ["pagila", "medallion", "lookup_film_cdc"],
        deps=[],
        group_name="reference",
        kinds={"postgres"},
        description="",
    ),
    dg.AssetSpec(
        ["pagila", "medallion", "lookup_inventory_cdc"],
        deps=[],
        group_name="reference",
        kinds={"postgres"},
        description="",
    ),
    dg.AssetSpec(
        ["pagila", "medallion", "lookup_language_cdc"],
        deps=[],
        group_name="reference",
        kinds={"postgres"},
        description="",
    ),
    dg.AssetSpec(
        ["pagila", "medallion", "lookup_staff_cdc"],
        deps=[],
        group_name="reference",
        kinds={"postgres"},
        description="",
    ),
    dg.AssetSpec(
        ["pagila", "medallion", "lookup_store_cdc"],
        deps=[],
        group_name="reference",
        kinds={"postgres"},
        description="",
    ),
    dg.AssetSpec(
        ["pagila", "medallion", "lookup_address_hist"],
        deps=[["pagila", "medallion", "lookup_address_cdc"]],
        group_name="reference",
        kinds={"postgres"},
        description="Addresses of customers, staff and stores.",
    ),
    dg.AssetSpec(
        ["pagila", "temporal_silver", "dim_customer_hist"],
        deps=[["pagila", "cdc_bronze", "br_customer_cdc"], ["pagila", "medallion", "lookup_address_hist"]],
        group_name="silver",
        kinds={"postgres"},
        description="Customers, every version; an address that is rewritten makes one too.",
    ),
    dg.AssetSpec(
        ["pagila", "medallion", "lookup_category_hist"],
        deps=[["pagila", "medallion", "lookup_category_cdc"]],
        group_name="reference",
        kinds={"postgres"},
        description="Kinds of film.",
    ),
    dg.AssetSpec(
        ["pagila", "medallion", "lookup_film_hist"],
        deps=[["pagila", "medallion", "lookup_film_cdc"]],
        group_name="reference",
        kinds={"postgres"},
        description="Films, in brief; `dim_film` has all of it.",
    ),
    dg.AssetSpec(
        ["pagila", "medallion", "lookup_film_category_hist"],
        deps=[["pagila", "medallion", "lookup_film_category_cdc"]],
        group_name="reference",
        kinds={"postgres"},
        description="Which film is of which kinds.",
    ),
    dg.AssetSpec(
        ["pagila", "medallion", "lookup_inventory_hist"],
        deps=[["pagila", "medallion", "lookup_inventory_cdc"]],
        group_name="reference",
        kinds={"postgres"},
        description="Copies of films, and the store where each one stands.",
    ),
    dg.AssetSpec(
        ["pagila", "temporal_silver", "fact_rental"],
        deps=[["pagila", "cdc_bronze", "br_rental_cdc"], ["pagila", "medallion", "lookup_inventory_hist"]],
        group_name="silver",
        kinds={"postgres"},
        description="One row a rental; the return date comes later.",
    ),
    dg.AssetSpec(
        ["pagila", "temporal_silver", "fact_payment"],
        deps=[["pagila", "cdc_bronze", "br_payment_cdc"], ["pagila", "temporal_silver", "fact_rental"]],
        group_name="silver",
        kinds={"postgres"},
        description="One row a payment, with the film and the store of its rental.",
    ),
    dg.AssetSpec(
        ["pagila", "medallion", "lookup_language_hist"],
        deps=[["pagila", "medallion", "lookup_language_cdc"]],
        group_name="reference",
        kinds={"postgres"},
        description="Languages that films are spoken in.",
    ),
    dg.AssetSpec(
        ["pagila", "temporal_silver", "dim_film_hist"],
        deps=[["pagila", "medallion", "lookup_film_cdc"], ["pagila", "medallion", "lookup_language_hist"]],
        group_name="silver",
        kinds={"postgres"},
        description="Films, every version: a price change makes one.",
    ),
    dg.AssetSpec(
        ["pagila", "medallion", "lookup_staff_hist"],
        deps=[["pagila", "medallion", "lookup_staff_cdc"]],
        group_name="reference",
        kinds={"postgres"},
        description="People who work, or worked, at the stores.",
    ),
    dg.AssetSpec(
        ["pagila", "medallion", "lookup_store_hist"],
        deps=[["pagila", "medallion", "lookup_store_cdc"]],
        group_name="reference",
        kinds={"postgres"},
        description="Stores, and who manages them.",
    ),
    dg.AssetSpec(
        ["pagila", "simple_gold", "vw_monthly_revenue"],
        deps=[["pagila", "temporal_silver", "fact_payment"]],
        group_name="gold",
        kinds={"postgres"},
        description="What each store took each month.",
    ),
    dg.AssetSpec(
        ["pagila", "simple_gold", "vw_store_scorecard"],
        deps=[["pagila", "temporal_silver", "fact_rental"], ["pagila", "temporal_silver", "fact_payment"], ["pagila", "temporal_silver", "dim_film_hist"], ["pagila", "medallion", "lookup_staff_hist"], ["pagila", "medallion", "lookup_store_hist"]],
        group_name="gold",
        kinds={"postgres"},
        description="How each store did each day on which something was rented, paid or due.",
    ),
    dg.AssetSpec(
        ["pagila", "simple_gold", "vw_top_titles"],
        deps=[["pagila", "medallion", "lookup_inventory_hist"], ["pagila", "temporal_silver", "fact_rental"], ["pagila", "temporal_silver", "fact_payment"], ["pagila", "temporal_silver", "dim_film_hist"]],
        group_name="gold",
        kinds={"postgres"},
        description="How each film did each month, by the month its rentals began.",
    ),
]

# By the name that the spec has for it.
TESTS = {
    "email_is_an_address": dg.AssetCheckSpec(
        "email_is_an_address",
        asset=["pagila", "temporal_silver", "dim_customer_hist"],
        blocking=False,
        description="email LIKE '%_@_%'",
    ),
    "not_null_dim_customer_hist_first_name_last_name": dg.AssetCheckSpec(
        "not_null_dim_customer_hist_first_name_last_name",
        asset=["pagila", "temporal_silver", "dim_customer_hist"],
        blocking=True,
        description="first_name, last_name not null",
    ),
    "relationship_fact_rental_customer_id": dg.AssetCheckSpec(
        "relationship_fact_rental_customer_id",
        asset=["pagila", "temporal_silver", "fact_rental"],
        blocking=False,
        description="A customer who was erased leaves rentals behind.",
    ),
    "returned_after_rented": dg.AssetCheckSpec(
        "returned_after_rented",
        asset=["pagila", "temporal_silver", "fact_rental"],
        blocking=True,
        description="return_date >= rental_date",
    ),
    "range_fact_payment_amount": dg.AssetCheckSpec(
        "range_fact_payment_amount",
        asset=["pagila", "temporal_silver", "fact_payment"],
        blocking=True,
        description="0 ≤ amount",
    ),
    "relationship_fact_payment_rental_id": dg.AssetCheckSpec(
        "relationship_fact_payment_rental_id",
        asset=["pagila", "temporal_silver", "fact_payment"],
        blocking=False,
        description="rental_id found in fact_rental",
    ),
    "range_vw_monthly_revenue_revenue": dg.AssetCheckSpec(
        "range_vw_monthly_revenue_revenue",
        asset=["pagila", "simple_gold", "vw_monthly_revenue"],
        blocking=True,
        description="0 ≤ revenue",
    ),
    "sum_equals_vw_monthly_revenue_revenue": dg.AssetCheckSpec(
        "sum_equals_vw_monthly_revenue_revenue",
        asset=["pagila", "simple_gold", "vw_monthly_revenue"],
        blocking=True,
        description="sum(revenue) = sum(amount) of fact_payment",
    ),
    "unique_vw_monthly_revenue_store_id_month": dg.AssetCheckSpec(
        "unique_vw_monthly_revenue_store_id_month",
        asset=["pagila", "simple_gold", "vw_monthly_revenue"],
        blocking=True,
        description="store_id, month unique",
    ),
}

# What could not run is tried again.
AGAIN = dg.RetryPolicy(max_retries=3, delay=60, backoff=dg.Backoff.EXPONENTIAL)


def ask(verb, well=(0,), **how):
    """Runs a verb of the warehouse. What it finds (status 1) it would find again, and is not tried again."""
    ended = subprocess.run([*COMMAND, *verb], check=False, **how)
    if ended.returncode not in well:
        said = f"`{' '.join(verb)}` ended with status {ended.returncode}: its output says why"
        raise dg.Failure(said, allow_retries=ended.returncode != 1)
    return ended.stdout


@dg.multi_asset(name="pagila_publish", specs=RELATIONS, retry_policy=AGAIN)
def publish():
    """Brings over what is new, and publishes it."""
    ask(["run", "--wait", "300"])
    for relation in RELATIONS:
        yield dg.MaterializeResult(asset_key=relation.key)


@dg.multi_asset_check(name="pagila_tests", specs=list(TESTS.values()), can_subset=True)
def look(context: dg.AssetCheckExecutionContext):
    """Holds all rows to the tests of the data."""
    asked = {name: spec for name, spec in TESTS.items() if spec.key in context.selected_asset_check_keys}
    select = [f"test:{''.join(c if c.isalnum() or c in '_-' else '?' for c in name)}" for name in asked]
    printed = ask(["test", "--format", "json", "--select", *select], well=(0, 1), stdout=subprocess.PIPE, text=True)
    ended = {one["unique_id"].removeprefix("test.pagila."): one for one in json.loads(printed)["results"]}
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


job = dg.define_asset_job("pagila", dg.AssetSelection.assets(*[relation.key for relation in RELATIONS]))

defs = dg.Definitions(
    assets=[publish],
    asset_checks=[look],
    jobs=[job],
    schedules=[
        dg.ScheduleDefinition(
            name="pagila",
            job=job,
            cron_schedule="*/15 * * * *",
            execution_timezone="UTC",
        )
    ],
)
