SELECT 1 FROM dim_customer_hist FOR SYSTEM_TIME AS OF (now() OPERATOR(pg_catalog.-) interval '1 day' ==> 1) c
