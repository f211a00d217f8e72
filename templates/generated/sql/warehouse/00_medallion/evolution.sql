-- What a migration has left for the next run to compute anew.
CREATE TABLE "medallion"."recompute" (
    "relation" text NOT NULL,
    CONSTRAINT "recompute_pkey" PRIMARY KEY ("relation")
);

-- A column that came later and did not take its past along: up to there it is NULL, whatever bronze says.
CREATE TABLE "medallion"."column_since" (
    "relation" text NOT NULL,
    "column" text NOT NULL,
    "lsn" bigint NOT NULL,
    CONSTRAINT "column_since_pkey" PRIMARY KEY ("relation", "column")
);

COMMENT ON TABLE "medallion"."recompute" IS 'Relations whose rows follow from other things than before a migration: the next run computes them anew.';
COMMENT ON COLUMN "medallion"."recompute"."relation" IS 'Schema and table, with a dot between them, unquoted.';
COMMENT ON TABLE "medallion"."column_since" IS 'Columns that a migration added without their past.';
COMMENT ON COLUMN "medallion"."column_since"."relation" IS 'Schema and table, with a dot between them, unquoted.';
COMMENT ON COLUMN "medallion"."column_since"."column" IS 'The column.';
COMMENT ON COLUMN "medallion"."column_since"."lsn" IS 'The position of the last change that does without it.';
