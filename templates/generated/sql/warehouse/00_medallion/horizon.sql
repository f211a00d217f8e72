CREATE TABLE "medallion"."horizon" (
    "id" boolean NOT NULL DEFAULT true,
    "time" timestamptz NOT NULL,
    "lsn" bigint NOT NULL,
    CONSTRAINT "horizon_pkey" PRIMARY KEY ("id"),
    CONSTRAINT "horizon_one_row" CHECK ("id")
);

COMMENT ON TABLE "medallion"."horizon" IS 'From when on the past is kept; no row while all of it is.';
COMMENT ON COLUMN "medallion"."horizon"."id" IS 'True: there is one horizon.';
COMMENT ON COLUMN "medallion"."horizon"."time" IS 'The system time whose state, and every later one, is still known.';
COMMENT ON COLUMN "medallion"."horizon"."lsn" IS 'The highest position that was folded: what landed at or below it is one base row a key.';
