-- Measures what stands on a large history: the three kinds of question (one key at a time, all keys at a time,
-- the history of a key), over two shapes of history, with closed versions beside the current ones and apart
-- from them, under the indexes that come into question. docs/large_histories.md has the results and says how
-- to run it. Needs a database of its own: it drops and makes schema "bench".
\set QUIET on
\pset footer off
\if :{?versions} \else \set versions 10000000 \endif
SET client_min_messages = warning;
SET jit = off;
SET max_parallel_workers_per_gather = 0;
SET work_mem = '64MB';
SET maintenance_work_mem = '256MB';
SET timezone = 'UTC';
DROP SCHEMA IF EXISTS bench CASCADE;
CREATE SCHEMA bench;
SET search_path = bench;

CREATE TABLE answer (shape text, storage text, indexes text, question text, planning_ms numeric, execution_ms numeric);
CREATE TABLE cost (storage text, what text, milliseconds numeric);

-- The time of an event, of which there are :versions in three years.
CREATE FUNCTION at(event bigint) RETURNS timestamptz LANGUAGE sql IMMUTABLE
RETURN timestamptz '2021-01-01 00:00:00+00' + event * (interval '1095 days' / :versions);

CREATE FUNCTION at_percent(percent bigint) RETURNS timestamptz LANGUAGE sql IMMUTABLE
RETURN at(percent * :versions / 100);

-- Every tenth of the versions is one of a key, and all keys change alike.
CREATE VIEW even AS
SELECT
    (event * 7919 % (:versions / 10))::integer AS id,
    at(event) AS sys_start,
    CASE WHEN event + :versions / 10 < :versions THEN at(event + :versions / 10) ELSE 'infinity' END AS sys_end,
    event
FROM generate_series(0::bigint, :versions - 1) AS event;

-- One version in eleven is the only one of its key, half of those end late; the others share few keys.
CREATE VIEW skewed AS
SELECT
    (:versions / 100 + event / 11)::integer AS id,
    at(event) AS sys_start,
    CASE WHEN event % 2 = 0 THEN 'infinity' ELSE greatest(at(event) + interval '1 day', at(:versions - event / 11)) END AS sys_end,
    event
FROM generate_series(0::bigint, :versions - 1, 11) AS event
UNION ALL
SELECT
    (other * 7919 % (:versions / 100))::integer,
    at(event),
    CASE WHEN ended < :versions THEN at(ended) ELSE 'infinity' END,
    event
FROM generate_series(0::bigint, :versions - 1) AS event
CROSS JOIN LATERAL (SELECT event - event / 11 - 1 AS other) AS numbered
CROSS JOIN LATERAL (SELECT other + :versions / 100 AS next) AS numbered_next
CROSS JOIN LATERAL (SELECT next + next / 10 + 1 AS ended) AS numbered_end
WHERE event % 11 <> 0;

-- The median of some runs; `{key}` is another key each time. Prepared: what a driver that keeps its statements
-- waits for. Planning: what others wait for besides.
CREATE FUNCTION measure(a_shape text, a_storage text, some_indexes text, a_question text, sql text, runs integer)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    keys CONSTANT integer := (SELECT max(id) FROM bench.keys);
    said json;
    planned numeric[];
    executed numeric[];
BEGIN
    EXECUTE 'PREPARE question (integer, timestamptz) AS ' || sql;
    FOR run IN 0..runs LOOP
        PERFORM set_config('plan_cache_mode', 'force_custom_plan', true);
        EXECUTE format('EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) EXECUTE question(%s, %L)',
            (hashint4(run)::bigint + 2147483648) % keys, bench.at_percent(split_part(a_question, ' at ', 2)::bigint)) INTO said;
        CONTINUE WHEN run = 0;
        planned := planned || (said -> 0 ->> 'Planning Time')::numeric;
        PERFORM set_config('plan_cache_mode', CASE WHEN runs > 10 THEN 'force_generic_plan' ELSE 'force_custom_plan' END, true);
        EXECUTE format('EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) EXECUTE question(%s, %L)',
            (hashint4(run)::bigint + 2147483648) % keys, bench.at_percent(split_part(a_question, ' at ', 2)::bigint)) INTO said;
        executed := executed || (said -> 0 ->> 'Execution Time')::numeric;
    END LOOP;
    DEALLOCATE question;
    INSERT INTO bench.answer VALUES (a_shape, a_storage, some_indexes, a_question,
        (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY one) FROM unnest(planned) AS one),
        (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY one) FROM unnest(executed) AS one));
END
$$;

CREATE TABLE keys (id integer);
CREATE TABLE together (
    id integer NOT NULL,
    name text NOT NULL,
    city text,
    price numeric(10, 2),
    note text,
    row_hash bytea NOT NULL,
    sys_start timestamptz NOT NULL,
    sys_end timestamptz NOT NULL DEFAULT 'infinity'
)
WITH (fillfactor = 85);

CREATE FUNCTION split(name text, unit text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TABLE %I (LIKE together, PRIMARY KEY (id, sys_end)) PARTITION BY RANGE (sys_end)', name);
    EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (''infinity'') TO (MAXVALUE)',
        name || '_current', name);
    EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (MINVALUE) TO (''infinity'')
        PARTITION BY RANGE (sys_end)', name || '_closed', name);
    EXECUTE format('CREATE TABLE %I PARTITION OF %I DEFAULT', name || '_default', name || '_closed');
    FOR part IN 0..CASE unit WHEN 'year' THEN 2 ELSE 35 END LOOP
        EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)',
            name || '_' || part, name || '_closed',
            timestamptz '2021-01-01 00:00:00+00' + part * ('1 ' || unit)::interval,
            timestamptz '2021-01-01 00:00:00+00' + (part + 1) * ('1 ' || unit)::interval);
    END LOOP;
END
$$;

\set shape even
TRUNCATE keys;
DROP INDEX IF EXISTS together_current_key, together_period_brin;
ALTER TABLE together DROP CONSTRAINT IF EXISTS together_pkey;
TRUNCATE together;
INSERT INTO together
SELECT id, 'name ' || id, 'city ' || id % 100, id, 'note ' || event, sha256(event::text::bytea), sys_start, sys_end
FROM :shape
ORDER BY event;
ALTER TABLE together ADD CONSTRAINT together_pkey PRIMARY KEY (id, sys_start);
CREATE UNIQUE INDEX together_current_key ON together (id) WHERE sys_end = 'infinity';
VACUUM (FREEZE, ANALYZE) together;
INSERT INTO keys SELECT max(id) FROM together;

DROP TABLE IF EXISTS by_year, by_month;
SELECT split('by_year', 'year'), split('by_month', 'month') \g /dev/null
INSERT INTO by_year SELECT * FROM together ORDER BY sys_end, sys_start;
INSERT INTO by_month SELECT * FROM together ORDER BY sys_end, sys_start;
VACUUM (FREEZE, ANALYZE) by_year;
VACUUM (FREEZE, ANALYZE) by_month;

\set indexes 'keys only'
\ir large_histories_questions.sql
CREATE INDEX together_period_brin ON together USING brin (sys_start, sys_end);
CREATE INDEX by_year_period_brin ON by_year_closed USING brin (sys_start, sys_end);
CREATE INDEX by_month_period_brin ON by_month_closed USING brin (sys_start, sys_end);
\set indexes 'keys and BRIN'
\ir large_histories_questions.sql

\set shape skewed
TRUNCATE keys;
DROP INDEX IF EXISTS together_current_key, together_period_brin;
ALTER TABLE together DROP CONSTRAINT IF EXISTS together_pkey;
TRUNCATE together;
INSERT INTO together
SELECT id, 'name ' || id, 'city ' || id % 100, id, 'note ' || event, sha256(event::text::bytea), sys_start, sys_end
FROM :shape
ORDER BY event;
ALTER TABLE together ADD CONSTRAINT together_pkey PRIMARY KEY (id, sys_start);
CREATE UNIQUE INDEX together_current_key ON together (id) WHERE sys_end = 'infinity';
VACUUM (FREEZE, ANALYZE) together;
INSERT INTO keys SELECT max(id) FROM together;

DROP TABLE IF EXISTS by_year, by_month;
SELECT split('by_year', 'year'), split('by_month', 'month') \g /dev/null
INSERT INTO by_year SELECT * FROM together ORDER BY sys_end, sys_start;
INSERT INTO by_month SELECT * FROM together ORDER BY sys_end, sys_start;
VACUUM (FREEZE, ANALYZE) by_year;
VACUUM (FREEZE, ANALYZE) by_month;

\set indexes 'keys only'
\ir large_histories_questions.sql
CREATE INDEX together_period_brin ON together USING brin (sys_start, sys_end);
CREATE INDEX by_year_period_brin ON by_year_closed USING brin (sys_start, sys_end);
CREATE INDEX by_month_period_brin ON by_month_closed USING brin (sys_start, sys_end);
\set indexes 'keys and BRIN'
\ir large_histories_questions.sql

-- What writing costs: a batch that ends the current versions of many keys and begins others, and inserting
-- under an exclusion constraint.
CREATE FUNCTION costs(a_storage text, a_what text, VARIADIC statements text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    begun timestamptz := clock_timestamp();
    statement text;
BEGIN
    FOREACH statement IN ARRAY statements LOOP
        EXECUTE statement;
    END LOOP;
    INSERT INTO bench.cost VALUES (a_storage, a_what, round(1000 * extract(epoch FROM clock_timestamp() - begun)));
END
$$;

CREATE TABLE batch AS
SELECT id, name, city, price, note, row_hash, at(:versions - 1) AS sys_start, sys_end
FROM by_year
WHERE sys_end = 'infinity'
AND sys_start < at(:versions - 1)
AND id % 3 = 0;
ANALYZE batch;
SELECT count(*) AS batched FROM batch \gset
SELECT costs(storage, :'batched' || ' keys end a version and begin one',
    format('UPDATE %I AS stored SET sys_end = batch.sys_start FROM batch '
        'WHERE stored.id = batch.id AND stored.sys_end = ''infinity''', name),
    format('INSERT INTO %I SELECT * FROM batch', name))
FROM (VALUES ('together', 'together'), ('apart by year', 'by_year'), ('apart by month', 'by_month')) AS stored (storage, name)
\g /dev/null

CREATE EXTENSION IF NOT EXISTS btree_gist;
CREATE TABLE sample AS SELECT * FROM together WHERE id % 20 = 0;
CREATE TABLE unguarded (LIKE together, PRIMARY KEY (id, sys_start)) WITH (fillfactor = 85);
CREATE UNIQUE INDEX ON unguarded (id) WHERE sys_end = 'infinity';
CREATE INDEX ON unguarded USING brin (sys_start, sys_end);
CREATE TABLE guarded (
    LIKE unguarded INCLUDING INDEXES,
    EXCLUDE USING gist (id WITH =, tstzrange(sys_start, sys_end) WITH &&)
)
WITH (fillfactor = 85);
SELECT count(*) AS sampled FROM sample \gset
SELECT costs('overlaps unmade', 'inserting ' || :'sampled' || ' versions', 'INSERT INTO unguarded SELECT * FROM sample')
\g /dev/null
SELECT costs('overlaps refused', 'inserting ' || :'sampled' || ' versions', 'INSERT INTO guarded SELECT * FROM sample')
\g /dev/null

\pset title 'Milliseconds of writing'
SELECT what, storage, milliseconds FROM cost ORDER BY what, milliseconds;

\pset title 'Milliseconds, median'
SELECT question, storage, indexes,
    round(max(execution_ms) FILTER (WHERE shape = 'even'), 3) AS "even",
    round(max(planning_ms) FILTER (WHERE shape = 'even'), 3) AS "even, to plan",
    round(max(execution_ms) FILTER (WHERE shape = 'skewed'), 3) AS "skewed",
    round(max(planning_ms) FILTER (WHERE shape = 'skewed'), 3) AS "skewed, to plan"
FROM answer
GROUP BY question, storage, indexes
ORDER BY question, storage, indexes;

\pset title 'Sizes of the last shape'
SELECT storage, pg_size_pretty(sum(pg_table_size(relid))) AS rows, pg_size_pretty(sum(pg_indexes_size(relid))) AS indexes
FROM (
    SELECT 'together' AS storage, 'together'::regclass AS relid
    UNION ALL
    SELECT 'apart by year', relid FROM pg_partition_tree('by_year')
    UNION ALL
    SELECT 'apart by month', relid FROM pg_partition_tree('by_month')
) AS stored
GROUP BY storage;
