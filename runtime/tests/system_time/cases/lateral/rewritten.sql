SELECT *
FROM fact_payment AS p
CROSS JOIN LATERAL (
    SELECT * FROM LATERAL (
    SELECT *
    FROM "temporal_silver"."dim_customer_hist" AS "versions of dim_customer_hist"
    WHERE "sys_start" <= (p.payment_date)::timestamptz
    AND "sys_end" > LEAST((p.payment_date)::timestamptz, '294276-12-31 23:59:59.999999+00'::timestamptz)
) AS c WHERE c.customer_id = p.customer_id
) AS c, LATERAL (
    SELECT
        "customer_id",
        "store_id",
        "email",
        "active",
        "sys_start"
    FROM "temporal_silver"."dim_customer_hist" AS "versions of dim_customer_hist"
    WHERE "sys_start" <= (p.payment_date)::timestamptz
    AND "sys_end" > LEAST((p.payment_date)::timestamptz, '294276-12-31 23:59:59.999999+00'::timestamptz)
) AS d
