-- Without a policy all of the past is kept.
CREATE FUNCTION "medallion"."retain"(OUT "pruned_from" text, OUT "pruned_rows" bigint) RETURNS SETOF record
LANGUAGE sql
STABLE
BEGIN ATOMIC
    SELECT NULL::text, NULL::bigint
    WHERE false;
END;

REVOKE ALL ON FUNCTION "medallion"."retain"() FROM PUBLIC;

CREATE FUNCTION "medallion"."fold_apart"(
    "horizon_time" timestamptz,
    "horizon_lsn" bigint,
    OUT "pruned_from" text,
    OUT "pruned_rows" bigint
)
RETURNS SETOF record
LANGUAGE sql
STABLE
BEGIN ATOMIC
    SELECT NULL::text, NULL::bigint
    WHERE false;
END;

REVOKE ALL ON FUNCTION "medallion"."fold_apart"(timestamptz, bigint) FROM PUBLIC;

-- Where what was pruned went: erasure looks there too.
CREATE FUNCTION "medallion"."pruned"() RETURNS TABLE ("pruned_from" regclass, "archive" regclass)
LANGUAGE sql
STABLE
BEGIN ATOMIC
    SELECT NULL::regclass, NULL::regclass
    WHERE false;
END;

REVOKE ALL ON FUNCTION "medallion"."pruned"() FROM PUBLIC;
