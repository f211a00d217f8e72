SELECT *
FROM dim_customer_hist FOR SYSTEM_TIME AS OF (SELECT max(sys_start) FROM dim_film_hist FOR SYSTEM_TIME AS OF '2023-07-01') AS c
WHERE EXISTS (SELECT FROM fact_payment FOR SYSTEM_TIME AS OF '2023-07-01' p WHERE p.customer_id = c.customer_id)
