-- In its owner's name: whoever asks about the past need not see bronze.
CREATE FUNCTION "medallion"."time_of"("position" bigint) RETURNS timestamptz
LANGUAGE plpgsql
STABLE
STRICT
PARALLEL SAFE
SECURITY DEFINER
SET "search_path" = pg_catalog, pg_temp
AS $$
DECLARE
    landed CONSTANT bigint := (SELECT max("landed_to") FROM "medallion"."source_position");
    horizon "medallion"."horizon";
BEGIN
    IF $1 > landed THEN
        RAISE EXCEPTION 'the position `%` has not landed yet', '0/0'::pg_lsn + $1
            USING ERRCODE = 'invalid_parameter_value',
                DETAIL = format('Changes have landed up to `%s`.', '0/0'::pg_lsn + landed),
                HINT = 'run the warehouse, then ask again';
    END IF;
    SELECT * INTO horizon FROM "medallion"."horizon";
    IF $1 < horizon."lsn" THEN
        RAISE EXCEPTION 'the past before `%` is not kept, and the position `%` lies there', horizon."time", '0/0'::pg_lsn + $1
            USING ERRCODE = 'invalid_parameter_value',
                HINT = format('ask about `%s` or a later position', '0/0'::pg_lsn + horizon."lsn");
    END IF;
    RETURN (
        SELECT GREATEST(max("last"."commit_ts"), horizon."time")
        FROM (
            SELECT '-infinity'::timestamptz AS "commit_ts"
{%- for last in last %}
            UNION ALL
            {{ last }}
{%- endfor %}
        ) AS "last"
    );
END
$$;

CREATE FUNCTION "medallion"."time_of"("position" pg_lsn) RETURNS timestamptz
LANGUAGE sql
STABLE
PARALLEL SAFE
BEGIN ATOMIC
    SELECT "medallion"."time_of"(($1 - '0/0'::pg_lsn)::bigint);
END;

-- For a literal, which could be either of the others.
CREATE FUNCTION "medallion"."time_of"("position" text) RETURNS timestamptz
LANGUAGE sql
STABLE
PARALLEL SAFE
BEGIN ATOMIC
    SELECT "medallion"."time_of"($1::pg_lsn);
END;

COMMENT ON FUNCTION "medallion"."time_of"(bigint) IS 'The system time of the last source transaction that committed at or before a position, as bronze has it in lsn; -infinity before the first.';
COMMENT ON FUNCTION "medallion"."time_of"(pg_lsn) IS 'The system time of the last source transaction that committed at or before a position.';
COMMENT ON FUNCTION "medallion"."time_of"(text) IS 'The system time of the last source transaction that committed at or before a position, written as 0/16B3748.';
