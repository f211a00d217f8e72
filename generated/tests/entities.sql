-- A small shop whose rows hold what is hard to read: nothing, infinities, every value of an enum.
INSERT INTO country VALUES (1, 'Norway');
INSERT INTO city VALUES (1, 'Bergen', 1);
INSERT INTO address (address_id, address, district, city_id, phone) VALUES (1, 'Bryggen 1', 'Vestland', 1, '');
INSERT INTO language VALUES (1, 'Norwegian'), (2, 'English');
INSERT INTO category VALUES (1, 'Drama');
INSERT INTO film (film_id, title, language_id, original_language_id, release_year, rating, special_features, length)
VALUES
    (1, 'Fjord', 1, 2, 1999, 'G', '{}', 90),
    (2, 'Fjell', 1, NULL, NULL, 'PG', NULL, NULL),
    (3, 'Foss', 1, NULL, NULL, 'PG-13', '{Trailers,""}', NULL),
    (4, 'Fonn', 1, NULL, NULL, 'R', '{"a,b","c\"d"}', 32767),
    (5, 'Fure', 1, NULL, NULL, 'NC-17', NULL, -1),
    (6, 'Fugl', 1, NULL, NULL, NULL, NULL, NULL);
UPDATE film SET rental_rate = -99.99, replacement_cost = 999.99 WHERE film_id = 6;
INSERT INTO film_category VALUES (1, 1);
INSERT INTO store VALUES (1, 1, 1);
INSERT INTO staff (staff_id, first_name, last_name, address_id, store_id, username) VALUES (1, 'Kari', 'Berg', 1, 1, 'kari');
INSERT INTO inventory VALUES (1, 1, 1);
INSERT INTO customer (customer_id, store_id, first_name, last_name, address_id, create_date)
VALUES
    (1, 1, 'Ola', 'Dahl', 1, 'infinity'),
    (2, 1, 'Liv', 'Moen', 1, '-infinity'),
    (3, 1, 'Nils', '', 1, '0044-03-15 BC');
INSERT INTO rental (rental_id, rental_date, inventory_id, customer_id, return_date, staff_id)
VALUES
    (1, '2025-01-31 23:59:59.999999+00', 1, 1, NULL, 1),
    (2, '2025-02-01 00:00:00+00', 1, 2, 'infinity', 1),
    (3, '2025-02-01 00:00:00+00', 99, 3, '2025-02-03 00:00:00+00', 1);
INSERT INTO payment (payment_id, customer_id, staff_id, rental_id, amount, payment_date)
VALUES
    (1, 1, 1, 1, 4.99, '2025-01-31 23:59:59.999999+00'),
    (2, 2, 1, 2, -0.01, '2025-02-01 00:00:00+00'),
    (3, 3, 1, 3, 1.00, '2025-02-01 00:00:00+00')
