SELECT * FROM dim_customer_hist FOR SYSTEM_TIME CONTAINED IN ('2023-01-01', now()) h, fact_payment FOR SYSTEM_TIME CONTAINED IN ('2023-01-01', 'infinity') p
