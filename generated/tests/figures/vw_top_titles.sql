-- How each film did each month, by the month in which its rentals began. Open rentals count neither in
-- the average nor in utilisation; revenue is whatever was paid for the rentals counted.
WITH taken AS (
    SELECT rental_id, sum(amount) AS amount
    FROM paid
    GROUP BY rental_id
),
begun AS (
    SELECT
        rented.film_id,
        to_char(rented.rental_date, 'YYYY-MM-01')::date AS month,
        CASE
            WHEN isfinite(rented.return_date)
                THEN extract(epoch FROM rented.return_date - rented.rental_date)
        END AS seconds,
        taken.amount AS taken
    FROM rented
    LEFT JOIN taken ON taken.rental_id = rented.rental_id
    WHERE rented.film_id IS NOT NULL
),
done AS (
    SELECT
        film_id,
        month,
        tstzrange(month::timestamptz, month + interval '1 month') AS span,
        count(*) AS rentals,
        coalesce(sum(taken), 0)::numeric(12, 2) AS revenue,
        (avg(seconds) / 86400)::numeric(8, 2) AS average_days_out,
        coalesce(sum(seconds), 0) AS seconds_out
    FROM begun
    GROUP BY film_id, month
),
ranks AS (
    SELECT
        month,
        revenue,
        1 + coalesce(sum(count(*)) OVER better, 0) AS month_rank
    FROM done
    GROUP BY month, revenue
    WINDOW better AS (
        PARTITION BY month
        ORDER BY revenue DESC
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    )
),
standing AS (
    SELECT
        film_id,
        tstzrange(
            CASE WHEN known_from > min(known_from) OVER (PARTITION BY inventory_id) THEN known_from END,
            known_until
        ) AS span
    FROM stock
),
there AS (
    SELECT
        done.film_id,
        done.month,
        sum(extract(epoch FROM upper(standing.span * done.span) - lower(standing.span * done.span))) AS seconds
    FROM done
    JOIN standing ON standing.film_id = done.film_id AND standing.span && done.span
    GROUP BY done.film_id, done.month
)
SELECT
    done.film_id,
    done.month,
    film.title,
    done.rentals,
    done.revenue,
    done.average_days_out,
    ranks.month_rank,
    (done.seconds_out / there.seconds)::numeric(12, 4) AS utilisation
FROM done
JOIN ranks ON ranks.month = done.month AND ranks.revenue = done.revenue
LEFT JOIN there ON there.film_id = done.film_id AND there.month = done.month
LEFT JOIN film ON film.film_id = done.film_id
