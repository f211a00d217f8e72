SELECT p.payment_id, c.store_id
FROM fact_payment AS p
LEFT JOIN LATERAL (
    SELECT
        "customer_id",
        "store_id",
        "email",
        "active",
        "sys_start"
    FROM "temporal_silver"."dim_customer_hist" AS "versions of dim_customer_hist"
    WHERE "sys_start" <= (p.payment_date)::timestamptz
    AND "sys_end" > LEAST((p.payment_date)::timestamptz, '294276-12-31 23:59:59.999999+00'::timestamptz)
) AS c ON c.customer_id = p.customer_id
