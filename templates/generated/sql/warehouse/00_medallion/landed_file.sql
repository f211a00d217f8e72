CREATE TABLE "medallion"."landed_file" (
    "landing" text NOT NULL,
    "path" text NOT NULL,
    "version" integer NOT NULL,
    "state" text NOT NULL,
    "size" bigint NOT NULL,
    "modified" timestamptz NOT NULL,
    "etag" text,
    "content" bytea NOT NULL,
    "position" bigint NOT NULL DEFAULT 0,
    "lines" bigint NOT NULL DEFAULT 0,
    "rows" bigint NOT NULL DEFAULT 0,
    "known" bigint NOT NULL DEFAULT 0,
    "quarantined" bigint NOT NULL DEFAULT 0,
    "batch_id" text,
    "first_lsn" bigint,
    "last_lsn" bigint,
    "began_at" timestamptz NOT NULL DEFAULT now(),
    "updated_at" timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT "landed_file_pkey" PRIMARY KEY ("landing", "path", "version"),
    CONSTRAINT "landed_file_state_check" CHECK ("state" IN ('landing', 'landed', 'copy', 'replaced'))
);

CREATE INDEX "landed_file_content_idx" ON "medallion"."landed_file" ("landing", "content");
{%- if has_batches %}

-- What is told of a change's batch is found by where it landed.
CREATE INDEX "landed_file_lsn_idx" ON "medallion"."landed_file" ("landing", "first_lsn");
{%- endif %}

COMMENT ON TABLE "medallion"."landed_file" IS 'The files that have landed, a row a version of one: each lands once.';
COMMENT ON COLUMN "medallion"."landed_file"."landing" IS 'The landing table: schema and table, with a dot between them, unquoted.';
COMMENT ON COLUMN "medallion"."landed_file"."path" IS 'The file, below the place where files are.';
COMMENT ON COLUMN "medallion"."landed_file"."version" IS 'Which version of it, counted from 1; of a file that grows there is one.';
COMMENT ON COLUMN "medallion"."landed_file"."state" IS 'landing until all of it has landed, then landed; copy where another file had the same content; replaced where it became another before all of it had landed.';
COMMENT ON COLUMN "medallion"."landed_file"."size" IS 'How many bytes it had.';
COMMENT ON COLUMN "medallion"."landed_file"."modified" IS 'When it was last written.';
COMMENT ON COLUMN "medallion"."landed_file"."etag" IS 'What its storage calls this version, where it does.';
COMMENT ON COLUMN "medallion"."landed_file"."content" IS 'The SHA-256 of its content, with the fields that its path tells; of a file that grows, up to the position.';
COMMENT ON COLUMN "medallion"."landed_file"."position" IS 'How many bytes of it have landed.';
COMMENT ON COLUMN "medallion"."landed_file"."lines" IS 'How many of its lines, or of its rows where it has none, have landed or are in quarantine.';
COMMENT ON COLUMN "medallion"."landed_file"."rows" IS 'How many rows landed.';
COMMENT ON COLUMN "medallion"."landed_file"."known" IS 'How many rows were known already.';
COMMENT ON COLUMN "medallion"."landed_file"."quarantined" IS 'How many lines are in quarantine.';
COMMENT ON COLUMN "medallion"."landed_file"."batch_id" IS 'The batch that it says it is.';
COMMENT ON COLUMN "medallion"."landed_file"."first_lsn" IS 'The position in bronze where its rows begin; seq is the line.';
COMMENT ON COLUMN "medallion"."landed_file"."last_lsn" IS 'The position in bronze where they end.';
COMMENT ON COLUMN "medallion"."landed_file"."began_at" IS 'When the first of it landed.';
COMMENT ON COLUMN "medallion"."landed_file"."updated_at" IS 'When the last of it landed.';
