-- A few customers, and what they have ordered.

INSERT INTO customer (name, city, tier)
VALUES
    ('Ada', 'Lisbon', 'gold'),
    ('Bela', 'Porto', 'basic'),
    ('Chidi', 'Faro', 'basic'),
    ('Dana', 'Lisbon', 'gold');

INSERT INTO orders (customer_id, ordered_at, amount, status)
SELECT
    1 + n % 4,
    timestamptz '2026-01-03 10:00:00+00' + n * interval '29 hours',
    10 + (n * 37) % 90,
    'delivered'
FROM generate_series(0, 59) AS n;
