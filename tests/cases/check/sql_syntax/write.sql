WITH gone AS (DELETE FROM fact_sale RETURNING sale_id)
SELECT sale_id FROM gone
