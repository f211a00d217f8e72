SELECT * FROM dim_customer_hist FOR SYSTEM_TIME BETWEEN '2023-01-01' AND '2023-02-01' WHERE active AND store_id = 1
