SELECT *
FROM LATERAL (
    SELECT *
    FROM "temporal_silver"."dim_customer_hist" AS "versions of dim_customer_hist"
    WHERE "sys_start" <= ((SELECT max(sys_start) FROM (
    SELECT *
    FROM "temporal_silver"."dim_film_hist"
    WHERE "sys_start" <= '2023-07-01'::timestamptz
    AND "sys_end" > '2023-07-01'::timestamptz
) AS "dim_film_hist"))::timestamptz
    AND "sys_end" > LEAST(((SELECT max(sys_start) FROM (
    SELECT *
    FROM "temporal_silver"."dim_film_hist"
    WHERE "sys_start" <= '2023-07-01'::timestamptz
    AND "sys_end" > '2023-07-01'::timestamptz
) AS "dim_film_hist"))::timestamptz, '294276-12-31 23:59:59.999999+00'::timestamptz)
) AS c
WHERE EXISTS (SELECT FROM (
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
) p WHERE p.customer_id = c.customer_id)
