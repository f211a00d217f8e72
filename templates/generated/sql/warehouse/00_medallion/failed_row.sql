CREATE TABLE "medallion"."failed_row" (
    "failed_row_id" bigint GENERATED ALWAYS AS IDENTITY,
    "run" bigint NOT NULL,
    "test" text NOT NULL,
    "relation" text NOT NULL,
    "status" text NOT NULL,
    "failures" bigint NOT NULL,
    "message" text,
    "full_row" jsonb,
    "found_at" timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT "failed_row_pkey" PRIMARY KEY ("failed_row_id")
);

COMMENT ON TABLE "medallion"."failed_row" IS 'What tests of the data found wrong the last time that they did.';
COMMENT ON COLUMN "medallion"."failed_row"."failed_row_id" IS 'Rises from one to the next.';
COMMENT ON COLUMN "medallion"."failed_row"."run" IS 'The run: an id of `pipeline_metadata`.';
COMMENT ON COLUMN "medallion"."failed_row"."test" IS 'The test.';
COMMENT ON COLUMN "medallion"."failed_row"."relation" IS 'The relation that it is about: schema and table, with a dot between them, unquoted.';
COMMENT ON COLUMN "medallion"."failed_row"."status" IS 'warned, or failed: then nothing was published.';
COMMENT ON COLUMN "medallion"."failed_row"."failures" IS 'How much was wrong in all.';
COMMENT ON COLUMN "medallion"."failed_row"."message" IS 'In words.';
COMMENT ON COLUMN "medallion"."failed_row"."full_row" IS 'A row that was wrong, as the run would have published it; a hundred of a test at most.';
COMMENT ON COLUMN "medallion"."failed_row"."found_at" IS 'When.';
