-- One round of traffic at the source.

INSERT INTO orders (customer_id, amount)
SELECT customer_id, 5 + floor(random() * 95)
FROM customer
WHERE random() < 0.5;

UPDATE orders
SET status = 'delivered'
WHERE status = 'placed'
AND random() < 0.5;

UPDATE customer
SET city = (ARRAY['Lisbon', 'Porto', 'Faro', 'Braga'])[1 + floor(random() * 4)]
WHERE random() < 0.2;
