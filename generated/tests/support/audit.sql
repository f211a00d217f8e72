-- The source's own account of its changes, in commit order: what bronze has to say. The order comes from a
-- lock that is taken just before a transaction commits and freed just after; up to there transactions
-- interleave as they like.
CREATE SCHEMA audit;

CREATE TABLE audit.change (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    transaction xid8 NOT NULL DEFAULT pg_current_xact_id(),
    relation text NOT NULL,
    op char(1) NOT NULL,
    full_row jsonb
);

CREATE TABLE audit.commit (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    transaction xid8 NOT NULL UNIQUE
);

CREATE FUNCTION audit.note() RETURNS trigger LANGUAGE plpgsql
SET TimeZone = 'UTC' SET DateStyle = 'ISO' AS $$
DECLARE
    key_column text;
    same_key boolean := true;
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        INSERT INTO audit.change (relation, op) VALUES (TG_ARGV[0], 'T');
        RETURN NULL;
    END IF;
    IF TG_OP = 'UPDATE' THEN
        FOREACH key_column IN ARRAY string_to_array(TG_ARGV[1], ',') LOOP
            same_key := same_key AND to_jsonb(OLD) -> key_column = to_jsonb(NEW) -> key_column;
        END LOOP;
    END IF;
    IF TG_OP = 'DELETE' OR NOT same_key THEN
        INSERT INTO audit.change (relation, op, full_row) VALUES (TG_ARGV[0], 'D', to_jsonb(OLD));
    END IF;
    IF TG_OP = 'INSERT' OR NOT same_key THEN
        INSERT INTO audit.change (relation, op, full_row) VALUES (TG_ARGV[0], 'I', to_jsonb(NEW));
    ELSIF TG_OP = 'UPDATE' THEN
        INSERT INTO audit.change (relation, op, full_row) VALUES (TG_ARGV[0], 'U', to_jsonb(NEW));
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION audit.commit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM audit.commit WHERE transaction = pg_current_xact_id()) THEN
        PERFORM pg_advisory_xact_lock(1);
        INSERT INTO audit.commit (transaction) VALUES (pg_current_xact_id());
    END IF;
    RETURN NULL;
END
$$;

CREATE CONSTRAINT TRIGGER commit AFTER INSERT ON audit.change
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION audit.commit();

-- Named so that it comes before the triggers of foreign keys: a cascade is noted after its cause.
DO $$
DECLARE
    relation text;
    key text;
BEGIN
    FOR relation, key IN
        SELECT conrelid::regclass, string_agg(attname, ',')
        FROM pg_constraint
        JOIN pg_attribute ON attrelid = conrelid AND attnum = ANY (conkey)
        WHERE contype = 'p'
        AND conrelid::regclass::text IN (
            'address', 'category', 'customer', 'film', 'film_category', 'inventory', 'language', 'payment',
            'rental', 'staff', 'store'
        )
        GROUP BY conrelid
    LOOP
        EXECUTE format(
            'CREATE TRIGGER "A_note" AFTER INSERT OR UPDATE OR DELETE ON %s
            FOR EACH ROW EXECUTE FUNCTION audit.note(%L, %L)',
            relation, relation, key
        );
        EXECUTE format(
            'CREATE TRIGGER "A_note_truncate" AFTER TRUNCATE ON %s
            FOR EACH STATEMENT EXECUTE FUNCTION audit.note(%L, %L)',
            relation, relation, key
        );
    END LOOP;
END
$$;
