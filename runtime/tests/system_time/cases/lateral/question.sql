SELECT *
FROM fact_payment AS p
CROSS JOIN LATERAL (
    SELECT * FROM dim_customer_hist FOR SYSTEM_TIME AS OF p.payment_date AS c WHERE c.customer_id = p.customer_id
) AS c, LATERAL dim_customer FOR SYSTEM_TIME AS OF p.payment_date AS d
