SELECT * FROM fact_payment JOIN dim_customer FOR SYSTEM_TIME AS OF payment_date USING (customer_id)
