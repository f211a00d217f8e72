-- A state ends where another status begins; other changes of an order leave it in its state.
SELECT
    order_status,
    count(*) AS stays,
    round(avg(minutes), 1) AS average_minutes,
    round(max(minutes), 1) AS longest_minutes
FROM (
    SELECT order_status, extract(epoch FROM max(valid_to) - min(valid_from)) / 60 AS minutes
    FROM (
        SELECT *, count(*) FILTER (WHERE begins) OVER (PARTITION BY order_key ORDER BY valid_from) AS stay
        FROM (
            SELECT *, order_status IS DISTINCT FROM lag(order_status) OVER (PARTITION BY order_key ORDER BY valid_from) AS begins
            FROM dim_orders_history
        ) AS version
    ) AS version
    GROUP BY order_key, stay, order_status
    HAVING bool_and(NOT is_current)
) AS stays
GROUP BY order_status
