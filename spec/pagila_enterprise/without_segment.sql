-- Customers who have rented and are in no segment.
SELECT customer_id, rentals
FROM customer_metrics
LEFT JOIN customer_segments AS segments USING (customer_id, rentals)
WHERE rentals > 0
AND segments.segment IS NULL
