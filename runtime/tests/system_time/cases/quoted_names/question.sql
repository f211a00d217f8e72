SELECT "Odd".email FROM "temporal_silver" . "dim_customer_hist" FOR SYSTEM_TIME AS OF '2023-07-01' "Odd"
