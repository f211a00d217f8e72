-- What the loader does to relations that it does not own. Each runs as the owner, takes the warehouse's own
-- relations only, and is for those to whom it is granted.
CREATE FUNCTION "medallion"."make_partition"(parted regclass, partition name, lower_bound text, upper_bound text) RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF partition !~ '_[0-9]{4}[0-9_wq]*$' OR NOT EXISTS (
        SELECT
        FROM pg_class AS relation
        WHERE relation.oid = parted
        AND relation.relkind = 'p'
        AND relation.relnamespace = {{ silver }}::regnamespace
        -- A long name has its middle left out.
        AND starts_with(partition, left(relation.relname, 6))
    ) THEN
        RAISE EXCEPTION '`%` is no partition of this warehouse', partition
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    BEGIN
        EXECUTE format(
            'CREATE TABLE IF NOT EXISTS %I.%I PARTITION OF %s FOR VALUES FROM (%L) TO (%L)',
            {{ silver_literal }},
            partition,
            parted,
            lower_bound,
            upper_bound
        );
    EXCEPTION
        -- Rows of it stand in the default partition already, or in partitions of another width, and what comes joins
        -- them there.
        WHEN check_violation OR invalid_object_definition THEN
            RETURN;
    END;
    -- What keeps history from being emptied is not handed down to partitions.
    IF EXISTS (SELECT FROM pg_trigger WHERE tgrelid = parted AND tgname = 'keep_history_truncate') THEN
        EXECUTE format(
            'CREATE OR REPLACE TRIGGER "keep_history_truncate" BEFORE TRUNCATE ON %I.%I '
            'FOR EACH STATEMENT EXECUTE FUNCTION "medallion"."keep_history"()',
            {{ silver_literal }},
            partition
        );
        EXECUTE format(
            'ALTER TABLE %I.%I ENABLE ALWAYS TRIGGER "keep_history_truncate"',
            {{ silver_literal }},
            partition
        );
    END IF;
END
$$;

CREATE FUNCTION "medallion"."analyze"(relation regclass) RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (
        SELECT
        FROM pg_class AS known
        WHERE known.oid = relation
        AND known.relnamespace IN ({{ analyzed }})
    ) THEN
        RAISE EXCEPTION '`%` is no relation of this warehouse', relation
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- Who has it is at the same, or builds an index on it, and would wait for this transaction.
    EXECUTE format('ANALYZE (SKIP_LOCKED) %s', relation);
END
$$;

CREATE FUNCTION "medallion"."refresh"(mart regclass) RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (
        SELECT
        FROM pg_class AS known
        WHERE known.oid = mart
        AND known.relkind = 'm'
        AND known.relnamespace = {{ gold }}::regnamespace
    ) THEN
        RAISE EXCEPTION '`%` is no materialized view of this warehouse', mart
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    EXECUTE format('REFRESH MATERIALIZED VIEW CONCURRENTLY %s', mart);
END
$$;

REVOKE ALL ON FUNCTION
    "medallion"."make_partition"(regclass, name, text, text),
    "medallion"."analyze"(regclass),
    "medallion"."refresh"(regclass)
FROM PUBLIC;

-- What has ended is history: only who may write versions as they are repairs it.
CREATE FUNCTION "medallion"."keep_history"() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    RAISE EXCEPTION '`%.%` keeps what has ended as it was: % is refused', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation',
            HINT = 'correct it at the source, and the correction becomes a version of its own';
END
$$;

COMMENT ON FUNCTION "medallion"."make_partition"(regclass, name, text, text) IS 'Makes a partition of a fact or of closed versions; for the loader.';
COMMENT ON FUNCTION "medallion"."analyze"(regclass) IS 'Takes the statistics of a relation of the warehouse; for the loader.';
COMMENT ON FUNCTION "medallion"."refresh"(regclass) IS 'Refreshes a mart that is a materialized view; for the loader.';
COMMENT ON FUNCTION "medallion"."keep_history"() IS 'Keeps closed versions and earlier states from being changed.';
