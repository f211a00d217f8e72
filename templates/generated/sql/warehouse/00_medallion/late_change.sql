CREATE TABLE "medallion"."late_change" (
    "relation" text NOT NULL,
    "lsn" bigint NOT NULL,
    "seq" bigint NOT NULL,
    CONSTRAINT "late_change_pkey" PRIMARY KEY ("relation", "lsn", "seq")
);

-- Whether a row comes late is for the next apply to tell: it sees which have been passed by. So whoever lands
-- rows waits for no apply, and none waits for them.
CREATE FUNCTION "medallion"."note_late"() RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO "medallion"."late_change" ("relation", "lsn", "seq")
    VALUES (TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME, NEW."lsn", NEW."seq")
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;

-- What runs as the owner would do so on anybody's table, made into a trigger there.
REVOKE ALL ON FUNCTION "medallion"."note_late"() FROM PUBLIC;

COMMENT ON TABLE "medallion"."late_change" IS 'Changes that others than the loader landed: where one came late, the next apply repairs its key.';
COMMENT ON COLUMN "medallion"."late_change"."relation" IS 'The landing table: schema and table, with a dot between them, unquoted.';
COMMENT ON COLUMN "medallion"."late_change"."lsn" IS 'The change''s position.';
COMMENT ON COLUMN "medallion"."late_change"."seq" IS 'Its ordinal within its transaction.';
COMMENT ON FUNCTION "medallion"."note_late"() IS 'Notes a change that the loader has not landed itself.';
