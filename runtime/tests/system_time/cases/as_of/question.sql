SELECT email FROM dim_customer_hist FOR SYSTEM_TIME AS OF '2023-07-01' WHERE customer_id = 42
