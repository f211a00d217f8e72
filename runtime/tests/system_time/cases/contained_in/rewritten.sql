SELECT * FROM (
    SELECT *
    FROM "temporal_silver"."dim_customer_hist"
    WHERE "sys_start" >= '2023-01-01'::timestamptz
    AND "sys_end" <= (now())::timestamptz
) h, (
    SELECT
        "payment_id",
        "payment_date",
        "customer_id",
        "amount",
        "snapshot_ts"
    FROM "temporal_silver"."fact_payment"
    WHERE "snapshot_ts" >= '2023-01-01'::timestamptz
    AND 'infinity'::timestamptz <= 'infinity'::timestamptz
    UNION ALL
    SELECT
        "payment_id",
        "payment_date",
        "customer_id",
        "amount",
        "sys_start" AS "snapshot_ts"
    FROM "medallion"."fact_payment_history"
    WHERE "sys_start" >= '2023-01-01'::timestamptz
    AND "sys_end" <= 'infinity'::timestamptz
) p
