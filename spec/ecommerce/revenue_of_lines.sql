-- Customers whose revenue is not what their lines come to.
SELECT customer_id, revenue, come_to.total
FROM customer_lifetime_value
FULL JOIN (
    SELECT customer_id, sum(line_total) AS total
    FROM fact_orders
    WHERE order_status <> 'cancelled'
    GROUP BY customer_id
) AS come_to USING (customer_id)
WHERE customer_id IS NOT NULL
AND revenue IS DISTINCT FROM come_to.total
