-- In its owner's name: whoever asks about the past need not see the bookkeeping. Without a parameter's
-- column among its arguments the planner calls it once a query, before it reads anything.
CREATE FUNCTION "medallion"."since_horizon"("moment" timestamptz) RETURNS boolean
LANGUAGE plpgsql
STABLE
PARALLEL SAFE
SECURITY DEFINER
SET "search_path" = pg_catalog, pg_temp
AS $$
DECLARE
    horizon CONSTANT timestamptz := (SELECT "time" FROM "medallion"."horizon");
BEGIN
    IF moment < horizon THEN
        RAISE EXCEPTION 'the past before `%` is not kept, and `%` was asked about', horizon, moment
            USING ERRCODE = 'invalid_parameter_value',
                HINT = format('ask about `%s` or a later time', horizon);
    END IF;
    RETURN true;
END
$$;

COMMENT ON FUNCTION "medallion"."since_horizon"(timestamptz) IS 'True; an error where the time lies before the past that is kept.';
