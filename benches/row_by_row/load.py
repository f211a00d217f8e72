"""Brings changed orders into a history, one row after the other, as tutorials on slowly changing dimensions have it:
ask the source for what has changed, look each row's current version up, compare, close it, insert the next.

    load.py SOURCE WAREHOUSE MOST COMMIT_EVERY

Prints how many rows there were, and how many seconds they took from the first question to the last commit.
"""

import sys
import time
import uuid

import psycopg

COLUMNS = (
    "customer_id",
    "product_id",
    "quantity",
    "unit_price",
    "total_amount",
    "order_status",
    "order_date",
)

CHANGED = f"""
    SELECT id, last_updated, {", ".join(COLUMNS)}
    FROM orders
    WHERE last_updated > %s
    ORDER BY last_updated, id
    LIMIT %s"""

CURRENT = f"""
    SELECT surrogate_key, {", ".join(COLUMNS)}
    FROM dim_orders_history
    WHERE order_key = %s AND is_current"""

CLOSE = """
    UPDATE dim_orders_history
    SET valid_to = %s, is_current = false, updated_at = now()
    WHERE surrogate_key = %s"""

INSERT = f"""
    INSERT INTO dim_orders_history (order_key, {", ".join(COLUMNS)}, valid_from, is_current, cdc_operation,
        cdc_timestamp, batch_id)
    VALUES (%s, {", ".join(["%s"] * len(COLUMNS))}, %s, true, %s, %s, %s)"""


def load(source, warehouse, most, commit_every):
    """Gives how many rows there were."""
    batch = str(uuid.uuid4())
    watermark = warehouse.execute("SELECT last_updated FROM watermark").fetchone()[0]
    changed = source.execute(CHANGED, (watermark, most)).fetchall()
    for number, (key, last_updated, *values) in enumerate(changed, start=1):
        current = warehouse.execute(CURRENT, (key,)).fetchone()
        if current is None:
            warehouse.execute(INSERT, (key, *values, last_updated, "INSERT", last_updated, batch))
        elif list(current[1:]) != values:
            warehouse.execute(CLOSE, (last_updated, current[0]))
            warehouse.execute(INSERT, (key, *values, last_updated, "UPDATE", last_updated, batch))
        if number % commit_every == 0 or number == len(changed):
            warehouse.execute("UPDATE watermark SET last_updated = %s", (last_updated,))
            warehouse.commit()
    return len(changed)


def main():
    source_url, warehouse_url, most, commit_every = sys.argv[1:]
    with psycopg.connect(source_url) as source, psycopg.connect(warehouse_url) as warehouse:
        started = time.perf_counter()
        rows = load(source, warehouse, int(most), int(commit_every))
        print(rows, time.perf_counter() - started)


if __name__ == "__main__":
    main()
