SELECT now.customer_id
FROM (
    SELECT *
    FROM "temporal_silver"."dim_customer_hist"
    WHERE "sys_start" <= '2023-07-01'::timestamptz
    AND "sys_end" > '2023-07-01'::timestamptz
) AS was
FULL JOIN (
    SELECT
        "customer_id",
        "store_id",
        "email",
        "active",
        "sys_start"
    FROM "temporal_silver"."dim_customer_hist"
    WHERE "sys_start" <= 'infinity'::timestamptz
    AND "sys_end" > LEAST('infinity'::timestamptz, '294276-12-31 23:59:59.999999+00'::timestamptz)
) AS now USING (customer_id)
WHERE now.email IS DISTINCT FROM was.email
