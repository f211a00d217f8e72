SELECT sold_at::date AS day, count(*) AS sales
FROM fact_sale
GROUP BY 1;
