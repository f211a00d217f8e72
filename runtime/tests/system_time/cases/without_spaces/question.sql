SELECT * FROM dim_customer AS c, LATERAL(SELECT * FROM"dim_film"FOR SYSTEM_TIME AS OF c.sys_start WHERE film_id = 1)AS f
JOIN"dim_customer"x FOR SYSTEM_TIME AS OF '2024-01-01'USING (customer_id)
