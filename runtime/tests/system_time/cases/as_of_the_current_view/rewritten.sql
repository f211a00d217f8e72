select * from (
    SELECT
        "customer_id",
        "store_id",
        "email",
        "active",
        "sys_start"
    FROM "temporal_silver"."dim_customer_hist"
    WHERE "sys_start" <= (timestamp '2023-07-01 12:00:00')::timestamptz
    AND "sys_end" > LEAST((timestamp '2023-07-01 12:00:00')::timestamptz, '294276-12-31 23:59:59.999999+00'::timestamptz)
) c where c.active;
