CREATE TABLE "medallion"."erasure" (
    "erasure_id" bigint GENERATED ALWAYS AS IDENTITY,
    "erased_at" timestamptz NOT NULL DEFAULT clock_timestamp(),
    "erased_by" text NOT NULL DEFAULT session_user,
    "relation" text NOT NULL,
    "salt" text NOT NULL,
    "key_hash" text NOT NULL,
    "landing" text NOT NULL,
    "landed_hashes" text[] NOT NULL,
    "gone" jsonb NOT NULL,
    CONSTRAINT "erasure_pkey" PRIMARY KEY ("erasure_id")
);

COMMENT ON TABLE "medallion"."erasure" IS 'One row a subject that was erased: that it was, and not who it was.';
COMMENT ON COLUMN "medallion"."erasure"."erasure_id" IS 'Rises from one to the next.';
COMMENT ON COLUMN "medallion"."erasure"."erased_at" IS 'When.';
COMMENT ON COLUMN "medallion"."erasure"."erased_by" IS 'By whom.';
COMMENT ON COLUMN "medallion"."erasure"."relation" IS 'Of which relation: schema and table, with a dot between them, unquoted.';
COMMENT ON COLUMN "medallion"."erasure"."salt" IS 'What the key was hashed with: random, another each time.';
COMMENT ON COLUMN "medallion"."erasure"."key_hash" IS 'The SHA-256 of the salt and the key''s values as a JSON array: who knows the key can tell.';
COMMENT ON COLUMN "medallion"."erasure"."landing" IS 'Its landing table, likewise.';
COMMENT ON COLUMN "medallion"."erasure"."landed_hashes" IS 'The same of the keys by which its rows had landed: what comes later of them may lack what was erased.';
COMMENT ON COLUMN "medallion"."erasure"."gone" IS 'How many rows went, or lost what they had copied, by table.';
