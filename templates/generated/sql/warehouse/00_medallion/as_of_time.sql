-- Without an error handler, which would need a subtransaction: no part of a query in parallel can have one.
CREATE FUNCTION "medallion"."as_of_time"() RETURNS timestamptz
LANGUAGE plpgsql
STABLE
PARALLEL RESTRICTED
-- A time without a zone is in the warehouse's, whatever the session's.
SET "timezone" = {{ time_zone }}
AS $$
DECLARE
    -- The last finite time: whatever is current lasts beyond it.
    present CONSTANT timestamptz := timestamptz '294276-12-31 23:59:59.999999+00';
    setting CONSTANT text := nullif(current_setting('medallion.as_of', true), '');
    moment timestamptz;
BEGIN
    IF setting IS NULL THEN
        RETURN present;
    END IF;
    IF setting !~* '[0-9]|^\s*(-?infinity|epoch|now|today|tomorrow|yesterday)\s*$' THEN
        RAISE EXCEPTION 'the setting `medallion.as_of` is not a time: `%`', setting
            USING ERRCODE = 'invalid_datetime_format',
                HINT = 'write it as ''2024-07-01'' or ''2024-07-01 12:00:00+00''; unset it to ask about now';
    END IF;
    moment := LEAST(setting::timestamptz, present);
    PERFORM "medallion"."since_horizon"(moment);
    RETURN moment;
END
$$;

COMMENT ON FUNCTION "medallion"."as_of_time"() IS 'The time that the views of schema as_of answer for: the setting medallion.as_of, or the last finite time, which means now.';
