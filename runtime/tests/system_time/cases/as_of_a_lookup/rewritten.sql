SELECT * FROM (
    SELECT
        "number",
        "store_id",
        "manager_staff_id",
        "sys_start"
    FROM "medallion"."lookup_store_hist"
    WHERE "sys_start" <= 'infinity'::timestamptz
    AND "sys_end" > LEAST('infinity'::timestamptz, '294276-12-31 23:59:59.999999+00'::timestamptz)
) AS "lookup_store"
