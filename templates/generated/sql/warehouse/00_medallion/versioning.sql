-- What the versioning of all dimensions has in common. Its triggers fire as the writer, who must find what
-- they call; the tables here stay closed.
GRANT USAGE ON SCHEMA "medallion" TO PUBLIC;

-- Opens the loader's way past versioning, for this transaction.
CREATE FUNCTION "medallion"."backfill"() RETURNS void
LANGUAGE sql
BEGIN ATOMIC
    SELECT set_config('medallion.backfill', 'on', true);
END;

REVOKE ALL ON FUNCTION "medallion"."backfill"() FROM PUBLIC;

-- Anybody can set a setting: it says what is wanted, the privilege says whether it is granted. Both users are
-- asked, so that a function that runs as its owner does not lend the owner's privilege to its caller.
CREATE FUNCTION "medallion"."backfilling"() RETURNS boolean
LANGUAGE sql
STABLE
BEGIN ATOMIC
    SELECT coalesce(current_setting('medallion.backfill', true), '') = 'on'
        AND has_function_privilege('"medallion"."backfill"()'::regprocedure, 'EXECUTE')
        AND has_function_privilege(session_user, '"medallion"."backfill"()'::regprocedure, 'EXECUTE');
END;

-- Whether a trigger of versioning is at work, which runs as the owner.
CREATE FUNCTION "medallion"."settling"() RETURNS boolean
LANGUAGE sql
STABLE
BEGIN ATOMIC
    SELECT pg_trigger_depth() > 0
        AND has_function_privilege('"medallion"."backfill"()'::regprocedure, 'EXECUTE');
END;

-- The system time of a transaction that writes dimensions: the clock at its first change, kept in a setting
-- that savepoints undo. Who sets it otherwise stays within the transaction's own time, and can do no more
-- than by waiting.
CREATE FUNCTION "medallion"."stamp"() RETURNS timestamptz
LANGUAGE sql
BEGIN ATOMIC
    SELECT CASE
        WHEN to_timestamp(nullif(current_setting('medallion.stamp', true), '')::double precision)
            BETWEEN transaction_timestamp() AND clock_timestamp()
        THEN to_timestamp(current_setting('medallion.stamp')::double precision)
        ELSE to_timestamp(
            set_config('medallion.stamp', extract(epoch FROM clock_timestamp())::text, true)::double precision
        )
    END;
END;

-- Whether this transaction, or a savepoint's part of it, wrote a row that it sees. What is older than the
-- transaction's own number is not its; what is not and still in progress is, or it would not be seen.
CREATE FUNCTION "medallion"."wrote"(row_xmin xid) RETURNS boolean
LANGUAGE sql
BEGIN ATOMIC
    SELECT distance."ahead" < 2147483648
        AND pg_xact_status((own."number" + distance."ahead")::text::xid8) = 'in progress'
    FROM (SELECT pg_current_xact_id()::text::bigint) AS own ("number")
    CROSS JOIN LATERAL (SELECT (row_xmin::text::bigint - own."number") & 4294967295) AS distance ("ahead");
END;

-- Whether a version as young as this transaction is another's.
CREATE FUNCTION "medallion"."is_other"(start timestamptz, row_xmin xid) RETURNS boolean
LANGUAGE sql
BEGIN ATOMIC
    SELECT start > "medallion"."stamp"() OR start = "medallion"."stamp"() AND NOT "medallion"."wrote"(row_xmin);
END;

-- Whether a writer sets what is not his to set: a hash that is neither the row's nor what it was, a time that
-- is neither the transaction's nor what it was, an end.
CREATE FUNCTION "medallion"."is_given"(
    hash bytea,
    hash_before bytea,
    hash_due bytea,
    start timestamptz,
    start_before timestamptz,
    start_due timestamptz,
    "end" timestamptz
)
RETURNS boolean
LANGUAGE sql
IMMUTABLE
BEGIN ATOMIC
    SELECT hash <> hash_due AND (hash = hash_before) IS NOT TRUE
        OR start <> start_due AND (start = start_before) IS NOT TRUE
        OR "end" IS DISTINCT FROM 'infinity';
END;

-- What the rows of a statement have to tell its end: of which keys they met closed versions, and that keys were
-- changed. By the depth of triggers, for triggers run statements of their own meanwhile.
CREATE UNLOGGED TABLE "medallion"."noticed" (
    "transaction" xid8 NOT NULL,
    "relation" oid NOT NULL,
    "depth" integer NOT NULL,
    "what" text NOT NULL,
    "key" text
);

CREATE INDEX "noticed_transaction"
    ON "medallion"."noticed" ("transaction");

-- A statement names a table, and rows stand in its partitions.
CREATE FUNCTION "medallion"."whole"(relation oid) RETURNS regclass
LANGUAGE sql
STABLE
BEGIN ATOMIC
    SELECT coalesce(pg_partition_root(relation::regclass), relation::regclass);
END;

CREATE FUNCTION "medallion"."notice"(relation oid, what text, key text) RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO "medallion"."noticed" ("transaction", "relation", "depth", "what", "key")
    VALUES (pg_current_xact_id(), "medallion"."whole"(relation), pg_trigger_depth(), what, key);
    PERFORM set_config('medallion.noticed', 'on', true);
END
$$;

-- Each notice is taken once.
CREATE FUNCTION "medallion"."met"(relation oid, what text) RETURNS SETOF text
LANGUAGE sql
BEGIN ATOMIC
    DELETE FROM "medallion"."noticed" AS noticed
    WHERE noticed."transaction" = pg_current_xact_id()
    AND noticed."relation" = "medallion"."whole"(met.relation)
    AND noticed."depth" = pg_trigger_depth()
    AND noticed."what" = met.what
    RETURNING noticed."key";
END;

-- The latest time, in microseconds, at which a key ended; no rollback undoes it. A transaction that keeps its
-- snapshot does not see what came and went meanwhile, and must not open a key before it.
CREATE SEQUENCE "medallion"."latest_ending";

CREATE FUNCTION "medallion"."mark_ending"(stamp timestamptz) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    moment CONSTANT bigint := (extract(epoch FROM stamp) * 1000000)::bigint;
BEGIN
    -- What is taken here and rolled back is let go at once, whatever else happens; the sequence stays as it is set.
    PERFORM pg_advisory_xact_lock('"medallion"."latest_ending"'::regclass::oid::bigint);
    PERFORM setval('"medallion"."latest_ending"', moment)
    FROM "medallion"."latest_ending" AS latest
    WHERE latest.last_value < moment;
    RAISE EXCEPTION USING ERRCODE = 'MD001';
EXCEPTION
    WHEN SQLSTATE 'MD001' THEN
        NULL;
END
$$;

CREATE FUNCTION "medallion"."refuse_period"(relation regclass) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    RAISE EXCEPTION 'the hash and the period of a version of `%` are not for a writer to set', "medallion"."whole"(relation)
        USING ERRCODE = 'generated_always',
            HINT = 'leave these columns out: versioning sets them';
END
$$;

CREATE FUNCTION "medallion"."refuse_conflict"(relation regclass) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    RAISE EXCEPTION 'a version of `%` that another transaction wrote is not earlier than this transaction', "medallion"."whole"(relation)
        USING ERRCODE = 'serialization_failure',
            HINT = 'run the transaction again';
END
$$;

CREATE FUNCTION "medallion"."refuse_other"() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM "medallion"."refuse_conflict"(TG_RELID);
    RETURN NULL;
END
$$;

-- A key may have come and gone after a time, unseen by a transaction that keeps its snapshot.
CREATE FUNCTION "medallion"."refuse_unseen"(relation regclass, stamp timestamptz) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
        PERFORM "medallion"."refuse_conflict"(relation)
        FROM "medallion"."latest_ending" AS latest
        WHERE latest.last_value > extract(epoch FROM stamp) * 1000000;
    END IF;
END
$$;

-- Whether a statement changed keys, of which each ends one and opens another.
CREATE FUNCTION "medallion"."shifted"(relation regclass, stamp timestamptz) RETURNS boolean
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM "medallion"."met"(relation, 'KEY');
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM "medallion"."refuse_unseen"(relation, stamp);
    PERFORM "medallion"."mark_ending"(stamp);
    RETURN true;
END
$$;

-- From here on a function that has settings of the planner's goes by indexes, row by row, until its end.
CREATE FUNCTION "medallion"."go_by_index"() RETURNS void
LANGUAGE sql
BEGIN ATOMIC
    SELECT set_config('enable_nestloop', 'on', true), set_config('enable_hashjoin', 'off', true);
END;

CREATE FUNCTION "medallion"."refuse_closed"(relation regclass, key text) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    RAISE EXCEPTION 'of key % in `%` only closed versions were reached, which nobody changes', key, relation
        USING ERRCODE = 'restrict_violation',
            HINT = 'let the statement say that it means current versions: by the end of their period, infinity';
END
$$;

CREATE FUNCTION "medallion"."refuse_truncate"() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    RAISE EXCEPTION '`%.%` keeps its history: TRUNCATE is refused', TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation',
            HINT = 'DELETE ends the current versions and keeps them all';
END
$$;

COMMENT ON FUNCTION "medallion"."backfill"() IS 'Lets this transaction write versions as they are, periods included; for the loader.';
COMMENT ON FUNCTION "medallion"."backfilling"() IS 'Whether versions are written as they are: asked for, and granted.';
COMMENT ON FUNCTION "medallion"."settling"() IS 'Whether versioning itself is writing.';
COMMENT ON FUNCTION "medallion"."stamp"() IS 'The system time of this transaction''s writes.';
COMMENT ON FUNCTION "medallion"."wrote"(xid) IS 'Whether this transaction wrote a row that it sees, by the row''s xmin.';
COMMENT ON FUNCTION "medallion"."is_other"(timestamptz, xid) IS 'Whether a version as young as this transaction is another''s.';
COMMENT ON FUNCTION "medallion"."is_given"(bytea, bytea, bytea, timestamptz, timestamptz, timestamptz, timestamptz) IS 'Whether a writer sets what is not his to set.';
COMMENT ON TABLE "medallion"."noticed" IS 'What the rows of a running statement have to tell its end.';
COMMENT ON FUNCTION "medallion"."whole"(oid) IS 'The table that a statement names, where a row stands in a partition of it.';
COMMENT ON FUNCTION "medallion"."notice"(oid, text, text) IS 'Remembers it.';
COMMENT ON FUNCTION "medallion"."met"(oid, text) IS 'Takes what was remembered.';
COMMENT ON SEQUENCE "medallion"."latest_ending" IS 'The latest system time at which a key ended, in microseconds.';
COMMENT ON FUNCTION "medallion"."mark_ending"(timestamptz) IS 'Remembers that keys ended.';
COMMENT ON FUNCTION "medallion"."refuse_period"(regclass) IS 'Keeps writers from setting hash and period.';
COMMENT ON FUNCTION "medallion"."refuse_conflict"(regclass) IS 'Keeps a key''s time from running backwards.';
COMMENT ON FUNCTION "medallion"."refuse_other"() IS 'Keeps another''s version from being replaced.';
COMMENT ON FUNCTION "medallion"."refuse_unseen"(regclass, timestamptz) IS 'Keeps a key from being opened before it ended.';
COMMENT ON FUNCTION "medallion"."shifted"(regclass, timestamptz) IS 'Whether a statement changed keys.';
COMMENT ON FUNCTION "medallion"."go_by_index"() IS 'Lets what follows in a function be looked up row by row.';
COMMENT ON FUNCTION "medallion"."refuse_closed"(regclass, text) IS 'Keeps a write from being lost on closed versions.';
COMMENT ON FUNCTION "medallion"."refuse_truncate"() IS 'Keeps a versioned dimension from being emptied.';
