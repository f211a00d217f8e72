SELECT * FROM dim_customer_hist FOR SYSTEM_TIME ALL ORDER BY sys_start
