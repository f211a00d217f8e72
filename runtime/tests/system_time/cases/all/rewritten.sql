SELECT * FROM "temporal_silver"."dim_customer_hist" AS "dim_customer_hist" ORDER BY sys_start
