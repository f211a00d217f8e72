-- What each store took each month, by payment date; what no store is known of stands by itself.
SELECT
    store_id,
    make_date(extract(year FROM payment_date)::integer, extract(month FROM payment_date)::integer, 1) AS month,
    sum(amount)::numeric(12, 2) AS revenue,
    count(amount) AS payments,
    (sum(amount) / count(amount))::numeric(8, 2) AS average_payment,
    (SELECT count(*) FROM unnest(array_agg(DISTINCT customer_id))) AS paying_customers
FROM paid
GROUP BY 1, 2
