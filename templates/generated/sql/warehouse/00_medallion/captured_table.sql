CREATE TABLE "medallion"."captured_table" (
    "landing" text NOT NULL,
    "source_table" bigint NOT NULL,
    "membership" text NOT NULL,
    "lsn" bigint NOT NULL,
    "fence" text,
    "fence_until" bigint,
    "leaves" jsonb NOT NULL DEFAULT '{}',
    "watermark" timestamptz,
    "compared_at" timestamptz,
    "updated_at" timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT "captured_table_pkey" PRIMARY KEY ("landing")
);

COMMENT ON TABLE "medallion"."captured_table" IS 'Which table of the source each landing table is fed from: one made anew under its name, or published anew, is another.';
COMMENT ON COLUMN "medallion"."captured_table"."landing" IS 'The landing table: schema and table, with a dot between them, unquoted.';
COMMENT ON COLUMN "medallion"."captured_table"."source_table" IS 'The OID of the table at the source.';
COMMENT ON COLUMN "medallion"."captured_table"."membership" IS 'By which rows of the source''s catalog it is published, and which transactions wrote them.';
COMMENT ON COLUMN "medallion"."captured_table"."lsn" IS 'The position in bronze at which its snapshot landed.';
COMMENT ON COLUMN "medallion"."captured_table"."fence" IS 'That snapshot, where it is the table''s own: transactions visible in it are not landed again.';
COMMENT ON COLUMN "medallion"."captured_table"."fence_until" IS 'The position at the source from which on the fence is needed no more.';
COMMENT ON COLUMN "medallion"."captured_table"."leaves" IS 'The partitions that held its rows when it was last looked at, with what tells whether each is still as it was.';
COMMENT ON COLUMN "medallion"."captured_table"."watermark" IS 'Where the source is polled: the latest time of change of a row that landed.';
COMMENT ON COLUMN "medallion"."captured_table"."compared_at" IS 'Where the source is polled: when its keys were last compared.';
COMMENT ON COLUMN "medallion"."captured_table"."updated_at" IS 'When the row was last changed.';
