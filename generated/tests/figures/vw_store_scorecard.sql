-- How each store did each day, up to the day of `judge.now`: the system time of the state.
WITH due AS (
    SELECT
        rented.store_id,
        (rented.rental_date + film.rental_duration * interval '1 day')::date AS day,
        CASE
            WHEN rented.return_date IS NULL THEN current_setting('judge.now')::timestamptz
            ELSE rented.return_date
        END > rented.rental_date + film.rental_duration * interval '1 day' AS late
    FROM rented
    JOIN film ON film.film_id = rented.film_id
),
returns AS (
    SELECT
        store_id,
        day,
        (100.0 * sum(late::integer) / count(*))::numeric(5, 2) AS late_return_pct
    FROM due
    GROUP BY store_id, day
),
days AS (
    SELECT store_id, rental_date::date AS day FROM rented
    UNION
    SELECT store_id, payment_date::date FROM paid
    UNION
    SELECT store_id, day FROM due
),
rentals AS (
    SELECT store_id, rental_date::date AS day, count(*) AS rentals
    FROM rented
    GROUP BY 1, 2
),
takings AS (
    SELECT store_id, payment_date::date AS day, sum(amount) AS revenue
    FROM paid
    GROUP BY 1, 2
),
active AS (
    SELECT store_id, day, count(*) AS active_customers
    FROM (
        SELECT store_id, rental_date::date AS day, customer_id FROM rented
        UNION
        SELECT store_id, payment_date::date, customer_id FROM paid
    ) AS seen
    GROUP BY 1, 2
)
SELECT
    days.store_id,
    days.day,
    coalesce(takings.revenue, 0)::numeric(12, 2) AS revenue,
    coalesce(rentals.rentals, 0) AS rentals,
    returns.late_return_pct,
    coalesce(active.active_customers, 0) AS active_customers,
    (
        SELECT concat(staff.first_name, ' ', staff.last_name)
        FROM store
        JOIN staff ON staff.staff_id = store.manager_staff_id
        WHERE store.store_id = days.store_id
    ) AS manager
FROM days
LEFT JOIN takings USING (store_id, day)
LEFT JOIN rentals USING (store_id, day)
LEFT JOIN returns USING (store_id, day)
LEFT JOIN active USING (store_id, day)
WHERE days.store_id IS NOT NULL
AND days.day <= current_setting('judge.now')::timestamptz::date
