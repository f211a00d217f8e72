WITH sale AS (
    SELECT s.sold_on, item_id, amount, store
    FROM fact_sale AS s
)
SELECT sold_on AS day, item_id, sum(sale.amount) AS revenues
FROM sale
JOIN lookup_items AS i USING (item_id)
JOIN "Fact_Sale" USING (item_id)
GROUP BY 1, 2
