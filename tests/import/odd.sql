-- Tables as nobody would wish for, and types from everywhere.
CREATE SCHEMA "Sales Dept";
CREATE SCHEMA dotted;
CREATE TYPE mood AS ENUM ('fine', 'it''s "so-so"', 'böse');
CREATE TYPE date_range AS ENUM ('short', 'long');
CREATE TYPE "Sales Dept".mood AS ENUM ('sold');
CREATE TYPE nothing AS ENUM ();
CREATE TYPE address AS (street text, zip integer);
CREATE TYPE span AS RANGE (SUBTYPE = float8);
CREATE DOMAIN year AS integer CHECK (VALUE > 1900);
CREATE DOMAIN price AS numeric(9, 2) NOT NULL;
CREATE DOMAIN prices AS price[];

CREATE TABLE every_type (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    a_bit bit(3), a_varbit bit varying(8), a_bool boolean NOT NULL, a_bytea bytea,
    a_char char(4), a_bpchar bpchar, a_quoted_char "char", a_varchar varchar(20), an_open_varchar varchar, a_name name,
    a_citext text COLLATE "C", a_numeric numeric, a_money money, a_price price, some_prices prices,
    a_year year, a_real real, a_double float8, a_small smallint, an_int integer,
    a_date date, a_time time(3), a_timetz timetz, a_timestamp timestamp(0), a_timestamptz timestamptz(3) NOT NULL,
    an_interval interval day to second(2),
    a_uuid uuid, a_json json, a_jsonb jsonb, an_xml xml, an_inet inet, a_macaddr macaddr8, a_point point,
    a_range int8range, a_multirange nummultirange, a_span span, some_spans span[],
    a_mood mood, some_moods mood[], a_sales_mood "Sales Dept".mood, a_nothing nothing, a_date_range date_range,
    an_address address, some_addresses address[],
    some_text text[], a_matrix integer[][], a_vector int2vector, a_tsvector tsvector, an_oid oid, a_class regclass,
    doubled integer GENERATED ALWAYS AS (an_int * 2) STORED
);
COMMENT ON TABLE every_type IS E'  One of each,\n"quoted" and \\ slashed.  ';
COMMENT ON COLUMN every_type.a_bool IS 'Yes or no.';

-- Names that a warehouse gives itself, that differ in case, that hold what names should not.
CREATE TABLE "Sales Dept"."Order" (
    "Order Id" uuid PRIMARY KEY,
    "select" text,
    "Select" text,
    sys_start timestamptz,
    "m$x" text,
    "row_hash" text,
    "dotted.name" text,
    "Dotted.Name" text,
    "a""quote" text,
    "line
break" text,
    "pri$ce$s" numeric,
    "$ix" integer,
    "größe" integer,
    updated_at timestamptz NOT NULL
);
CREATE TABLE "Order" ("Order Id" integer PRIMARY KEY);
CREATE TABLE order_ (id integer PRIMARY KEY);
CREATE TABLE "sales_dept_order" (id integer PRIMARY KEY);
CREATE TABLE "42" (id integer PRIMARY KEY);
CREATE TABLE "ÄÖÜ" (id integer PRIMARY KEY);
CREATE TABLE abcdefghi_abcdefghi_abcdefghi_abcdefghi_abcdefghi_abcdefghi_abc (id integer PRIMARY KEY);
CREATE TABLE abcdefghi_abcdefghi_abcdefghi_abcdefghi_abcdefghi_abcdefghi_xyz (id integer PRIMARY KEY);
CREATE TABLE dotted."a.b" (id integer PRIMARY KEY);
CREATE TABLE "line
break" (id integer PRIMARY KEY);
CREATE TABLE "cash$$" (id integer PRIMARY KEY);
CREATE TABLE by_cash ("cash$$" integer PRIMARY KEY);

-- What tells rows apart.
CREATE TABLE keyless (word text);
CREATE TABLE nearly_keyed (code text UNIQUE, other integer NOT NULL);
CREATE UNIQUE INDEX ON nearly_keyed (other) WHERE other > 0;
CREATE TABLE by_index (long_code text NOT NULL, region text NOT NULL, code integer NOT NULL);
CREATE UNIQUE INDEX by_index_both ON by_index (region, code);
CREATE UNIQUE INDEX by_index_code ON by_index (code) INCLUDE (long_code);
CREATE TABLE by_identity (id integer PRIMARY KEY, code text NOT NULL);
CREATE UNIQUE INDEX "by identity's ""code""" ON by_identity (code);
ALTER TABLE by_identity REPLICA IDENTITY USING INDEX "by identity's ""code""";
CREATE TABLE mute (id integer PRIMARY KEY);
ALTER TABLE mute REPLICA IDENTITY NOTHING;
CREATE TABLE whole (id integer PRIMARY KEY);
ALTER TABLE whole REPLICA IDENTITY FULL;
CREATE TABLE by_generated (id integer NOT NULL, twice integer GENERATED ALWAYS AS (id * 2) STORED PRIMARY KEY);
CREATE TABLE deferred (id integer NOT NULL UNIQUE DEFERRABLE);

-- Events, and what looks like them.
CREATE TABLE customer (customer_id integer PRIMARY KEY, since date NOT NULL);
CREATE TABLE store (
    store_id integer PRIMARY KEY, customer_id bigint REFERENCES customer, deleted_at timestamptz, is_archived boolean,
    deleted text
);
CREATE TABLE sale (
    sale_id bigint PRIMARY KEY, customer_id integer NOT NULL REFERENCES customer, store_id integer NOT NULL REFERENCES store,
    sold_at timestamptz NOT NULL, updated_at timestamp NOT NULL
);
CREATE TABLE visit (store_id integer REFERENCES store, at timestamptz, PRIMARY KEY (store_id, at));
CREATE TABLE visit_note (
    note_id integer PRIMARY KEY, store_id integer, at timestamptz, FOREIGN KEY (store_id, at) REFERENCES visit
);
CREATE TABLE membership (
    customer_id integer REFERENCES customer, store_id integer REFERENCES store, since date NOT NULL,
    PRIMARY KEY (customer_id, store_id)
);
CREATE TABLE reading (sensor integer, at timestamptz, value float8, PRIMARY KEY (at, sensor)) PARTITION BY RANGE (at);
CREATE TABLE reading_2024 PARTITION OF reading FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE by_region (region text, id integer, PRIMARY KEY (region, id)) PARTITION BY LIST (region);

-- What nothing can be captured from.
CREATE UNLOGGED TABLE scratch (id integer PRIMARY KEY);
CREATE VIEW best AS SELECT * FROM customer;
CREATE MATERIALIZED VIEW best_ever AS SELECT * FROM customer;
