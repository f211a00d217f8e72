DROP TABLE fact_sale
