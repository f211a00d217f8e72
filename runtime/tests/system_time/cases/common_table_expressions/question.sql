WITH then AS (SELECT * FROM dim_customer FOR SYSTEM_TIME AS OF '2023-07-01'),
     dim_customer AS MATERIALIZED (SELECT * FROM dim_customer FOR SYSTEM_TIME ALL)
SELECT (SELECT count(*) FROM then), (SELECT count(*) FROM dim_customer)
