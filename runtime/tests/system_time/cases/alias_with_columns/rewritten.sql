SELECT id FROM (
    SELECT
        "number",
        "store_id",
        "manager_staff_id",
        "sys_start"
    FROM "medallion"."lookup_store_hist"
    WHERE "sys_start" <= '2023-07-01'::timestamptz
    AND "sys_end" > '2023-07-01'::timestamptz
) AS s (id, manager)
