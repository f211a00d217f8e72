-- What `fact_rental` has to say. The source forgets where a copy stood: the test's own record of the
-- stock knows. A copy's first standing reaches back without limit, each one lasts until the next.
SELECT
    rental.rental_id,
    rental.rental_date,
    rental.return_date,
    rental.customer_id,
    rental.inventory_id,
    standing.film_id,
    standing.store_id,
    rental.staff_id,
    rental.last_update
FROM rental
LEFT JOIN (
    SELECT
        inventory_id,
        film_id,
        store_id,
        CASE WHEN row_number() OVER standings > 1 THEN known_from ELSE '-infinity' END AS from_here,
        lead(known_from) OVER standings AS to_here
    FROM stock
    WINDOW standings AS (PARTITION BY inventory_id ORDER BY known_from)
) AS standing
    ON standing.inventory_id = rental.inventory_id
    AND standing.from_here <= rental.rental_date
    AND (standing.to_here IS NULL OR standing.to_here > rental.rental_date)
