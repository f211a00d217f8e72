SELECT * FROM (
    SELECT *
    FROM "temporal_silver"."dim_customer_hist"
    WHERE "sys_start" <= GREATEST('2023-02-01'::timestamptz, 'infinity'::timestamptz)
    AND "sys_end" > LEAST('2023-02-01'::timestamptz, 'infinity'::timestamptz, '294276-12-31 23:59:59.999999+00'::timestamptz)
) AS x
