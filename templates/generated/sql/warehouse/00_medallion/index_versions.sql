-- Makes the index that finds the last version of a key in bronze. The loader asks for it when a source first
-- leaves out what such a version has, and owns no landing table: so it runs as the owner.
CREATE FUNCTION "medallion"."index_versions"(landing regclass, index name, key text[]) RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    hash text := '0';
    key_column text;
BEGIN
    IF NOT EXISTS (
        SELECT
        FROM pg_class AS relation
        JOIN pg_attribute AS attribute ON attribute.attrelid = relation.oid
        WHERE relation.oid = landing
        AND relation.relkind = 'r'
        AND relation.relowner = CURRENT_USER::regrole
        AND attribute.attname = 'full_row'
        AND starts_with(index, left(relation.relname, 40))
    ) THEN
        RAISE EXCEPTION '`%` is no landing table of this warehouse', landing
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    FOREACH key_column IN ARRAY key LOOP
        hash := format('hashtextextended("full_row" ->> %L, %s)', key_column, hash);
    END LOOP;
    EXECUTE format('CREATE INDEX IF NOT EXISTS %I ON %s ((%s), "commit_ts", "lsn", "seq")', index, landing, hash);
END
$$;

REVOKE ALL ON FUNCTION "medallion"."index_versions"(regclass, name, text[]) FROM PUBLIC;

COMMENT ON FUNCTION "medallion"."index_versions"(regclass, name, text[]) IS 'Indexes the versions of a landing table by key; for the loader.';
