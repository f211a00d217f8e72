-- Three years of a shop, the same each time: 1,000 customers with 1,200 versions of what is tracked, 22,000 orders with
-- 66,000 lines of 20 products. What looks like chance is a recurrence of numbers, modulo a power of two.

SET TimeZone = 'UTC';

CREATE FUNCTION pg_temp.draw(seed bigint, number bigint, below bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE
RETURN ((((number * 1103515245 + seed * 12345) % 2147483648) * 1103515245 + 12345) % 2147483648 / 65536) % below;

-- What happened to customers: they came, one in five moved to another segment, one in ten took another mail address,
-- which makes no version of its own.
CREATE TEMPORARY TABLE happened AS
WITH came AS (
    SELECT
        id::integer AS customer_id,
        format(
            CASE WHEN id % 7 = 0 THEN ' %s.%s%s@Example.COM ' ELSE '%s.%s%s@example.com' END,
            lower(first_name),
            lower(last_name),
            id
        ) AS email,
        first_name,
        last_name,
        (ARRAY['new', 'regular', 'regular', 'vip'])[1 + pg_temp.draw(1, id, 4)] AS segment,
        timestamptz '2022-01-01 08:00:00+00' + id * interval '7 hours 13 minutes' AS created_at
    FROM generate_series(1, 1000) AS id
    CROSS JOIN LATERAL (
        SELECT
            (ARRAY['Ada', 'Bo', 'Chen', 'Dora', 'Emil', 'Fatma', 'Gil', 'Hana', 'Ivo', 'June', 'Kofi', 'Lena',
                'Mio', 'Noor', 'Otto', 'Pia', 'Quin', 'Rosa', 'Sami', 'Tove'])[1 + pg_temp.draw(2, id, 20)] AS first_name,
            (ARRAY['Abel', 'Berg', 'Costa', 'Diaz', 'Eklund', 'Fischer', 'Garcia', 'Horvat', 'Ito', 'Jansen', 'Khan',
                'Lopez', 'Meyer', 'Novak', 'Okafor', 'Park', 'Rossi', 'Silva', 'Tanaka', 'Weber'])
                [1 + pg_temp.draw(3, id, 20)] AS last_name
    ) AS named
)
SELECT customer_id, email, first_name, last_name, segment, created_at, created_at AS happened_at, 'I' AS op
FROM came
UNION ALL
SELECT
    customer_id,
    email,
    first_name,
    last_name,
    CASE segment WHEN 'new' THEN 'regular' WHEN 'regular' THEN 'vip' ELSE 'regular' END,
    created_at,
    timestamptz '2024-01-10 10:00:01+00' + customer_id / 5 * interval '3 days 1 hour',
    'U'
FROM came
WHERE customer_id % 5 = 0
UNION ALL
SELECT
    customer_id,
    format('%s.%s@mail.example.org', lower(first_name), customer_id),
    first_name,
    last_name,
    segment,
    created_at,
    timestamptz '2023-03-01 12:00:02+00' + customer_id / 10 * interval '5 days 1 minute',
    'U'
FROM came
WHERE customer_id % 10 = 3;

INSERT INTO change_log (position, seq, committed_at, relation, op, full_row)
SELECT
    row_number() OVER (ORDER BY happened_at),
    1,
    happened_at,
    'customers',
    op,
    jsonb_build_object(
        'customer_id', customer_id,
        'email', email,
        'first_name', first_name,
        'last_name', last_name,
        'segment', segment,
        'created_at', created_at
    )
FROM happened;

INSERT INTO customers (customer_id, email, first_name, last_name, segment, created_at)
SELECT DISTINCT ON (customer_id) customer_id, email, first_name, last_name, segment, created_at
FROM happened
ORDER BY customer_id, happened_at DESC;

-- Orders come about twenty a day, more towards the end of a year; some customers order often, most now and then.
INSERT INTO orders (order_id, customer_id, order_date, status, order_total)
SELECT
    id,
    1 + pg_temp.draw(4, id, 1 + pg_temp.draw(5, id, 1000)),
    timestamptz '2023-01-01 06:00:00+00' + id * interval '71 minutes 40 seconds',
    CASE
        WHEN id > 21900 THEN 'placed'
        WHEN pg_temp.draw(6, id, 40) = 0 THEN 'cancelled'
        ELSE 'delivered'
    END,
    0
FROM generate_series(1, 22000) AS id;

INSERT INTO order_items (order_item_id, order_id, product_id, quantity, unit_price, discount, created_at)
SELECT
    id,
    order_id,
    product_id,
    quantity,
    price,
    round(quantity * price * (ARRAY[0, 0, 0, 0.05, 0.1])[1 + pg_temp.draw(9, id, 5)], 2),
    order_date
FROM generate_series(1, 66000) AS id
CROSS JOIN LATERAL (
    SELECT
        (1 + (id - 1) / 3)::integer AS order_id,
        (1 + pg_temp.draw(7, id, 20))::integer AS product_id,
        (1 + pg_temp.draw(8, id, 4))::integer AS quantity
) AS drawn
JOIN orders USING (order_id)
CROSS JOIN LATERAL (
    SELECT
        (ARRAY[109.95, 22.3, 55.99, 15.99, 695, 168, 9.99, 10.99, 64, 109, 114, 599, 999.99, 56.99, 29.95, 39.99, 9.85,
            7.95, 12.99, 249])[product_id]::numeric(10, 2) AS price
) AS priced;

UPDATE orders
SET order_total = lines.total
FROM (
    SELECT order_id, sum(quantity * unit_price - discount) AS total
    FROM order_items
    GROUP BY order_id
) AS lines
WHERE orders.order_id = lines.order_id;

DROP TABLE happened;
ANALYZE;
