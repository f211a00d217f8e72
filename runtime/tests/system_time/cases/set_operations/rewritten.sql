(SELECT customer_id FROM (
    SELECT
        "customer_id",
        "store_id",
        "email",
        "active",
        "sys_start"
    FROM "temporal_silver"."dim_customer_hist"
    WHERE "sys_start" <= '2023-07-01'::timestamptz
    AND "sys_end" > '2023-07-01'::timestamptz
) AS "dim_customer"
EXCEPT SELECT *
FROM (
    SELECT
        "number",
        "store_id",
        "manager_staff_id",
        "sys_start"
    FROM "medallion"."lookup_store_hist"
    WHERE "sys_start" <= '2023-08-01'::timestamptz
    AND "sys_end" > '2023-08-01'::timestamptz
) AS "lookup_store")
UNION ALL SELECT customer_id FROM (
    SELECT
        "customer_id",
        "store_id",
        "email",
        "active",
        "sys_start"
    FROM "temporal_silver"."dim_customer_hist"
    WHERE "sys_start" <= '2023-09-01'::timestamptz
    AND "sys_end" > '2023-09-01'::timestamptz
) AS "dim_customer" ORDER BY 1 LIMIT 3
