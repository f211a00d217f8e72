WITH some AS (
    SELECT shop_id, label FROM fact_sale LIMIT 5
),
first AS (
    SELECT shop_id, label FROM fact_sale ORDER BY sale_id LIMIT 5
),
one AS (
    SELECT DISTINCT ON (shop_id) shop_id, label FROM fact_sale ORDER BY shop_id
),
latest AS (
    SELECT DISTINCT ON (shop_id) shop_id, label FROM fact_sale ORDER BY shop_id, sold_at DESC, sale_id
),
rest AS (
    SELECT shop_id, label FROM fact_sale OFFSET 3
),
few AS (
    SELECT shop_id, label FROM fact_sale FETCH FIRST 2 ROWS ONLY
),
none AS (
    SELECT shop_id, label FROM fact_sale LIMIT 0
),
together AS (
    SELECT shop_id, label FROM some
    UNION ALL SELECT shop_id, label FROM first
    UNION ALL SELECT shop_id, label FROM one
    UNION ALL SELECT shop_id, label FROM latest
    UNION ALL SELECT shop_id, label FROM rest
    UNION ALL SELECT shop_id, label FROM few
    UNION ALL (SELECT DISTINCT ON (shop_id) shop_id, label FROM none)
)
SELECT
    shop_id,
    label,
    row_number() OVER (PARTITION BY shop_id) AS place
FROM together
WHERE EXISTS (SELECT FROM fact_sale LIMIT 1)
