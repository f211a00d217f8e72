SELECT sale_id
FROM public.sale
JOIN pg_catalog.pg_class ON true
JOIN br_sale_cdc ON true
JOIN bronze.br_sale_cdc AS b ON true
JOIN silver.fact_sale AS s USING (sale_id)
JOIN gold.fact_sale AS t USING (sale_id)
