SELECT count(*) FROM (
    SELECT *
    FROM "temporal_silver"."dim_customer_hist"
    WHERE "sys_start" <= (CURRENT_TIMESTAMP)::timestamptz
    AND "sys_end" > LEAST((CURRENT_TIMESTAMP)::timestamptz, '294276-12-31 23:59:59.999999+00'::timestamptz)
) AS c JOIN fact_payment AS p ON p.customer_id = c.customer_id AND p.amount BETWEEN 1 AND 2
