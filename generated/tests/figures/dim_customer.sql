-- What `dim_customer` has to say, straight from the source's tables of one state.
SELECT
    customer.customer_id,
    customer.store_id,
    customer.first_name,
    customer.last_name,
    customer.email,
    customer.address_id,
    home.address,
    home.district,
    home.postal_code,
    customer.activebool AS active,
    customer.create_date,
    customer.last_update
FROM customer
LEFT JOIN address AS home ON home.address_id = customer.address_id
