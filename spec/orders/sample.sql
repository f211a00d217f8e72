-- The first order of a morning; the tour brings the others.
INSERT INTO orders (id, customer_id, product_id, quantity, unit_price, total_amount, order_date, last_updated, created_at)
VALUES (1, 101, 201, 2, 29.99, 59.98, '2026-02-01 09:00+00', '2026-02-01 09:00+00', '2026-02-01 09:00+00');

SELECT setval(pg_get_serial_sequence('orders', 'id'), 1);
