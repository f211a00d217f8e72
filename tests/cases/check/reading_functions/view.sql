SELECT sale_id FROM fact_sale WHERE random() < 0.5 AND (lookup_item_as_of(sold_at)).title = 'a' AND lower(title) = 'b' AND sold_at < medallion.now()
