SELECT 1 FROM LATERAL (
    SELECT *
    FROM "temporal_silver"."dim_customer_hist" AS "versions of dim_customer_hist"
    WHERE "sys_start" <= (now() OPERATOR(pg_catalog.-) interval '1 day' ==> 1)::timestamptz
    AND "sys_end" > LEAST((now() OPERATOR(pg_catalog.-) interval '1 day' ==> 1)::timestamptz, '294276-12-31 23:59:59.999999+00'::timestamptz)
) c
