CREATE TABLE "medallion"."watermark" (
    "relation" text NOT NULL,
    "lsn" bigint NOT NULL,
    "system_time" timestamptz NOT NULL,
    "streamed_lsn" bigint NOT NULL DEFAULT -1,
    "streamed_time" timestamptz NOT NULL DEFAULT '-infinity',
    "journal_id" bigint NOT NULL DEFAULT 0,
    "journal_time" timestamptz NOT NULL DEFAULT '-infinity',
    "updated_at" timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT "watermark_pkey" PRIMARY KEY ("relation")
);

COMMENT ON TABLE "medallion"."watermark" IS 'How far each silver relation has been applied.';
COMMENT ON COLUMN "medallion"."watermark"."relation" IS 'Schema and table, with a dot between them, unquoted.';
COMMENT ON COLUMN "medallion"."watermark"."lsn" IS 'The position of the last transaction that was applied.';
COMMENT ON COLUMN "medallion"."watermark"."system_time" IS 'Its system time.';
COMMENT ON COLUMN "medallion"."watermark"."streamed_lsn" IS 'How far the stream had come by then: others may have landed later positions.';
COMMENT ON COLUMN "medallion"."watermark"."streamed_time" IS 'The system time of that position.';
COMMENT ON COLUMN "medallion"."watermark"."journal_id" IS 'The last entry of the relation''s journal that was counted.';
COMMENT ON COLUMN "medallion"."watermark"."journal_time" IS 'No entry that was counted by then, of any journal, is later.';
COMMENT ON COLUMN "medallion"."watermark"."updated_at" IS 'When the row was last changed.';
