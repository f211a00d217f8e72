SELECT sale_id,
FROM WHERE fact_sale
