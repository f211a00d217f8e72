-- How each film did each month. A rental counts in the month in which it began. Seconds are summed and
-- only then divided, so that nothing is rounded twice.
WITH rental AS NOT MATERIALIZED (
    SELECT
        rental_id,
        film_id,
        date_trunc('month', rental_date AT TIME ZONE 'UTC')::date AS month,
        CASE
            WHEN isfinite(return_date) THEN extract(epoch FROM return_date - rental_date)
        END AS seconds_out
    FROM fact_rental
    WHERE film_id IS NOT NULL
    AND isfinite(rental_date)
),
rented AS (
    SELECT
        film_id,
        month,
        count(*) AS rentals,
        avg(seconds_out) / 86400 AS average_days_out,
        sum(seconds_out) AS seconds_out
    FROM rental
    GROUP BY film_id, month
),
paid AS (
    SELECT
        rental.film_id,
        rental.month,
        sum(payment.amount) AS revenue
    FROM rental
    JOIN fact_payment AS payment USING (rental_id)
    GROUP BY rental.film_id, rental.month
),
-- A copy was there before we first saw it: its first version reaches back without limit.
stock AS (
    SELECT
        film_id,
        CASE
            WHEN lag(sys_end) OVER copy IS NULL THEN '-infinity'
            ELSE sys_start
        END AS there_from,
        sys_end AS there_until
    FROM lookup_inventory_hist
    WINDOW copy AS (PARTITION BY inventory_id ORDER BY sys_start)
),
months AS (
    SELECT
        month,
        month::timestamp AT TIME ZONE 'UTC' AS month_start,
        (month + interval '1 month') AT TIME ZONE 'UTC' AS month_end
    FROM rental
    GROUP BY month
),
there AS (
    SELECT
        stock.film_id,
        months.month,
        sum(
            extract(
                epoch FROM least(stock.there_until, months.month_end)
                - greatest(stock.there_from, months.month_start)
            )
        ) AS copy_seconds
    FROM stock
    JOIN months
        ON stock.there_from < months.month_end
        AND stock.there_until > months.month_start
    GROUP BY stock.film_id, months.month
)
SELECT
    rented.film_id,
    rented.month,
    dim_film.title,
    rented.rentals,
    coalesce(paid.revenue, 0) AS revenue,
    round(rented.average_days_out, 2) AS average_days_out,
    rank() OVER (PARTITION BY rented.month ORDER BY coalesce(paid.revenue, 0) DESC) AS month_rank,
    round(coalesce(rented.seconds_out, 0) / there.copy_seconds, 4) AS utilisation
FROM rented
LEFT JOIN paid USING (film_id, month)
LEFT JOIN there USING (film_id, month)
LEFT JOIN dim_film USING (film_id)
