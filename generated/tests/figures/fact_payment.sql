-- What `fact_payment` has to say: film and store are those of the rental's copy.
SELECT
    payment.payment_id,
    payment.payment_date,
    payment.customer_id,
    payment.staff_id,
    payment.rental_id,
    payment.amount,
    rented.film_id,
    rented.store_id,
    rented.rental_date
FROM payment
LEFT JOIN rented ON rented.rental_id = payment.rental_id
