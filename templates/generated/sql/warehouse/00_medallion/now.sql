-- In its owner's name: whoever reads a view that asks for the time need not see the bookkeeping.
CREATE FUNCTION "medallion"."now"() RETURNS timestamptz
LANGUAGE sql
STABLE
PARALLEL RESTRICTED
SECURITY DEFINER
SET "search_path" = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT CASE
        WHEN travel."time" < '294276-12-31 23:59:59.999999+00'::timestamptz THEN travel."time"
        ELSE (SELECT max("system_time") FROM "medallion"."watermark")
    END
    FROM (SELECT "medallion"."as_of_time"()) AS travel ("time");
END;

COMMENT ON FUNCTION "medallion"."now"() IS 'The clock of definitions: the as-of time where one is set, else the system time last applied; never the server''s.';
