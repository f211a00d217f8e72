SELECT * FROM (
    SELECT *
    FROM "temporal_silver"."dim_customer_hist"
    WHERE "sys_start" < ('2023-02-01' AT TIME ZONE 'UTC')::timestamptz
    AND "sys_end" > '2023-01-01'::timestamptz
    AND '2023-01-01'::timestamptz < ('2023-02-01' AT TIME ZONE 'UTC')::timestamptz
) AS h
