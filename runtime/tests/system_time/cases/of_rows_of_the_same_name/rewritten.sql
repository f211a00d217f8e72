SELECT count(*) FROM dim_customer_hist JOIN LATERAL (
    SELECT
        "customer_id",
        "store_id",
        "email",
        "active",
        "sys_start"
    FROM "temporal_silver"."dim_customer_hist" AS "versions of dim_customer_hist"
    WHERE "sys_start" <= (dim_customer_hist.sys_start)::timestamptz
    AND "sys_end" > LEAST((dim_customer_hist.sys_start)::timestamptz, '294276-12-31 23:59:59.999999+00'::timestamptz)
) AS c USING (customer_id)
