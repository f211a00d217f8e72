CREATE FUNCTION "medallion"."refuse_change"() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    RAISE EXCEPTION '`%.%` is append only: % is refused', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation',
            HINT = 'what has landed is never changed; correct it at the source, and the correction lands too';
END
$$;

COMMENT ON FUNCTION "medallion"."refuse_change"() IS 'Keeps a landing table append only.';
