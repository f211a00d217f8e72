SELECT town, count(*) AS sales
FROM fact_sale
LEFT JOIN dim_customers USING (customer_key)
GROUP BY town
