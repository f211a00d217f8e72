-- Opens the way past append only, for this transaction: for retention and erasure, which are the owner's.
CREATE FUNCTION "medallion"."prune"() RETURNS void
LANGUAGE sql
BEGIN ATOMIC
    SELECT set_config('medallion.prune', 'on', true);
END;

REVOKE ALL ON FUNCTION "medallion"."prune"() FROM PUBLIC;

-- Anybody can set a setting: it says what is wanted, the privilege says whether it is granted.
CREATE FUNCTION "medallion"."pruning"() RETURNS boolean
LANGUAGE sql
STABLE
BEGIN ATOMIC
    SELECT coalesce(current_setting('medallion.prune', true), '') = 'on'
        AND has_function_privilege('"medallion"."prune"()'::regprocedure, 'EXECUTE');
END;

CREATE FUNCTION "medallion"."refuse_change"() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_OP = 'DELETE' AND "medallion"."pruning"() THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION '`%.%` is append only: % is refused', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation',
            HINT = 'what has landed is never changed; correct it at the source, and the correction lands too';
END
$$;

COMMENT ON FUNCTION "medallion"."prune"() IS 'Lets this transaction take rows out of landing tables; for retention and erasure.';
COMMENT ON FUNCTION "medallion"."pruning"() IS 'Whether rows are taken out of landing tables: asked for, and granted.';
COMMENT ON FUNCTION "medallion"."refuse_change"() IS 'Keeps a landing table append only.';
