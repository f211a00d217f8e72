-- Writes that reached the dimension past its feed: what each key was after them.
CREATE TABLE {{ journal }} (
    "journal_id" bigint GENERATED ALWAYS AS IDENTITY,
    "journal_op" char(1) NOT NULL,
    "journal_by" text NOT NULL DEFAULT session_user,
    "journal_xid" xid8 NOT NULL DEFAULT pg_current_xact_id(),
    {{ nullable_definitions.at(4) }},
    {{ start }} timestamptz NOT NULL,
    CONSTRAINT {{ journal_primary_key }} PRIMARY KEY ("journal_id")
);

-- Entries come in the order of their times, so that a small index finds them.
CREATE INDEX {{ journal_start_index }}
    ON {{ journal }} USING brin ({{ start }});

-- The text of a row quotes its values and leaves NULL empty, so that no two rows run together. NULLs at its
-- end are cut off: an attribute that is added later and NULL changes no hash. Values whose text hangs on the
-- session's settings go in as they are sent.
CREATE FUNCTION {{ hash_function }}(
    {{ hash_parameters.at(4) }}
)
RETURNS bytea
LANGUAGE sql
STABLE
PARALLEL SAFE
BEGIN ATOMIC
    SELECT sha256(convert_to(rtrim(ROW({{ hash_images }})::text, ',)'), 'UTF8'));
END;

-- These fire as the writer, whose search path may hide PostgreSQL's operators: they name them in full.
CREATE FUNCTION {{ before_insert }}() RETURNS trigger
LANGUAGE plpgsql
AS $$
DECLARE
    given CONSTANT bytea := NEW.{{ row_hash }};
    stamp CONSTANT timestamptz := "medallion"."stamp"();
BEGIN
    NEW.{{ row_hash }} := {{ hash_function }}({{ new_tracked }});
    IF given OPERATOR(pg_catalog.<>) NEW.{{ row_hash }}
        OR NEW.{{ start }} OPERATOR(pg_catalog.<>) stamp
        OR NEW.{{ end }} OPERATOR(pg_catalog.<>) 'infinity'
    THEN
        PERFORM "medallion"."refuse_period"(TG_RELID);
    END IF;
    NEW.{{ start }} := stamp;
    NEW.{{ end }} := 'infinity';
    RETURN NEW;
END
$$;

CREATE FUNCTION {{ before_update }}() RETURNS trigger
LANGUAGE plpgsql
AS $$
DECLARE
    given CONSTANT bytea := NEW.{{ row_hash }};
BEGIN
    NEW.{{ row_hash }} := {{ hash_function }}({{ new_tracked }});
    IF (given OPERATOR(pg_catalog.<>) OLD.{{ row_hash }} AND given OPERATOR(pg_catalog.<>) NEW.{{ row_hash }})
        OR (NEW.{{ start }} OPERATOR(pg_catalog.<>) OLD.{{ start }} AND NEW.{{ start }} OPERATOR(pg_catalog.<>) "medallion"."stamp"())
        OR NEW.{{ end }} OPERATOR(pg_catalog.<>) 'infinity'
    THEN
        PERFORM "medallion"."refuse_period"(TG_RELID);
    END IF;
    NEW.{{ end }} := 'infinity';
    IF NEW.{{ row_hash }} OPERATOR(pg_catalog.=) OLD.{{ row_hash }}{% for key in keys %}
        AND NEW.{{ key }} OPERATOR(pg_catalog.=) OLD.{{ key }}{% endfor %}
    THEN
        -- Nothing tracked has changed: the version goes on.
        NEW.{{ start }} := OLD.{{ start }};
    ELSE
        NEW.{{ start }} := "medallion"."stamp"();
    END IF;
    RETURN NEW;
END
$$;

-- A closed version is left as it is, unless versioning itself opens it again. Its key is remembered.
CREATE FUNCTION {{ keep_closed }}() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    IF NEW.{{ end }} OPERATOR(pg_catalog.<>) OLD.{{ end }} AND "medallion"."settling"() THEN
        RETURN NEW;
    END IF;
    PERFORM "medallion"."meet_closed"(TG_RELID, TG_OP, ROW({{ old_key }})::text);
    RETURN NULL;
END
$$;

-- A statement that met a closed version must have reached the current one as well, or what it wanted would be
-- lost in silence.
CREATE FUNCTION {{ refuse_lost }}() RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    lost text;
BEGIN
    WITH met AS (
        DELETE FROM "medallion"."closed_met" AS met
        WHERE met."transaction" = pg_current_xact_id()
        AND met."relation" = TG_RELID
        AND met."depth" = pg_trigger_depth()
        AND met."op" = TG_OP
        RETURNING met."key"
    )
    SELECT met."key"
    INTO lost
    FROM met
    EXCEPT
    SELECT ROW({{ old_rows_key }})::text
    FROM old_rows
    WHERE old_rows.{{ end }} = 'infinity'
    LIMIT 1;
    IF FOUND THEN
        PERFORM "medallion"."refuse_closed"(TG_RELID, lost);
    END IF;
    RETURN NULL;
END
$$;

-- A version as young as this transaction is either its own, or another's that it must not replace.
CREATE FUNCTION {{ keep_order }}() RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    stamp CONSTANT timestamptz := "medallion"."stamp"();
BEGIN
    IF OLD.{{ start }} > stamp OR OLD.{{ start }} = stamp AND NOT EXISTS (
        SELECT
        FROM {{ table }} AS version
        WHERE {{ version_is_old }}
        AND version.{{ end }} = 'infinity'
        AND "medallion"."wrote"(version.xmin)
    ) THEN
        PERFORM "medallion"."refuse_conflict"(TG_RELID);
    END IF;
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    RETURN NEW;
END
$$;

-- Where a transaction ended a version and opened one of the same key: a later end is another's, and equal
-- attributes mean that nothing has happened, so that the ended version goes on.
CREATE FUNCTION {{ settle }}({{ key_types }}) RETURNS void
LANGUAGE plpgsql
AS $$
#variable_conflict use_variable
DECLARE
    stamp CONSTANT timestamptz := "medallion"."stamp"();
    opened record;
    ended record;
BEGIN
    SELECT
        {{ opened_columns.at(8) }}
    INTO opened
    FROM {{ table }} AS version
    WHERE {{ version_is_parameter }}
    AND version.{{ end }} = 'infinity';
    SELECT version.{{ row_hash }}, version.{{ start }}, version.{{ end }}
    INTO ended
    FROM {{ table }} AS version
    WHERE {{ version_is_parameter }}
    AND version.{{ end }} >= stamp
    AND version.{{ end }} < 'infinity'
    ORDER BY version.{{ end }} DESC
    LIMIT 1;
    -- A second current version is one that another transaction ended since this one took its snapshot.
    IF ended.{{ end }} > opened.{{ start }} OR (
        SELECT count(*) > 1
        FROM {{ table }} AS version
        WHERE {{ version_is_parameter }}
        AND version.{{ end }} = 'infinity'
    ) THEN
        PERFORM "medallion"."refuse_conflict"({{ table_literal }}::regclass);
    END IF;
    IF opened.{{ start }} = stamp AND opened.{{ row_hash }} = ended.{{ row_hash }} THEN
        DELETE FROM {{ table }} AS version
        WHERE {{ version_is_parameter }}
        AND version.{{ end }} = 'infinity';
        UPDATE {{ table }} AS version
        SET
            {{ reopening.at(12) }}
        WHERE {{ version_is_parameter }}
        AND version.{{ start }} = ended.{{ start }};
    END IF;
END
$$;

-- What follows writes history. It runs as the owner, and after the row is written: an insert that becomes an
-- update leaves nothing behind. A plan kept from a small table must not become one that reads a large one.
CREATE FUNCTION {{ after_insert }}() RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
#variable_conflict use_variable
DECLARE
    stamp timestamptz;
    key record;
BEGIN
    -- Versions that versioning itself closes come by here too.
    IF NOT EXISTS (SELECT FROM new_rows WHERE new_rows.{{ end }} = 'infinity') THEN
        RETURN NULL;
    END IF;
    stamp := "medallion"."stamp"();
    IF "medallion"."ended_unseen"(stamp) THEN
        PERFORM "medallion"."refuse_conflict"(TG_RELID);
    END IF;
    FOR key IN
        SELECT DISTINCT {{ version_keys }}
        FROM new_rows
        JOIN {{ table }} AS version
            ON {{ version_is_new_row }}
        WHERE new_rows.{{ end }} = 'infinity'
        AND version.{{ end }} >= stamp
        AND version.{{ start }} <> stamp
    LOOP
        PERFORM {{ settle }}({{ loop_key }});
    END LOOP;
    INSERT INTO {{ journal }} ("journal_op", {{ columns }}, {{ start }})
    SELECT 'I', {{ new_columns }}, stamp
    FROM new_rows
    WHERE new_rows.{{ end }} = 'infinity';
    RETURN NULL;
END
$$;

-- Every version that began before this transaction and does not go on ends now. Where keys were shifted, which
-- was seen to row by row, some have ended already.
CREATE FUNCTION {{ after_update }}() RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_nestloop = off
AS $$
#variable_conflict use_variable
DECLARE
    stamp timestamptz;
    shifted CONSTANT boolean := coalesce(current_setting('medallion.shifted', true), '') = 'on';
BEGIN
    -- A statement that reached nothing takes no time.
    IF NOT EXISTS (SELECT FROM old_rows WHERE old_rows.{{ end }} = 'infinity') THEN
        RETURN NULL;
    END IF;
    stamp := "medallion"."stamp"();
    INSERT INTO {{ table }} ({{ columns }}, {{ row_hash }}, {{ start }}, {{ end }})
    SELECT {{ old_columns }}, old_rows.{{ row_hash }}, old_rows.{{ start }}, stamp
    FROM old_rows
    WHERE old_rows.{{ end }} = 'infinity'
    AND old_rows.{{ start }} < stamp
    AND NOT EXISTS (
        SELECT
        FROM new_rows
        WHERE {{ new_row_is_old_row }}
        AND new_rows.{{ start }} < stamp
    )
    AND NOT (shifted AND EXISTS (
        SELECT
        FROM {{ table }} AS version
        WHERE {{ version_is_old_row }}
        AND version.{{ start }} = old_rows.{{ start }}
    ));
    INSERT INTO {{ journal }} ("journal_op", {{ columns }}, {{ start }})
    SELECT 'U', {{ new_columns }}, stamp
    FROM new_rows
    WHERE new_rows.{{ end }} = 'infinity';
    RETURN NULL;
END
$$;

CREATE FUNCTION {{ after_delete }}() RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
#variable_conflict use_variable
DECLARE
    stamp timestamptz;
    key record;
BEGIN
    -- A statement that reached nothing takes no time.
    IF NOT EXISTS (SELECT FROM old_rows WHERE old_rows.{{ end }} = 'infinity') THEN
        RETURN NULL;
    END IF;
    stamp := "medallion"."stamp"();
    INSERT INTO {{ table }} ({{ columns }}, {{ row_hash }}, {{ start }}, {{ end }})
    SELECT {{ old_columns }}, old_rows.{{ row_hash }}, old_rows.{{ start }}, stamp
    FROM old_rows
    WHERE old_rows.{{ end }} = 'infinity'
    AND old_rows.{{ start }} < stamp
    ON CONFLICT ON CONSTRAINT {{ primary_key }} DO NOTHING;
    PERFORM "medallion"."mark_ending"(stamp);
    -- A MERGE may have opened the key already.
    FOR key IN
        SELECT DISTINCT {{ version_keys }}
        FROM old_rows
        JOIN {{ table }} AS version
            ON {{ version_is_old_row }}
        WHERE version.{{ end }} = 'infinity'
    LOOP
        PERFORM {{ settle }}({{ loop_key }});
    END LOOP;
    INSERT INTO {{ journal }} ("journal_op", {{ columns }}, {{ start }})
    SELECT 'D', {{ old_columns }}, stamp
    FROM old_rows
    WHERE old_rows.{{ end }} = 'infinity'
    AND NOT EXISTS (
        SELECT
        FROM {{ table }} AS version
        WHERE {{ version_is_old_row }}
        AND version.{{ end }} = 'infinity'
    );
    RETURN NULL;
END
$$;

-- The rare cases of an update, row by row: a changed key, and a version that this transaction opened.
CREATE FUNCTION {{ after_update_row }}() RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    stamp CONSTANT timestamptz := "medallion"."stamp"();
BEGIN
    IF {{ key_changed }} THEN
        IF OLD.{{ start }} < stamp THEN
            INSERT INTO {{ table }} ({{ columns }}, {{ row_hash }}, {{ start }}, {{ end }})
            VALUES ({{ old_record }}, OLD.{{ row_hash }}, OLD.{{ start }}, stamp);
        END IF;
        IF "medallion"."ended_unseen"(stamp) THEN
            PERFORM "medallion"."refuse_conflict"(TG_RELID);
        END IF;
        PERFORM "medallion"."mark_ending"(stamp);
        PERFORM set_config('medallion.shifted', 'on', true);
        PERFORM {{ settle }}({{ new_key }});
        INSERT INTO {{ journal }} ("journal_op", {{ columns }}, {{ start }})
        SELECT 'D', {{ old_record }}, stamp
        WHERE NOT EXISTS (
            SELECT
            FROM {{ table }} AS version
            WHERE {{ version_is_old }}
            AND version.{{ end }} = 'infinity'
        );
    END IF;
    PERFORM {{ settle }}({{ old_key }});
    RETURN NULL;
END
$$;

-- What runs as the owner would do so on anybody's table, made into a trigger there.
REVOKE ALL ON FUNCTION
    {{ refuse_lost }}(),
    {{ keep_order }}(),
    {{ after_insert }}(),
    {{ after_update }}(),
    {{ after_delete }}(),
    {{ after_update_row }}()
FROM PUBLIC;

-- Triggers of one kind fire in the order of their names: these are the last, so that what others change is
-- versioned too.
CREATE TRIGGER "zz_versioning_1_closed"
    BEFORE UPDATE OR DELETE ON {{ table }}
    FOR EACH ROW
    WHEN (OLD.{{ end }} < 'infinity' AND NOT "medallion"."backfilling"())
    EXECUTE FUNCTION {{ keep_closed }}();

CREATE TRIGGER "zz_versioning_2_order"
    BEFORE UPDATE OR DELETE ON {{ table }}
    FOR EACH ROW
    WHEN (
        OLD.{{ end }} = 'infinity'
        AND OLD.{{ start }} >= transaction_timestamp()
        AND NOT "medallion"."backfilling"()
    )
    EXECUTE FUNCTION {{ keep_order }}();

CREATE TRIGGER "zz_versioning_3_insert"
    BEFORE INSERT ON {{ table }}
    FOR EACH ROW
    WHEN ((NEW.{{ end }} = 'infinity' OR NOT "medallion"."settling"()) AND NOT "medallion"."backfilling"())
    EXECUTE FUNCTION {{ before_insert }}();

CREATE TRIGGER "zz_versioning_3_update"
    BEFORE UPDATE ON {{ table }}
    FOR EACH ROW
    WHEN (OLD.{{ end }} = 'infinity' AND NOT "medallion"."backfilling"())
    EXECUTE FUNCTION {{ before_update }}();

CREATE TRIGGER "zz_versioning_4_updated_row"
    AFTER UPDATE ON {{ table }}
    FOR EACH ROW
    WHEN (
        OLD.{{ end }} = 'infinity'
        AND (OLD.{{ start }} >= transaction_timestamp() OR {{ key_changed }})
        AND NOT "medallion"."backfilling"()
    )
    EXECUTE FUNCTION {{ after_update_row }}();

CREATE TRIGGER "zz_versioning_5_update_lost"
    AFTER UPDATE ON {{ table }}
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT
    WHEN (current_setting('medallion.closed_met', true) = 'on')
    EXECUTE FUNCTION {{ refuse_lost }}();

CREATE TRIGGER "zz_versioning_5_delete_lost"
    AFTER DELETE ON {{ table }}
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT
    WHEN (current_setting('medallion.closed_met', true) = 'on')
    EXECUTE FUNCTION {{ refuse_lost }}();

CREATE TRIGGER "zz_versioning_6_inserted"
    AFTER INSERT ON {{ table }}
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT
    WHEN (NOT "medallion"."backfilling"())
    EXECUTE FUNCTION {{ after_insert }}();

CREATE TRIGGER "zz_versioning_6_updated"
    AFTER UPDATE ON {{ table }}
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT
    WHEN (NOT "medallion"."backfilling"())
    EXECUTE FUNCTION {{ after_update }}();

CREATE TRIGGER "zz_versioning_6_deleted"
    AFTER DELETE ON {{ table }}
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT
    WHEN (NOT "medallion"."backfilling"())
    EXECUTE FUNCTION {{ after_delete }}();

CREATE TRIGGER "zz_versioning_truncate"
    BEFORE TRUNCATE ON {{ table }}
    FOR EACH STATEMENT
    EXECUTE FUNCTION "medallion"."refuse_truncate"();

-- A session that plays a replica silences ordinary triggers; these speak.
ALTER TABLE {{ table }}
    ENABLE ALWAYS TRIGGER "zz_versioning_1_closed",
    ENABLE ALWAYS TRIGGER "zz_versioning_2_order",
    ENABLE ALWAYS TRIGGER "zz_versioning_3_insert",
    ENABLE ALWAYS TRIGGER "zz_versioning_3_update",
    ENABLE ALWAYS TRIGGER "zz_versioning_4_updated_row",
    ENABLE ALWAYS TRIGGER "zz_versioning_5_update_lost",
    ENABLE ALWAYS TRIGGER "zz_versioning_5_delete_lost",
    ENABLE ALWAYS TRIGGER "zz_versioning_6_inserted",
    ENABLE ALWAYS TRIGGER "zz_versioning_6_updated",
    ENABLE ALWAYS TRIGGER "zz_versioning_6_deleted",
    ENABLE ALWAYS TRIGGER "zz_versioning_truncate";
