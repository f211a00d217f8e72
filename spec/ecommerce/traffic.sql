-- One round of traffic at the source: what happens in the shop in a minute or so. Every block is a transaction.

-- Customers order.
BEGIN;

WITH last AS (
    SELECT
        (SELECT coalesce(max(order_id), 0) FROM orders) AS order_id,
        (SELECT coalesce(max(order_item_id), 0) FROM order_items) AS order_item_id
),
line AS (
    SELECT
        last.order_id + (1 + (number - 1) / 3) AS order_id,
        last.order_item_id + number AS order_item_id,
        1 + (random() * 19)::integer AS product_id,
        1 + (random() * 3)::integer AS quantity,
        round((5 + random() * 100)::numeric, 2) AS unit_price
    FROM last
    CROSS JOIN generate_series(1, 30) AS number
),
placed AS (
    INSERT INTO orders (order_id, customer_id, order_total)
    SELECT order_id, 1 + (random() * 999)::integer, sum(quantity * unit_price)
    FROM line
    GROUP BY order_id
)
INSERT INTO order_items (order_item_id, order_id, product_id, quantity, unit_price)
SELECT order_item_id, order_id, product_id, quantity, unit_price
FROM line;

COMMIT;

-- What was placed is delivered, and now and then cancelled.
UPDATE orders
SET status = CASE WHEN order_id % 20 = 0 THEN 'cancelled' ELSE 'delivered' END
WHERE order_id IN (SELECT order_id FROM orders WHERE status = 'placed' ORDER BY order_id LIMIT 10);

-- Somebody moves to another segment.
UPDATE customers
SET segment = CASE segment WHEN 'vip' THEN 'regular' ELSE 'vip' END
WHERE customer_id = (SELECT 1 + (random() * 999)::integer);

-- A line is corrected.
UPDATE order_items
SET quantity = quantity + 1
WHERE order_item_id = (SELECT max(order_item_id) FROM order_items) - 3;
