SELECT count(*) FROM (
    SELECT
        "customer_id",
        "store_id",
        "email",
        "active",
        "sys_start"
    FROM "temporal_silver"."dim_customer_hist"
    WHERE "sys_start" <= (now() - interval '1 day')::timestamptz
    AND "sys_end" > LEAST((now() - interval '1 day')::timestamptz, '294276-12-31 23:59:59.999999+00'::timestamptz)
) AS "dim_customer" WHERE active
