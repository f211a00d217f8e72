SELECT day, sold
FROM sales_by_day
WHERE sold > 100
