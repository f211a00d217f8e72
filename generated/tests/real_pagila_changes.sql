-- What happens to the real Pagila, a transaction a paragraph that a line of its own opens and names.

--: half of the rentals that are out come back, one never will
UPDATE rental SET return_date = rental_date + interval '5 days 3 hours' WHERE return_date IS NULL AND rental_id % 2 = 0;
UPDATE rental SET return_date = 'infinity' WHERE rental_id = (SELECT min(rental_id) FROM rental WHERE return_date IS NULL);

--: customers move house, and to another store
INSERT INTO address (address_id, address, district, city_id, postal_code, phone)
VALUES (9001, E'1 "Ny" Vei, \\ 😀', E'Tab\tand\nline', 300, NULL, '');
UPDATE customer SET address_id = 9001, store_id = 2 WHERE customer_id IN (1, 3, 5);
UPDATE customer SET email = NULL, last_name = '' WHERE customer_id = 7;
UPDATE customer SET create_date = 'infinity' WHERE customer_id = 8;

--: addresses are rewritten
UPDATE address SET address = upper(address), postal_code = ''
WHERE address_id IN (SELECT address_id FROM customer WHERE customer_id BETWEEN 10 AND 20);

--: a payment is deleted, some move to other months, one is corrected
DELETE FROM payment WHERE payment_id = 16050;
UPDATE payment SET payment_date = payment_date + interval '3 months' WHERE payment_id BETWEEN 16060 AND 16070;
UPDATE payment SET payment_date = payment_date - interval '1 month' WHERE payment_id BETWEEN 25000 AND 25020;
UPDATE payment SET payment_date = '2031-03-05 12:00+00' WHERE payment_id = 16090;
UPDATE payment SET amount = 123.45 WHERE payment_id = 16080;

--: stock moves to another store, and is rented as it goes
UPDATE inventory SET store_id = 3 - store_id WHERE inventory_id BETWEEN 1 AND 40;
INSERT INTO rental (rental_id, rental_date, inventory_id, customer_id, staff_id) VALUES (90001, now(), 1, 1, 1);

--: the moved stock is rented and paid for where it stands now
INSERT INTO rental (rental_id, rental_date, inventory_id, customer_id, staff_id)
VALUES (90002, now(), 2, 2, 1), (90003, '2022-03-01 10:00+00', 2, 2, 1);
INSERT INTO payment (payment_id, customer_id, staff_id, rental_id, amount, payment_date)
VALUES (90001, 1, 1, 90001, 4.99, now()), (90002, 2, 1, 90002, 5.99, now()), (90003, 2, 2, 90003, 6.99, now());

--: a new film with its copies
INSERT INTO film (film_id, title, description, release_year, language_id, rating, special_features)
VALUES (5001, 'ÆGIS "OF" {THE}, \NULL', NULL, 1999, 2, NULL, '{"a,b","NULL",NULL,"c\"d\\e",""}');
INSERT INTO film_category (film_id, category_id) VALUES (5001, 1), (5001, 2);
INSERT INTO inventory (inventory_id, film_id, store_id) VALUES (9001, 5001, 1), (9002, 5001, 499);

--: the new film is rented
INSERT INTO rental (rental_id, rental_date, inventory_id, customer_id, staff_id, return_date)
VALUES (90010, now(), 9001, 20, 1, NULL), (90011, now(), 9002, 21, 1, now() + interval '30 hours');
INSERT INTO payment (payment_id, customer_id, staff_id, rental_id, amount, payment_date)
VALUES (90010, 20, 1, 90010, 0.00, now());

--: a customer is deleted with all its rows
CREATE TABLE record.gone_rental AS SELECT * FROM rental WHERE customer_id = 148;
CREATE TABLE record.gone_payment AS
    SELECT * FROM payment WHERE customer_id = 148 OR rental_id IN (SELECT rental_id FROM record.gone_rental);
CREATE TABLE record.gone_customer AS SELECT * FROM customer WHERE customer_id = 148;
DELETE FROM payment WHERE payment_id IN (SELECT payment_id FROM record.gone_payment);
DELETE FROM rental WHERE customer_id = 148;
DELETE FROM customer WHERE customer_id = 148;

--: the customer is back, with another name and some of the rows
INSERT INTO customer SELECT * FROM record.gone_customer;
UPDATE customer SET first_name = 'ELEANORA' WHERE customer_id = 148;
INSERT INTO rental SELECT * FROM record.gone_rental WHERE rental_id % 3 > 0;
INSERT INTO payment SELECT * FROM record.gone_payment WHERE rental_id % 3 > 0;

--: the customer is as before, and so are all of its rows
UPDATE customer SET first_name = (SELECT first_name FROM record.gone_customer) WHERE customer_id = 148;
INSERT INTO rental SELECT * FROM record.gone_rental WHERE rental_id % 3 = 0;
INSERT INTO payment SELECT * FROM record.gone_payment WHERE rental_id % 3 = 0;

--: keys change, with all that refers to them
UPDATE customer SET customer_id = 10599 WHERE customer_id = 599;
UPDATE film SET film_id = 20001 WHERE film_id = 1000;
UPDATE rental SET rental_id = 95000 WHERE rental_id = 100;
UPDATE inventory SET inventory_id = 50001 WHERE inventory_id = 4500;
UPDATE payment SET payment_id = 99000 WHERE payment_id = 16100;
UPDATE address SET address_id = 9100 WHERE address_id = (SELECT address_id FROM customer WHERE customer_id = 30);
UPDATE language SET language_id = 77 WHERE language_id = 1;

--: two customers change places
UPDATE customer SET customer_id = 100001 WHERE customer_id = 11;
UPDATE customer SET customer_id = 11 WHERE customer_id = 12;
UPDATE customer SET customer_id = 12 WHERE customer_id = 100001;

--: the categories are emptied and half of them come back
CREATE TABLE record.film_category AS SELECT * FROM film_category;
TRUNCATE film_category;
INSERT INTO film_category SELECT * FROM record.film_category WHERE film_id % 2 = 0;

--: the payments are emptied
CREATE TABLE record.payment AS SELECT * FROM payment;
TRUNCATE payment;

--: most of the payments come back
INSERT INTO payment SELECT * FROM record.payment WHERE payment_id % 10 > 0;
INSERT INTO payment SELECT payment_id, customer_id, staff_id, rental_id, amount + 1, payment_date
FROM record.payment WHERE payment_id % 50 = 0;

--: a language is renamed
UPDATE language SET name = 'British English' WHERE name LIKE 'English%';

--: prices and titles change
UPDATE film SET rental_rate = rental_rate + 1, replacement_cost = 0 WHERE film_id BETWEEN 1 AND 30;
UPDATE film SET title = title || ' II', rental_duration = rental_duration + 2 WHERE film_id BETWEEN 20 AND 60;
UPDATE film SET rating = NULL, special_features = NULL, length = NULL WHERE film_id = 61;
UPDATE film SET special_features = '{}', description = '' WHERE film_id = 62;

--: a store gets another manager, and another manager another name
UPDATE store SET manager_staff_id = 1400 WHERE store_id = 1;
UPDATE staff SET last_name = 'O''Neil' WHERE staff_id = (SELECT manager_staff_id FROM store WHERE store_id = 2);

--: copies are withdrawn
DELETE FROM inventory WHERE inventory_id IN (100, 101, 102, 9002);

--: two of them come back elsewhere, as another film
INSERT INTO inventory (inventory_id, film_id, store_id) VALUES (100, 1, 1), (9002, 2, 2);
INSERT INTO rental (rental_id, rental_date, inventory_id, customer_id, staff_id) VALUES (90020, now(), 101, 22, 1);

--: a rental of a copy that nobody knows, and rentals that move in time
INSERT INTO rental (rental_id, rental_date, inventory_id, customer_id, staff_id) VALUES (90030, '2022-04-01 00:00+00', 77777, 23, 1);
INSERT INTO payment (payment_id, customer_id, staff_id, rental_id, amount, payment_date)
VALUES (90030, 23, 1, 90030, 7.99, '2022-04-01 00:00+00');
UPDATE rental SET rental_date = rental_date - interval '3 months' WHERE rental_id BETWEEN 200 AND 220;
UPDATE rental SET inventory_id = inventory_id + 1 WHERE rental_id BETWEEN 230 AND 240;

--: what happens within one transaction leaves nothing
UPDATE customer SET last_name = 'NOBODY' WHERE customer_id = 40;
UPDATE customer SET last_name = (SELECT last_name FROM record.gone_customer) WHERE customer_id = 40;
UPDATE film SET rental_rate = 9.99 WHERE film_id = 70;
UPDATE film SET rental_rate = 0.99 WHERE film_id = 70;
INSERT INTO customer (customer_id, store_id, first_name, last_name, address_id) VALUES (777, 1, 'BRIEF', 'GUEST', 5);
DELETE FROM customer WHERE customer_id = 777;
SAVEPOINT doubt;
DELETE FROM payment;
UPDATE film SET title = 'NEVER';
ROLLBACK TO doubt;
UPDATE inventory SET store_id = 3 - store_id WHERE inventory_id = 300;
UPDATE inventory SET store_id = 3 - store_id WHERE inventory_id = 300;

--: nothing changes but the time of the last touch
UPDATE customer SET last_name = last_name WHERE customer_id BETWEEN 50 AND 80;
UPDATE film SET title = title WHERE film_id BETWEEN 100 AND 130;
UPDATE rental SET staff_id = staff_id WHERE rental_id BETWEEN 300 AND 320
