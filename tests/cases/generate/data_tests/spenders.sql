-- Who has spent more than anybody may.
SELECT mart.customer_id, mart.revenue
FROM sales_by_customer AS mart
JOIN dim_customer AS customer ON customer.customer_id = mart.customer_id
WHERE mart.revenue > 10000 AND EXISTS (SELECT FROM br_sale WHERE op <> 'T');  -- no more
