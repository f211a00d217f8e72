SELECT item_id, count(*) AS versions
FROM customer_versions
GROUP BY item_id
