WITH dim_customer AS (SELECT 1) SELECT * FROM dim_customer FOR SYSTEM_TIME ALL
