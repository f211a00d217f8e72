-- Versions of one key that were so at the same time.
SELECT one.order_key, one.valid_from, other.valid_from AS other_from
FROM dim_orders_history AS one
JOIN dim_orders_history AS other
    ON other.order_key = one.order_key
    AND other.valid_from > one.valid_from
    AND other.valid_from < coalesce(one.valid_to, 'infinity')
