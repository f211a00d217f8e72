WITH sold AS (
    SELECT sale_id, sold_at AT TIME ZONE 'Europe/Berlin' AS sold_at FROM fact_sale
)
SELECT
    sale.sale_id,
    sale.sold_at::date AS a,
    date(sale.sold_at) AS b,
    extract(dow FROM (sale.sold_at)) AS c,
    date_trunc('day', sale.sold_at) AS d,
    to_char(sale.sold_at, 'YYYY') AS e,
    CAST(sale.sold_at AS timestamp) AS f,
    date_part('hour', sale.sold_at) AS g,
    -- None of these is cut by the session.
    sold.sold_at::date AS h,
    date_trunc('day', sale.sold_at, 'Europe/Berlin') AS i,
    extract(epoch FROM sale.sold_at) AS j,
    date_part('epoch', sale.sold_at) AS k,
    sale.sold_at::timestamptz AS l,
    sale.amount::text AS m
FROM fact_sale AS sale
JOIN sold USING (sale_id)
WHERE EXISTS (SELECT FROM lookup_item WHERE listed_at::date = '2024-01-01')
