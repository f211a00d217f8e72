SELECT
    shop_id,
    array_agg(label) AS labels,
    sum(sale.weight) AS weights,
    sum(sale.amount) AS amounts
FROM fact_sale AS sale
GROUP BY shop_id;
