SELECT * FROM dim_customer AS c, LATERAL(SELECT * FROM LATERAL (
    SELECT
        md5("versions of dim_film_hist"."film_id"::text || "versions of dim_film_hist"."sys_start"::text) AS "film_key",
        "film_id",
        "title",
        "sys_start"
    FROM "temporal_silver"."dim_film_hist" AS "versions of dim_film_hist"
    WHERE "sys_start" <= (c.sys_start)::timestamptz
    AND "sys_end" > LEAST((c.sys_start)::timestamptz, '294276-12-31 23:59:59.999999+00'::timestamptz)
) AS "dim_film" WHERE film_id = 1)AS f
JOIN(
    SELECT
        "customer_id",
        "store_id",
        "email",
        "active",
        "sys_start"
    FROM "temporal_silver"."dim_customer_hist"
    WHERE "sys_start" <= '2024-01-01'::timestamptz
    AND "sys_end" > '2024-01-01'::timestamptz
) AS x USING (customer_id)
