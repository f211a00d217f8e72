SELECT sale_id FROM fact_sale;
SELECT 1
