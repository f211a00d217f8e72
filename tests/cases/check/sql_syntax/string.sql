SELECT sale_id, 'open FROM fact_sale
