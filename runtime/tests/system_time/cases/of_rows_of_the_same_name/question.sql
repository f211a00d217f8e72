SELECT count(*) FROM dim_customer_hist JOIN dim_customer FOR SYSTEM_TIME AS OF dim_customer_hist.sys_start AS c USING (customer_id)
