SELECT day.date_day
FROM dim_date AS day
WHERE NOT EXISTS (SELECT FROM fact_visit WHERE fact_visit.date_key = day.date_key)
