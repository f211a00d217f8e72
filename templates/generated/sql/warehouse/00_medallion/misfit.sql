CREATE TABLE "medallion"."misfit" (
    "relation" text NOT NULL,
    "landing" text NOT NULL,
    "lsn" bigint NOT NULL,
    "seq" bigint NOT NULL,
    "column" text NOT NULL,
    "problem" text NOT NULL,
    "found_at" timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT "misfit_pkey" PRIMARY KEY ("relation", "lsn", "seq")
);

COMMENT ON TABLE "medallion"."misfit" IS 'Changes of which a column cannot be computed: they are as if they had not landed, until a migration changes what is computed.';
COMMENT ON COLUMN "medallion"."misfit"."relation" IS 'The silver relation that leaves the change out: schema and table, with a dot between them, unquoted.';
COMMENT ON COLUMN "medallion"."misfit"."landing" IS 'The landing table, in the same way.';
COMMENT ON COLUMN "medallion"."misfit"."lsn" IS 'The change''s position.';
COMMENT ON COLUMN "medallion"."misfit"."seq" IS 'Its ordinal within its transaction.';
COMMENT ON COLUMN "medallion"."misfit"."column" IS 'The first column that has no value.';
COMMENT ON COLUMN "medallion"."misfit"."problem" IS 'Why it has none.';
COMMENT ON COLUMN "medallion"."misfit"."found_at" IS 'When it was found.';
