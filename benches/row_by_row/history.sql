-- A history of orders as tutorials have it: a row a version, the current one marked, an index to find it by.

CREATE TABLE dim_orders_history (
    surrogate_key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_key integer NOT NULL,
    customer_id integer NOT NULL,
    product_id integer NOT NULL,
    quantity integer NOT NULL,
    unit_price numeric(10,2) NOT NULL,
    total_amount numeric(12,2) NOT NULL,
    order_status text NOT NULL,
    order_date timestamptz NOT NULL,
    valid_from timestamptz NOT NULL,
    valid_to timestamptz,
    is_current boolean NOT NULL,
    cdc_operation text NOT NULL,
    cdc_timestamp timestamptz NOT NULL,
    batch_id text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX dim_orders_history_current ON dim_orders_history (order_key, is_current);

CREATE TABLE watermark (last_updated timestamptz NOT NULL);

INSERT INTO watermark VALUES ('2026-01-01 00:00+00');
