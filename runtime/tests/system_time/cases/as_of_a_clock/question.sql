SELECT count(*) FROM dim_customer_hist AS c FOR SYSTEM_TIME AS OF CURRENT_TIMESTAMP JOIN fact_payment AS p ON p.customer_id = c.customer_id AND p.amount BETWEEN 1 AND 2
