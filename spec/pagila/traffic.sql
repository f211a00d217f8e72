-- One round of traffic at the source: what happens in the shops in a minute or so. Every block is a
-- transaction. Works on the sample and on Pagila's own rows.

-- Rows that were loaded with their keys have not moved the counters on.
DO $$
DECLARE
    relation text;
BEGIN
    FOREACH relation IN ARRAY ARRAY['address', 'customer', 'film', 'inventory', 'rental', 'payment']
    LOOP
        EXECUTE format(
            'SELECT setval(%1$L, max(%2$I)) FROM %3$I HAVING max(%2$I) > (SELECT last_value FROM %1$s)',
            pg_get_serial_sequence(relation, relation || '_id'),
            relation || '_id',
            relation
        );
    END LOOP;
END
$$;

-- Copies that are in go out; some customers pay at once.
BEGIN;

WITH chosen AS MATERIALIZED (
    SELECT inventory_id, store_id
    FROM inventory
    WHERE NOT EXISTS (
        SELECT
        FROM rental
        WHERE rental.inventory_id = inventory.inventory_id
        AND return_date IS NULL
    )
    ORDER BY random()
    LIMIT 3 + floor(random() * 6)
),
rented AS (
    INSERT INTO rental (rental_date, inventory_id, customer_id, staff_id)
    SELECT
        now(),
        chosen.inventory_id,
        customer.customer_id,
        staff.staff_id
    FROM chosen
    CROSS JOIN LATERAL (
        SELECT customer_id
        FROM customer
        WHERE activebool
        ORDER BY customer.store_id = chosen.store_id DESC, random()
        LIMIT 1
    ) AS customer
    CROSS JOIN LATERAL (
        SELECT staff_id
        FROM staff
        WHERE active
        ORDER BY staff.store_id = chosen.store_id DESC, random()
        LIMIT 1
    ) AS staff
    RETURNING rental_id, inventory_id, customer_id, staff_id
)
INSERT INTO payment (customer_id, staff_id, rental_id, amount, payment_date)
SELECT
    rented.customer_id,
    rented.staff_id,
    rented.rental_id,
    film.rental_rate,
    now()
FROM rented
JOIN inventory USING (inventory_id)
JOIN film USING (film_id)
WHERE random() < 0.4;

COMMIT;

-- Copies that are out come back; who has not paid pays now, and for the days too many.
BEGIN;

WITH chosen AS MATERIALIZED (
    SELECT rental_id
    FROM rental
    WHERE return_date IS NULL
    AND rental_date < now()
    ORDER BY random()
    LIMIT 2 + floor(random() * 5)
),
returned AS (
    UPDATE rental
    SET return_date = now()
    FROM chosen
    WHERE rental.rental_id = chosen.rental_id
    RETURNING rental.rental_id, inventory_id, customer_id, staff_id, rental_date
)
INSERT INTO payment (customer_id, staff_id, rental_id, amount, payment_date)
SELECT
    returned.customer_id,
    returned.staff_id,
    returned.rental_id,
    film.rental_rate + least(
        0.50 * greatest(extract(day FROM now() - returned.rental_date) - film.rental_duration, 0),
        film.replacement_cost
    ),
    now()
FROM returned
JOIN inventory USING (inventory_id)
JOIN film USING (film_id)
WHERE NOT EXISTS (
    SELECT
    FROM payment
    WHERE payment.rental_id = returned.rental_id
);

COMMIT;

-- A customer moves house, and now and then to another shop.
BEGIN;

WITH mover AS MATERIALIZED (
    SELECT customer_id
    FROM customer
    WHERE activebool
    ORDER BY random()
    LIMIT 1
),
written AS (
    INSERT INTO address (address, district, city_id, postal_code, phone)
    SELECT
        1 + floor(random() * 180) || ' ' || regexp_replace(address, '^\S+ ', ''),
        district,
        city_id,
        postal_code,
        phone
    FROM address
    ORDER BY random()
    LIMIT 1
    RETURNING address_id
),
shop AS MATERIALIZED (
    SELECT store_id
    FROM customer
    ORDER BY random()
    LIMIT 1
)
UPDATE customer
SET
    address_id = written.address_id,
    store_id = CASE WHEN random() < 0.3 THEN shop.store_id ELSE customer.store_id END
FROM mover, written, shop
WHERE customer.customer_id = mover.customer_id;

COMMIT;

-- A film gets another price.
BEGIN;

UPDATE film
SET rental_rate = CASE WHEN rental_rate > 2.50 THEN rental_rate - 0.50 ELSE rental_rate + 0.50 END
WHERE film_id = (
    SELECT film_id
    FROM inventory
    ORDER BY random()
    LIMIT 1
);

COMMIT;

-- A copy that is in goes to another shop.
BEGIN;

WITH chosen AS MATERIALIZED (
    SELECT inventory_id, store_id
    FROM inventory
    WHERE NOT EXISTS (
        SELECT
        FROM rental
        WHERE rental.inventory_id = inventory.inventory_id
        AND return_date IS NULL
    )
    ORDER BY random()
    LIMIT 1
)
UPDATE inventory
SET store_id = target.store_id
FROM chosen
CROSS JOIN LATERAL (
    SELECT other.store_id
    FROM inventory AS other
    WHERE other.store_id <> chosen.store_id
    ORDER BY random()
    LIMIT 1
) AS target
WHERE inventory.inventory_id = chosen.inventory_id;

COMMIT;

-- Sometimes somebody signs up: a name made of two that are known.
BEGIN;

INSERT INTO customer (store_id, first_name, last_name, email, address_id, active)
SELECT
    one.store_id,
    one.first_name,
    other.last_name,
    lower(replace(one.first_name || '.' || other.last_name, ' ', '')) || '@new.example',
    one.address_id,
    1
FROM (SELECT * FROM customer ORDER BY random() LIMIT 1) AS one
CROSS JOIN (SELECT * FROM customer ORDER BY random() LIMIT 1) AS other
WHERE random() < 0.3;

COMMIT;

-- Sometimes a film is released, its title made of two that are known, and two copies are bought.
BEGIN;

WITH released AS (
    INSERT INTO film (title, description, release_year, language_id, rental_duration, rental_rate, length, rating)
    SELECT
        regexp_replace(one.title, '\S+$', '') || substring(other.title FROM '\S+$'),
        other.description,
        extract(year FROM now()),
        one.language_id,
        3,
        4.99,
        one.length,
        other.rating
    FROM (SELECT * FROM film ORDER BY random() LIMIT 1) AS one
    CROSS JOIN (SELECT * FROM film ORDER BY random() LIMIT 1) AS other
    WHERE random() < 0.2
    RETURNING film_id
),
filed AS (
    INSERT INTO film_category (film_id, category_id)
    SELECT film_id, 1 + floor(random() * 13)
    FROM released
)
INSERT INTO inventory (film_id, store_id)
SELECT released.film_id, bought.store_id
FROM released
CROSS JOIN (SELECT store_id FROM inventory ORDER BY random() LIMIT 2) AS bought;

COMMIT;

-- Now and then the last payment was a mistake.
BEGIN;

DELETE FROM payment
WHERE random() < 0.1
AND (payment_date, payment_id) = (
    SELECT payment_date, payment_id
    FROM payment
    ORDER BY payment_date DESC, payment_id DESC
    LIMIT 1
);

COMMIT;
