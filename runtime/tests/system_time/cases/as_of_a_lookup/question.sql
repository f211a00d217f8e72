SELECT * FROM temporal_silver.lookup_store FOR SYSTEM_TIME AS OF 'infinity'
