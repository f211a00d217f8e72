-- An online shop's own database: who buys, what was ordered, line by line. Products come from another service and
-- clicks from the web servers, both as files; orders may name a customer whom another service has not told of yet.

CREATE TABLE customers (
    customer_id integer PRIMARY KEY,
    email text,
    first_name text NOT NULL,
    last_name text NOT NULL,
    segment text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE orders (
    order_id integer PRIMARY KEY,
    customer_id integer NOT NULL,
    order_date timestamptz NOT NULL DEFAULT now(),
    status text NOT NULL DEFAULT 'placed',
    order_total numeric(12, 2) NOT NULL
);

CREATE TABLE order_items (
    order_item_id integer PRIMARY KEY,
    order_id integer NOT NULL,
    product_id integer NOT NULL,
    quantity integer NOT NULL,
    unit_price numeric(10, 2) NOT NULL,
    discount numeric(10, 2) NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX order_items_order_idx ON order_items (order_id);

-- What happened to customers before anybody listened, as the shop wrote it down itself. A warehouse loads this once, then
-- follows the live tables.

CREATE TABLE change_log (
    position bigint NOT NULL,
    seq bigint NOT NULL,
    committed_at timestamptz NOT NULL,
    relation text NOT NULL,
    op char(1) NOT NULL CHECK (op IN ('I', 'U', 'D', 'T')),
    full_row jsonb,
    PRIMARY KEY (position, seq)
);

COMMENT ON TABLE change_log IS 'Every change of customers, as recorded before live capture.';
COMMENT ON COLUMN change_log.position IS 'The transaction; rises in commit order.';
COMMENT ON COLUMN change_log.seq IS 'The change within its transaction, from 1.';
COMMENT ON COLUMN change_log.committed_at IS 'When the transaction committed: one time a position, strictly rising.';
COMMENT ON COLUMN change_log.relation IS 'The table that changed.';
COMMENT ON COLUMN change_log.op IS 'I insert, U update, D delete, T truncate.';
COMMENT ON COLUMN change_log.full_row IS 'to_jsonb of the row after the change (before it for D; NULL for T), under TimeZone UTC.';
