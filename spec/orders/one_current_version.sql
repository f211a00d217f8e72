-- Keys of which several versions are current.
SELECT order_key
FROM dim_orders_history
WHERE is_current
GROUP BY order_key
HAVING count(*) > 1
