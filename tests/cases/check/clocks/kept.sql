SELECT sale_id FROM fact_sale WHERE sold_at < medallion.now() AND sold_at::date <> 'today'::date
