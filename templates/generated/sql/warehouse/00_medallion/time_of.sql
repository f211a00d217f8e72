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
    -- Of several slots the one that was moved last: what is written as a position is one of its source.
    epoch CONSTANT bigint := (SELECT "lsn_offset" FROM "medallion"."source_position" ORDER BY "updated_at" DESC LIMIT 1);
    landed CONSTANT bigint := (SELECT max("landed_to" + "lsn_offset") FROM "medallion"."source_position");
    horizon "medallion"."horizon";
BEGIN
    IF $1 > landed THEN
        RAISE EXCEPTION 'the position `%` has not landed yet', '0/0'::pg_lsn + ($1 - epoch)
            USING ERRCODE = 'invalid_parameter_value',
                DETAIL = format('Changes have landed up to `%s`.', '0/0'::pg_lsn + (landed - epoch)),
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

-- Positions of a source that was followed earlier mean nothing at the one that is followed now.
CREATE FUNCTION "medallion"."time_of"("position" pg_lsn) RETURNS timestamptz
LANGUAGE plpgsql
STABLE
STRICT
PARALLEL SAFE
SECURITY DEFINER
SET "search_path" = pg_catalog, pg_temp
AS $$
DECLARE
    source "medallion"."source_position";
    -- A position has 64 bits of its own, and bronze a number with a sign.
    landed numeric := $1 - '0/0'::pg_lsn;
BEGIN
    SELECT * INTO source FROM "medallion"."source_position" ORDER BY "updated_at" DESC LIMIT 1;
    landed := landed + coalesce(source."lsn_offset", 0);
    IF landed < source."epoch_lsn" THEN
        RAISE EXCEPTION 'the position `%` lies before the source was followed from where it is now', $1
            USING ERRCODE = 'invalid_parameter_value',
                HINT = 'ask about a position as bronze has it in lsn, which is a number';
    END IF;
    IF landed > 9223372036854775807 THEN
        RAISE EXCEPTION 'the position `%` has not landed yet', $1
            USING ERRCODE = 'invalid_parameter_value',
                HINT = 'run the warehouse, then ask again';
    END IF;
    RETURN "medallion"."time_of"(landed::bigint);
END
$$;

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
