SELECT (WITH dim_customer AS (SELECT 1) SELECT * FROM dim_customer), count(*) FROM (
    SELECT
        "customer_id",
        "store_id",
        "email",
        "active",
        "sys_start"
    FROM "temporal_silver"."dim_customer_hist"
) AS "dim_customer"
