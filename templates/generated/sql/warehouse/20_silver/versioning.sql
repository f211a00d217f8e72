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

-- By which a writer finds what others have written since it began, and the loader what is new.
CREATE INDEX {{ journal_start_index }}
    ON {{ journal }} ({{ start }});

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
    SELECT sha256(rtrim(convert_to(ROW({{ hash_images }})::text, 'UTF8'), ',)'));
END;

-- Hash and period of what is written; an inserted row has no OLD. A version goes on where nothing tracked has
-- changed. This fires as the writer, whose search path may hide PostgreSQL's operators. Most updates leave key,
-- hash and period alone, and are through at once.
CREATE FUNCTION {{ before_write }}() RETURNS trigger
LANGUAGE plpgsql
AS $$
DECLARE
    hash CONSTANT bytea := {{ hash_function }}({{ new_tracked }});
BEGIN
    IF {{ key_stays }}
        AND NEW.{{ row_hash }} OPERATOR(pg_catalog.=) OLD.{{ row_hash }}
        AND NEW.{{ start }} OPERATOR(pg_catalog.=) OLD.{{ start }}
        AND NEW.{{ end }} OPERATOR(pg_catalog.=) 'infinity'
    THEN
        IF hash OPERATOR(pg_catalog.<>) OLD.{{ row_hash }} THEN
            NEW.{{ row_hash }} := hash;
            NEW.{{ start }} := "medallion"."stamp"();
        END IF;
        RETURN NEW;
    END IF;
    IF "medallion"."is_given"(NEW.{{ row_hash }}, OLD.{{ row_hash }}, hash, NEW.{{ start }}, OLD.{{ start }}, "medallion"."stamp"(), NEW.{{ end }}) THEN
        PERFORM "medallion"."refuse_period"(TG_RELID);
    ELSIF NOT ({{ key_stays }}) THEN
        PERFORM "medallion"."notice"(TG_RELID, 'KEY', NULL);
    END IF;
    NEW.{{ row_hash }} := hash;
    NEW.{{ start }} := CASE WHEN hash OPERATOR(pg_catalog.=) OLD.{{ row_hash }} AND {{ key_stays }} THEN OLD.{{ start }} ELSE "medallion"."stamp"() END;
    RETURN NEW;
END
$$;

-- A closed version is left as it is, unless versioning itself opens it again. Its key is remembered.
CREATE FUNCTION {{ keep_closed }}() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
{%- if apart %}
    IF TG_OP OPERATOR(pg_catalog.=) 'DELETE' AND OLD.{{ end }} OPERATOR(pg_catalog.=) "medallion"."stamp"()
{%- else %}
    IF NEW.{{ end }} OPERATOR(pg_catalog.<>) OLD.{{ end }}
{%- endif %}
        AND pg_catalog.pg_trigger_depth() OPERATOR(pg_catalog.>) 1 AND "medallion"."settling"()
    THEN
        RETURN coalesce(NEW, OLD);
    END IF;
    PERFORM "medallion"."notice"(TG_RELID, TG_OP, ROW({{ old_key }})::text);
    RETURN NULL;
END
$$;

-- Where a transaction ended a version and opened one of the same key: a later end, or none, is another's, which
-- it did not see; and equal attributes mean that nothing has happened, so that the ended version goes on.
CREATE FUNCTION {{ settle }}({{ key_types }}) RETURNS void
LANGUAGE plpgsql
AS $$
#variable_conflict use_variable
DECLARE
    opened {{ table }}%ROWTYPE;
    ended {{ table }}%ROWTYPE;
BEGIN
    SELECT * INTO opened
    FROM {{ table }} AS version
    WHERE {{ version_is_parameter }} AND version.{{ end }} = 'infinity'
    ORDER BY version.{{ start }} DESC
    LIMIT 1;
    SELECT * INTO ended
    FROM {{ table }} AS version
    WHERE {{ version_is_parameter }} AND version.{{ start }} <> opened.{{ start }} AND version.{{ end }} >= "medallion"."stamp"()
    ORDER BY version.{{ end }} DESC
    LIMIT 1;
    IF ended.{{ end }} > opened.{{ start }} THEN
        PERFORM "medallion"."refuse_conflict"({{ table_literal }}::regclass);
    ELSIF ended.{{ row_hash }} = opened.{{ row_hash }} AND ended.{{ end }} = opened.{{ start }} THEN
{%- if apart %}
        DELETE FROM {{ table }} AS version
        WHERE {{ version_is_parameter }} AND version.{{ end }} = ended.{{ end }};
        UPDATE {{ table }} AS version
        SET {{ start }} = ended.{{ start }}
        WHERE {{ version_is_parameter }} AND version.{{ end }} = 'infinity';
{%- else %}
        DELETE FROM {{ table }} AS version
        WHERE {{ version_is_parameter }} AND version.{{ start }} = opened.{{ start }};
        UPDATE {{ table }} AS version
        SET
            {{ reopening.at(12) }}
        WHERE {{ version_is_parameter }} AND version.{{ start }} = ended.{{ start }};
{%- endif %}
    END IF;
END
$$;

-- What follows writes history. It runs as the owner, and after the row is written: an insert that becomes an
-- update leaves nothing behind. A plan kept from a small table must not become one that reads a large one. What
-- reached nothing takes no time. What another transaction wrote of a key at a later time, and be it nothing that
-- began a version, must not be taken for later than what is written now.
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
    stamp CONSTANT timestamptz := (
        SELECT CASE WHEN new_rows.{{ end }} = 'infinity' THEN "medallion"."stamp"() END FROM new_rows LIMIT 1
    );
BEGIN
    IF stamp IS NULL THEN
        RETURN NULL;
    END IF;
    PERFORM "medallion"."refuse_unseen"(TG_RELID, stamp);
    IF EXISTS (SELECT FROM {{ journal }} AS version WHERE version.{{ start }} > stamp) THEN
        PERFORM "medallion"."refuse_conflict"(TG_RELID)
        FROM {{ journal }} AS version
        JOIN new_rows ON {{ version_is_new_row }}
        WHERE version.{{ start }} > stamp;
    END IF;
    PERFORM {{ settle }}({{ touched_key }})
    FROM (
        SELECT DISTINCT {{ new_rows_key }}
        FROM new_rows
        JOIN {{ table }} AS version ON {{ version_is_new_row }}
        WHERE new_rows.{{ end }} = 'infinity' AND version.{{ end }} >= stamp AND version.{{ start }} <> stamp
    ) AS touched;
    INSERT INTO {{ journal }} ("journal_op", {{ columns }}, {{ start }})
    SELECT 'I', {{ new_columns }}, stamp
    FROM new_rows
    WHERE new_rows.{{ end }} = 'infinity';
    RETURN NULL;
END
$$;

-- Every version that began before this transaction and does not go on ends now. Changed keys are rare, and so are
-- versions that this transaction has opened.
CREATE FUNCTION {{ after_update }}() RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_nestloop = off
SET enable_hashjoin = on
SET enable_mergejoin = off
AS $$
#variable_conflict use_variable
DECLARE
    stamp CONSTANT timestamptz := (SELECT "medallion"."stamp"() FROM old_rows WHERE old_rows.{{ end }} = 'infinity' LIMIT 1);
    shifted CONSTANT boolean := "medallion"."shifted"(TG_RELID, stamp);
BEGIN
    IF current_setting('medallion.noticed', true) = 'on' THEN
        PERFORM "medallion"."refuse_closed"(TG_RELID, lost."key")
        FROM (
            SELECT met."key" FROM "medallion"."met"(TG_RELID, TG_OP) AS met ("key")
            EXCEPT
            SELECT ROW({{ old_rows_key }})::text FROM old_rows WHERE old_rows.{{ end }} = 'infinity'
        ) AS lost;
    END IF;
    IF stamp IS NULL THEN
        RETURN NULL;
    END IF;
    IF EXISTS (SELECT FROM {{ journal }} AS version WHERE version.{{ start }} > stamp) THEN
        PERFORM "medallion"."refuse_conflict"(TG_RELID)
        FROM {{ journal }} AS version
        WHERE version.{{ start }} > stamp
        AND (
            EXISTS (SELECT FROM old_rows WHERE {{ version_is_old_row }})
            OR EXISTS (SELECT FROM new_rows WHERE {{ version_is_new_row }})
        );
    END IF;
    IF EXISTS (SELECT FROM new_rows WHERE new_rows.{{ start }} < stamp) THEN
        INSERT INTO {{ closed }} ({{ columns }}, {{ row_hash }}, {{ start }}, {{ end }})
        SELECT {{ old_columns }}, old_rows.{{ row_hash }}, old_rows.{{ start }}, stamp
        FROM old_rows
        WHERE old_rows.{{ end }} = 'infinity' AND old_rows.{{ start }} < stamp
        AND NOT EXISTS (
            SELECT FROM new_rows WHERE {{ new_row_is_old_row }} AND new_rows.{{ start }} < stamp
        );
    ELSE
        INSERT INTO {{ closed }} ({{ columns }}, {{ row_hash }}, {{ start }}, {{ end }})
        SELECT {{ old_columns }}, old_rows.{{ row_hash }}, old_rows.{{ start }}, stamp
        FROM old_rows
        WHERE old_rows.{{ end }} = 'infinity' AND old_rows.{{ start }} < stamp;
    END IF;
    IF shifted OR EXISTS (SELECT FROM old_rows WHERE old_rows.{{ start }} >= transaction_timestamp()) THEN
        PERFORM "medallion"."go_by_index"();
        PERFORM {{ settle }}({{ touched_key }})
        FROM (
            SELECT {{ old_rows_key }} FROM old_rows WHERE shifted OR old_rows.{{ start }} >= transaction_timestamp()
            UNION
            SELECT {{ new_rows_key }} FROM new_rows WHERE shifted
        ) AS touched;
        INSERT INTO {{ journal }} ("journal_op", {{ columns }}, {{ start }})
        SELECT 'D', {{ old_columns }}, stamp
        FROM old_rows
        WHERE shifted AND old_rows.{{ end }} = 'infinity'
        AND NOT EXISTS (
            SELECT FROM {{ table }} AS version WHERE {{ version_is_old_row }} AND version.{{ end }} = 'infinity'
        );
    END IF;
    INSERT INTO {{ journal }} ("journal_op", {{ columns }}, {{ start }})
    SELECT 'U', {{ new_columns }}, stamp
    FROM new_rows
    WHERE new_rows.{{ end }} = 'infinity';
    RETURN NULL;
END
$$;

-- A MERGE may have opened a key that it deletes already.
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
    stamp CONSTANT timestamptz := (SELECT "medallion"."stamp"() FROM old_rows WHERE old_rows.{{ end }} = 'infinity' LIMIT 1);
BEGIN
    IF current_setting('medallion.noticed', true) = 'on' THEN
        PERFORM "medallion"."refuse_closed"(TG_RELID, lost."key")
        FROM (
            SELECT met."key" FROM "medallion"."met"(TG_RELID, TG_OP) AS met ("key")
            EXCEPT
            SELECT ROW({{ old_rows_key }})::text FROM old_rows WHERE old_rows.{{ end }} = 'infinity'
        ) AS lost;
    END IF;
    IF stamp IS NULL THEN
        RETURN NULL;
    END IF;
    IF EXISTS (SELECT FROM {{ journal }} AS version WHERE version.{{ start }} > stamp) THEN
        PERFORM "medallion"."refuse_conflict"(TG_RELID)
        FROM {{ journal }} AS version
        JOIN old_rows ON {{ version_is_old_row }}
        WHERE version.{{ start }} > stamp;
    END IF;
    INSERT INTO {{ table }} ({{ columns }}, {{ row_hash }}, {{ start }}, {{ end }})
    SELECT {{ old_columns }}, old_rows.{{ row_hash }}, old_rows.{{ start }}, stamp
    FROM old_rows
    WHERE old_rows.{{ end }} = 'infinity' AND old_rows.{{ start }} < stamp
    ON CONFLICT ON CONSTRAINT {{ primary_key }} DO NOTHING;
    PERFORM "medallion"."mark_ending"(stamp);
    PERFORM {{ settle }}({{ touched_key }})
    FROM (
        SELECT DISTINCT {{ old_rows_key }}
        FROM old_rows
        JOIN {{ table }} AS version ON {{ version_is_old_row }} AND version.{{ end }} = 'infinity'
    ) AS touched;
    INSERT INTO {{ journal }} ("journal_op", {{ columns }}, {{ start }})
    SELECT 'D', {{ old_columns }}, stamp
    FROM old_rows
    WHERE old_rows.{{ end }} = 'infinity'
    AND NOT EXISTS (
        SELECT FROM {{ table }} AS version WHERE {{ version_is_old_row }} AND version.{{ end }} = 'infinity'
    );
    RETURN NULL;
END
$$;

-- What runs as the owner would do so on anybody's table, made into a trigger there.
REVOKE ALL ON FUNCTION {{ after_insert }}(), {{ after_update }}(), {{ after_delete }}() FROM PUBLIC;

-- Triggers of one kind fire in the order of their names: these are the last, so that what others change is
-- versioned too.
CREATE TRIGGER "zz_versioning_1_closed"
    BEFORE UPDATE OR DELETE ON {{ closed }}
    FOR EACH ROW
    WHEN (OLD.{{ end }} < 'infinity' AND NOT "medallion"."backfilling"())
    EXECUTE FUNCTION {{ keep_closed }}();

-- A version as young as this transaction is either its own, or another's that it must not replace.
CREATE TRIGGER "zz_versioning_2_order"
    BEFORE UPDATE OR DELETE ON {{ current }}
    FOR EACH ROW
    WHEN (
        OLD.{{ end }} = 'infinity'
        AND OLD.{{ start }} >= transaction_timestamp()
        AND NOT "medallion"."backfilling"()
        AND "medallion"."is_other"(OLD.{{ start }}, OLD.xmin)
    )
    EXECUTE FUNCTION "medallion"."refuse_other"();

CREATE TRIGGER "zz_versioning_3_insert"
    BEFORE INSERT ON {{ current }}
    FOR EACH ROW
    WHEN ((NEW.{{ end }} = 'infinity' OR NOT "medallion"."settling"()) AND NOT "medallion"."backfilling"())
    EXECUTE FUNCTION {{ before_write }}();
{%- if apart %}

CREATE TRIGGER "zz_versioning_3_insert"
    BEFORE INSERT ON {{ closed }}
    FOR EACH ROW
    WHEN (NOT "medallion"."settling"() AND NOT "medallion"."backfilling"())
    EXECUTE FUNCTION {{ before_write }}();

-- A version that goes on after all begins earlier again.
CREATE TRIGGER "zz_versioning_3_update"
    BEFORE UPDATE ON {{ current }}
    FOR EACH ROW
    WHEN (NOT (NEW.{{ start }} < OLD.{{ start }} AND "medallion"."settling"()) AND NOT "medallion"."backfilling"())
    EXECUTE FUNCTION {{ before_write }}();
{%- else %}

CREATE TRIGGER "zz_versioning_3_update"
    BEFORE UPDATE ON {{ table }}
    FOR EACH ROW
    WHEN (OLD.{{ end }} = 'infinity' AND NOT "medallion"."backfilling"())
    EXECUTE FUNCTION {{ before_write }}();
{%- endif %}
{%- for written in statements %}

CREATE TRIGGER "zz_versioning_4_inserted"
    AFTER INSERT ON {{ written }}
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT
    WHEN (NOT "medallion"."backfilling"())
    EXECUTE FUNCTION {{ after_insert }}();

CREATE TRIGGER "zz_versioning_4_updated"
    AFTER UPDATE ON {{ written }}
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT
    WHEN (NOT "medallion"."backfilling"())
    EXECUTE FUNCTION {{ after_update }}();

CREATE TRIGGER "zz_versioning_4_deleted"
    AFTER DELETE ON {{ written }}
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT
    WHEN (NOT "medallion"."backfilling"())
    EXECUTE FUNCTION {{ after_delete }}();
{%- endfor %}

CREATE TRIGGER "zz_versioning_truncate"
    BEFORE TRUNCATE ON {{ table }}
    FOR EACH STATEMENT
    EXECUTE FUNCTION "medallion"."refuse_truncate"();

-- A session that plays a replica silences ordinary triggers; these speak.
{%- if apart %}
ALTER TABLE {{ closed }}
    ENABLE ALWAYS TRIGGER "zz_versioning_1_closed",
    ENABLE ALWAYS TRIGGER "zz_versioning_3_insert";

ALTER TABLE {{ current }}
    ENABLE ALWAYS TRIGGER "zz_versioning_2_order",
    ENABLE ALWAYS TRIGGER "zz_versioning_3_insert",
    ENABLE ALWAYS TRIGGER "zz_versioning_3_update",
    ENABLE ALWAYS TRIGGER "zz_versioning_4_inserted",
    ENABLE ALWAYS TRIGGER "zz_versioning_4_updated",
    ENABLE ALWAYS TRIGGER "zz_versioning_4_deleted";

ALTER TABLE ONLY {{ table }}
    ENABLE ALWAYS TRIGGER "zz_versioning_4_inserted",
    ENABLE ALWAYS TRIGGER "zz_versioning_4_updated",
    ENABLE ALWAYS TRIGGER "zz_versioning_4_deleted",
    ENABLE ALWAYS TRIGGER "zz_versioning_truncate";
{%- else %}
ALTER TABLE {{ table }}
    ENABLE ALWAYS TRIGGER "zz_versioning_1_closed",
    ENABLE ALWAYS TRIGGER "zz_versioning_2_order",
    ENABLE ALWAYS TRIGGER "zz_versioning_3_insert",
    ENABLE ALWAYS TRIGGER "zz_versioning_3_update",
    ENABLE ALWAYS TRIGGER "zz_versioning_4_inserted",
    ENABLE ALWAYS TRIGGER "zz_versioning_4_updated",
    ENABLE ALWAYS TRIGGER "zz_versioning_4_deleted",
    ENABLE ALWAYS TRIGGER "zz_versioning_truncate";
{%- endif %}
