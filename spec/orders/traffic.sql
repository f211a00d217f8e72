-- One round of traffic: a few orders come, others move on, one is corrected. Every block is a transaction.

BEGIN;

INSERT INTO orders (customer_id, product_id, quantity, unit_price, total_amount)
SELECT customer_id, product_id, quantity, unit_price, quantity * unit_price
FROM (
    SELECT
        101 + floor(random() * 400)::integer AS customer_id,
        201 + floor(random() * 40)::integer AS product_id,
        1 + floor(random() * 5)::integer AS quantity,
        round((5 + random() * 95)::numeric, 2) AS unit_price
    FROM generate_series(1, 5)
) AS come;

COMMIT;

BEGIN;

-- On its way, most of the time.
UPDATE orders
SET
    order_status = CASE
        WHEN random() < 0.05 THEN 'cancelled'
        WHEN order_status = 'placed' THEN 'confirmed'
        WHEN order_status = 'confirmed' THEN 'shipped'
        ELSE 'delivered'
    END,
    last_updated = clock_timestamp()
WHERE id IN (
    SELECT id
    FROM orders
    WHERE order_status IN ('placed', 'confirmed', 'shipped')
    ORDER BY random()
    LIMIT 8
);

COMMIT;

BEGIN;

-- Somebody wants one more.
UPDATE orders
SET quantity = quantity + 1, total_amount = (quantity + 1) * unit_price, last_updated = clock_timestamp()
WHERE id = (SELECT id FROM orders WHERE order_status = 'placed' ORDER BY random() LIMIT 1);

COMMIT;
