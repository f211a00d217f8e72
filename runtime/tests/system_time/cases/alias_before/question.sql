SELECT c.email FROM dim_customer_hist c FOR SYSTEM_TIME AS OF '2023-07-01' WHERE c.customer_id = 42
