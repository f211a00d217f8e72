-- Has whoever deletes rows of a table of bronze from the warehouse die while that is committed, once.
CREATE SCHEMA IF NOT EXISTS armed;
CREATE TABLE IF NOT EXISTS armed.trap (fired boolean NOT NULL DEFAULT false);
INSERT INTO armed.trap DEFAULT VALUES;
CREATE OR REPLACE FUNCTION armed.kill() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE armed.trap SET fired = true WHERE NOT fired;
    IF FOUND THEN
        PERFORM pg_terminate_backend(pid, 30000) FROM pg_stat_activity
        WHERE datname = '{warehouse}' AND application_name = 'medallion' AND state = 'active';
    END IF;
    RETURN NULL;
END
$$;
DROP TRIGGER IF EXISTS armed ON {table};
CREATE CONSTRAINT TRIGGER armed AFTER DELETE ON {table} DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION armed.kill()
