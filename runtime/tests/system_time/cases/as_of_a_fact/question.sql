SELECT store_id, sum(amount)
FROM fact_payment FOR SYSTEM_TIME AS OF '2023-07-01'
GROUP BY store_id
