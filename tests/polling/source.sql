-- One table whose time of change says its zone, with a single key; one whose time says none, with a key of two.
CREATE TABLE orders (
    order_id integer PRIMARY KEY,
    status text NOT NULL,
    note text,
    last_updated timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX ON orders (last_updated, order_id);

CREATE TABLE price (
    region text NOT NULL,
    product_id integer NOT NULL,
    price integer NOT NULL,
    changed_at timestamp NOT NULL DEFAULT (clock_timestamp() AT TIME ZONE 'UTC'),
    PRIMARY KEY (region, product_id)
);
