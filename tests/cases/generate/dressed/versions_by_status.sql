SELECT status, count(*) AS versions, count(*) FILTER (WHERE is_current) AS current
FROM dim_orders_history
GROUP BY status
