SELECT store_id, sum(amount)
FROM (
    SELECT
        "payment_id",
        "payment_date",
        "customer_id",
        "amount",
        "snapshot_ts"
    FROM "temporal_silver"."fact_payment"
    WHERE "snapshot_ts" <= '2023-07-01'::timestamptz
    UNION ALL
    SELECT
        "payment_id",
        "payment_date",
        "customer_id",
        "amount",
        "sys_start" AS "snapshot_ts"
    FROM "medallion"."fact_payment_history"
    WHERE "sys_start" <= '2023-07-01'::timestamptz
    AND "sys_end" > '2023-07-01'::timestamptz
) AS "fact_payment"
GROUP BY store_id
