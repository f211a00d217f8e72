SELECT p.payment_id, c.store_id
FROM fact_payment AS p
LEFT JOIN dim_customer FOR SYSTEM_TIME AS OF p.payment_date AS c ON c.customer_id = p.customer_id
