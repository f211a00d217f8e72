SELECT * FROM medallion.lookup_store_hist FOR SYSTEM_TIME AS OF '-infinity'
