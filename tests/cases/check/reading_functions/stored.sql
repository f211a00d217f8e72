SELECT sale.sale_id
FROM fact_sale AS sale
JOIN lookup_item_as_of('2024-01-01') AS item USING (item_id)
CROSS JOIN LATERAL silver.dim_customer_as_of(sale.sold_at) AS customer
CROSS JOIN public.rates() AS rate
CROSS JOIN generate_series(1, 3) AS series
CROSS JOIN LATERAL jsonb_array_elements('[]') AS element
CROSS JOIN unnest(ARRAY[1]) AS one
CROSS JOIN LATERAL pg_catalog.regexp_matches(sale.title, 'a') AS matched
WHERE sale.item_id <> random() AND current_user <> '' AND age(sale.sold_at) > '1 day' AND pg_sleep(1) IS NULL
