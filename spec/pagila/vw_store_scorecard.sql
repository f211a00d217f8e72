-- How each store did each day. A day that has not begun has no score.
WITH clock AS (
    SELECT medallion.now() AS now
),
rental AS (
    SELECT
        rental.store_id,
        rental.customer_id,
        rental.rental_date,
        rental.return_date,
        (
            rental.rental_date AT TIME ZONE 'UTC' + make_interval(days => film.rental_duration)
        ) AT TIME ZONE 'UTC' AS due_date
    FROM fact_rental AS rental
    LEFT JOIN dim_film AS film USING (film_id)
    WHERE rental.store_id IS NOT NULL
),
-- What happened, one row an event. A copy that is still out is late once it is past its due date.
event AS (
    SELECT
        store_id,
        (rental_date AT TIME ZONE 'UTC')::date AS day,
        1 AS rentals,
        NULL::numeric AS amount,
        NULL::boolean AS late,
        customer_id
    FROM rental
    UNION ALL
    SELECT
        store_id,
        (payment_date AT TIME ZONE 'UTC')::date AS day,
        0 AS rentals,
        amount,
        NULL::boolean AS late,
        customer_id
    FROM fact_payment
    WHERE store_id IS NOT NULL
    UNION ALL
    SELECT
        rental.store_id,
        (rental.due_date AT TIME ZONE 'UTC')::date AS day,
        0 AS rentals,
        NULL::numeric AS amount,
        coalesce(rental.return_date, clock.now) > rental.due_date AS late,
        NULL::integer AS customer_id
    FROM rental
    CROSS JOIN clock
    WHERE rental.due_date IS NOT NULL
),
score AS (
    SELECT
        event.store_id,
        event.day,
        coalesce(sum(event.amount), 0) AS revenue,
        sum(event.rentals) AS rentals,
        round(100.0 * count(*) FILTER (WHERE event.late) / nullif(count(event.late), 0), 2) AS late_return_pct,
        count(DISTINCT event.customer_id) AS active_customers
    FROM event
    JOIN clock
        ON event.day <= (clock.now AT TIME ZONE 'UTC')::date
    GROUP BY event.store_id, event.day
)
SELECT
    score.store_id,
    score.day,
    score.revenue,
    score.rentals,
    score.late_return_pct,
    score.active_customers,
    staff.first_name || ' ' || staff.last_name AS manager
FROM score
LEFT JOIN lookup_store AS store USING (store_id)
LEFT JOIN lookup_staff AS staff ON staff.staff_id = store.manager_staff_id
