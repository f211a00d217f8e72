SELECT sale.sold_at AS day, sale.item_id, sale.amount, customer.town
FROM fact_sale AS sale
JOIN dim_customer_hist AS customer USING (customer_id)
