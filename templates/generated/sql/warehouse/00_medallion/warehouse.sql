CREATE TABLE "medallion"."warehouse" (
    "name" text NOT NULL,
    "objects_hash" text NOT NULL,
    "migrated_at" timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT "warehouse_pkey" PRIMARY KEY ("name")
);

-- One warehouse a database.
CREATE UNIQUE INDEX "warehouse_only_one"
    ON "medallion"."warehouse" ((true));

COMMENT ON TABLE "medallion"."warehouse" IS 'The warehouse that this database holds.';
COMMENT ON COLUMN "medallion"."warehouse"."name" IS 'Its name, as in its spec.';
COMMENT ON COLUMN "medallion"."warehouse"."objects_hash" IS 'The hash of the objects that the migrations made.';
COMMENT ON COLUMN "medallion"."warehouse"."migrated_at" IS 'When they were last migrated.';
