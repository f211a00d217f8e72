-- The day on which a shop sold most.
SELECT DISTINCT ON (sales.shop)
    sales.shop,
    sales.day
FROM sales_by_day AS sales
ORDER BY sales.shop, sales.sold DESC, sales.day
