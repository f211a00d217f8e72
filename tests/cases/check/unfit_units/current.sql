SELECT DISTINCT current.town FROM dim_customer AS current JOIN dim_customer_hist AS was USING (customer_id)
