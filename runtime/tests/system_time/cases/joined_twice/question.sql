SELECT now.customer_id
FROM dim_customer_hist FOR SYSTEM_TIME AS OF '2023-07-01' AS was
FULL JOIN dim_customer FOR SYSTEM_TIME AS OF 'infinity' AS now USING (customer_id)
WHERE now.email IS DISTINCT FROM was.email
