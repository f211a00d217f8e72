CREATE TABLE {{ table }} (
    "lsn" bigint NOT NULL,
    "op" char(1) NOT NULL,
    "full_row" jsonb,
    -- The time of its batch: a volatile default would have COPY insert row by row.
    "load_ts" timestamptz NOT NULL DEFAULT now(),
    "commit_ts" timestamptz NOT NULL,
    "seq" bigint NOT NULL,
    CONSTRAINT {{ primary_key }} PRIMARY KEY ("lsn", "seq"),
    CONSTRAINT {{ operations }} CHECK ("op" IN ('I', 'U', 'D', 'T')),
    CONSTRAINT {{ row_unless_truncate }} CHECK (("op" = 'T') = ("full_row" IS NULL))
);

CREATE TRIGGER "refuse_change"
    BEFORE UPDATE OR DELETE OR TRUNCATE ON {{ table }}
    FOR EACH STATEMENT
    EXECUTE FUNCTION "medallion"."refuse_change"();

-- The loader says of its own what comes late.
CREATE TRIGGER "note_late"
    AFTER INSERT ON {{ table }}
    FOR EACH ROW
    WHEN (current_setting('medallion.landing', true) IS DISTINCT FROM 'on')
    EXECUTE FUNCTION "medallion"."note_late"();

-- What lands stays, and is noted, also where session_replication_role silences ordinary triggers.
ALTER TABLE {{ table }}
    ENABLE ALWAYS TRIGGER "refuse_change",
    ENABLE ALWAYS TRIGGER "note_late";
