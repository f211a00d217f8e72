SELECT sale_id, amount FROM fact_sale JOIN elsewhere.thing USING (sale_id)
