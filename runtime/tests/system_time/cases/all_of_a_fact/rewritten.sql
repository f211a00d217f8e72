SELECT * FROM (
    SELECT
        "payment_id",
        "payment_date",
        "customer_id",
        "amount",
        "snapshot_ts"
    FROM "temporal_silver"."fact_payment"
    UNION ALL
    SELECT
        "payment_id",
        "payment_date",
        "customer_id",
        "amount",
        "sys_start" AS "snapshot_ts"
    FROM "medallion"."fact_payment_history"
) AS p
