SELECT * FROM (
    SELECT
        "payment_id",
        "payment_date",
        "customer_id",
        "amount",
        "snapshot_ts"
    FROM "temporal_silver"."fact_payment"
    WHERE "snapshot_ts" <= (now())::timestamptz
    AND '2023-01-01'::timestamptz <= (now())::timestamptz
    UNION ALL
    SELECT
        "payment_id",
        "payment_date",
        "customer_id",
        "amount",
        "sys_start" AS "snapshot_ts"
    FROM "medallion"."fact_payment_history"
    WHERE "sys_start" <= (now())::timestamptz
    AND "sys_end" > '2023-01-01'::timestamptz
    AND '2023-01-01'::timestamptz <= (now())::timestamptz
) AS "fact_payment"
