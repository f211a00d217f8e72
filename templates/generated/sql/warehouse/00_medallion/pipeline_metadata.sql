CREATE TABLE "medallion"."pipeline_metadata" (
    "id" bigint GENERATED ALWAYS AS IDENTITY,
    "pipeline_name" text NOT NULL,
    "run_id" uuid NOT NULL,
    "start_time" timestamptz NOT NULL,
    "end_time" timestamptz,
    "status" text NOT NULL,
    "performance_metrics" jsonb NOT NULL DEFAULT '{}',
    "created_at" timestamptz NOT NULL DEFAULT now(),
    "updated_at" timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT "pipeline_metadata_pkey" PRIMARY KEY ("id"),
    CONSTRAINT "pipeline_metadata_status_check" CHECK ("status" IN ('running', 'succeeded', 'failed'))
);

CREATE INDEX "pipeline_metadata_run_id_idx"
    ON "medallion"."pipeline_metadata" ("run_id");

COMMENT ON TABLE "medallion"."pipeline_metadata" IS 'One row a run of the pipeline.';
COMMENT ON COLUMN "medallion"."pipeline_metadata"."id" IS 'Rises from run to run.';
COMMENT ON COLUMN "medallion"."pipeline_metadata"."pipeline_name" IS 'What ran.';
COMMENT ON COLUMN "medallion"."pipeline_metadata"."run_id" IS 'What all rows of one run have in common.';
COMMENT ON COLUMN "medallion"."pipeline_metadata"."start_time" IS 'When it began.';
COMMENT ON COLUMN "medallion"."pipeline_metadata"."end_time" IS 'When it ended; null while it runs, or where it was killed.';
COMMENT ON COLUMN "medallion"."pipeline_metadata"."status" IS 'How it stands: running, succeeded or failed.';
COMMENT ON COLUMN "medallion"."pipeline_metadata"."performance_metrics" IS 'What it did, in figures.';
COMMENT ON COLUMN "medallion"."pipeline_metadata"."created_at" IS 'When the row was written.';
COMMENT ON COLUMN "medallion"."pipeline_metadata"."updated_at" IS 'When the row was last changed.';
