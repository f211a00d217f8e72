CREATE TABLE "medallion"."quarantine" (
    "landing" text NOT NULL,
    "lsn" bigint NOT NULL,
    "seq" bigint NOT NULL,
    "op" char(1) NOT NULL,
    "commit_ts" timestamptz NOT NULL,
    "key" jsonb NOT NULL,
    "full_row" text NOT NULL,
    "problem" text NOT NULL,
    "load_ts" timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT "quarantine_pkey" PRIMARY KEY ("landing", "lsn", "seq")
);

COMMENT ON TABLE "medallion"."quarantine" IS 'Changes that did not land, because jsonb cannot hold them.';
COMMENT ON COLUMN "medallion"."quarantine"."landing" IS 'The landing table that they belong to.';
COMMENT ON COLUMN "medallion"."quarantine"."lsn" IS 'The commit position of the source transaction.';
COMMENT ON COLUMN "medallion"."quarantine"."seq" IS 'The ordinal of the change within its transaction.';
COMMENT ON COLUMN "medallion"."quarantine"."op" IS 'I, U or D: an insert, update or delete.';
COMMENT ON COLUMN "medallion"."quarantine"."commit_ts" IS 'The system time of the source transaction.';
COMMENT ON COLUMN "medallion"."quarantine"."key" IS 'The key of the row.';
COMMENT ON COLUMN "medallion"."quarantine"."full_row" IS 'What is known of the row, as text.';
COMMENT ON COLUMN "medallion"."quarantine"."problem" IS 'Why it did not land.';
COMMENT ON COLUMN "medallion"."quarantine"."load_ts" IS 'When it was kept.';
