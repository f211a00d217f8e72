CREATE TABLE "medallion"."source_position" (
    "slot" text NOT NULL,
    "state" text NOT NULL,
    "system_identifier" text NOT NULL,
    "database" text NOT NULL,
    "timeline" integer NOT NULL DEFAULT 1,
    "landed_to" bigint,
    "lsn_offset" bigint NOT NULL DEFAULT 0,
    "epoch_lsn" bigint NOT NULL DEFAULT 0,
    "last_lsn" bigint NOT NULL DEFAULT 0,
    "last_commit_ts" timestamptz,
    "fence" text,
    "fence_until" bigint,
    "recorded_position" bigint,
    "held" jsonb NOT NULL DEFAULT '[]',
    "former" jsonb NOT NULL DEFAULT '[]',
    "failover" boolean NOT NULL DEFAULT false,
    "updated_at" timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT "source_position_pkey" PRIMARY KEY ("slot"),
    CONSTRAINT "source_position_state_check" CHECK ("state" IN ('creating', 'streaming', 'resnapshotting'))
);

COMMENT ON TABLE "medallion"."source_position" IS 'How far the source has been captured, a row a replication slot.';
COMMENT ON COLUMN "medallion"."source_position"."slot" IS 'The replication slot on the source.';
COMMENT ON COLUMN "medallion"."source_position"."state" IS 'creating until the snapshot has landed, then streaming; resnapshotting until a later snapshot has landed.';
COMMENT ON COLUMN "medallion"."source_position"."system_identifier" IS 'The source server that the slot is on: another one of the same name is refused.';
COMMENT ON COLUMN "medallion"."source_position"."database" IS 'The database there.';
COMMENT ON COLUMN "medallion"."source_position"."timeline" IS 'The timeline of that server: one that was restored or has taken over has another.';
COMMENT ON COLUMN "medallion"."source_position"."landed_to" IS 'The end position on the source up to which all has landed; null where another source is about to be followed.';
COMMENT ON COLUMN "medallion"."source_position"."lsn_offset" IS 'What is added to positions of the source, so that they lie above those that landed before from elsewhere.';
COMMENT ON COLUMN "medallion"."source_position"."epoch_lsn" IS 'The position in bronze from which on this offset holds.';
COMMENT ON COLUMN "medallion"."source_position"."last_lsn" IS 'The highest position that landed, as it is in bronze.';
COMMENT ON COLUMN "medallion"."source_position"."last_commit_ts" IS 'The highest system time that landed.';
COMMENT ON COLUMN "medallion"."source_position"."fence" IS 'The snapshot: transactions visible in it are not landed again.';
COMMENT ON COLUMN "medallion"."source_position"."fence_until" IS 'The position from which on the fence is needed no more.';
COMMENT ON COLUMN "medallion"."source_position"."recorded_position" IS 'How far the recorded log has landed.';
COMMENT ON COLUMN "medallion"."source_position"."held" IS 'Where the log is held back: positions that had landed, each with the time at which it had.';
COMMENT ON COLUMN "medallion"."source_position"."former" IS 'Other sources that were followed before, each with how far: a slot that still stands there as it was left is this warehouse''s own.';
COMMENT ON COLUMN "medallion"."source_position"."failover" IS 'Whether the slot, made anew, is one that standbys of the source keep too: as the one before was.';
COMMENT ON COLUMN "medallion"."source_position"."updated_at" IS 'When the row was last changed.';
