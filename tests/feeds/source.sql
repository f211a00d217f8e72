-- One table with a single key, one with a key of two columns, and a view over one of them. Any of the ways to capture
-- them will do.
CREATE TABLE orders (
    order_id integer PRIMARY KEY,
    status text NOT NULL,
    note text,
    last_updated timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE price (
    region text NOT NULL,
    product_id integer NOT NULL,
    price numeric NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (region, product_id)
);
