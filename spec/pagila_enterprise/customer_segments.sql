-- Customers who have rented, in fifths by how long ago, how often and for how much; equal ones by number, so that the
-- fifths come out alike each time.
WITH scored AS (
    SELECT
        customer_id,
        (medallion.now() AT TIME ZONE 'UTC')::date - (last_rental AT TIME ZONE 'UTC')::date AS recency_days,
        rentals,
        revenue,
        ntile(5) OVER (ORDER BY last_rental, customer_id) AS recency_score,
        ntile(5) OVER (ORDER BY rentals, customer_id) AS frequency_score,
        ntile(5) OVER (ORDER BY revenue, customer_id) AS monetary_score
    FROM customer_metrics
    WHERE rentals > 0
)
SELECT
    customer_id,
    recency_days,
    rentals,
    revenue,
    recency_score,
    frequency_score,
    monetary_score,
    CASE
        WHEN recency_score >= 4 AND frequency_score >= 4 AND monetary_score >= 4 THEN 'champion'
        WHEN recency_score >= 3 AND frequency_score >= 4 THEN 'loyal'
        WHEN recency_score >= 4 AND frequency_score <= 2 THEN 'promising'
        WHEN recency_score <= 2 AND frequency_score >= 3 THEN 'at_risk'
        WHEN recency_score <= 2 THEN 'lost'
        ELSE 'regular'
    END AS segment
FROM scored
