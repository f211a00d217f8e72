SELECT count(*) FROM dim_customer FOR SYSTEM_TIME AS OF now() - interval '1 day' WHERE active
