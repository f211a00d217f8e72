CREATE TABLE "medallion"."guard_switch" (
    "switch_id" bigint GENERATED ALWAYS AS IDENTITY,
    "switched_at" timestamptz NOT NULL DEFAULT clock_timestamp(),
    "switched_by" text NOT NULL DEFAULT session_user,
    "relation" text NOT NULL,
    "guards" text NOT NULL,
    "why" text,
    CONSTRAINT "guard_switch_pkey" PRIMARY KEY ("switch_id"),
    CONSTRAINT "guard_switch_guards" CHECK ("guards" IN ('off', 'on'))
);

-- Writes it down, where it changes what was written down last; why, if it is said.
CREATE FUNCTION "medallion"."note_switch"(relation oid, guards text) RETURNS void
LANGUAGE sql
BEGIN ATOMIC
    INSERT INTO "medallion"."guard_switch" ("relation", "guards", "why")
    SELECT known."name", note_switch.guards, nullif(current_setting('medallion.switch_why', true), '')
    FROM (
        SELECT schema.nspname || '.' || class.relname
        FROM pg_class AS class
        JOIN pg_namespace AS schema ON schema.oid = class.relnamespace
        WHERE class.oid = coalesce(pg_partition_root(note_switch.relation::regclass), note_switch.relation)
    ) AS known ("name")
    WHERE note_switch.guards IS DISTINCT FROM coalesce((
        SELECT last."guards"
        FROM "medallion"."guard_switch" AS last
        WHERE last."relation" = known."name"
        ORDER BY last."switch_id" DESC
        LIMIT 1
    ), 'on');
END;

-- The triggers that keep what landed and what has ended, of a table and of its partitions.
CREATE FUNCTION "medallion"."guards"(relation oid)
RETURNS TABLE ("of" oid, "guard" name, "kind" smallint, "fires" "char", "own" boolean)
LANGUAGE sql
STABLE
BEGIN ATOMIC
    SELECT guard.tgrelid, guard.tgname, guard.tgtype, guard.tgenabled, guard.tgparentid = 0
    FROM pg_trigger AS guard
    WHERE guard.tgrelid IN (
        SELECT coalesce(pg_partition_root($1::regclass), $1)
        UNION
        SELECT part.relid
        FROM pg_partition_tree(pg_partition_root($1::regclass)) AS part
    )
    AND NOT guard.tgisinternal
    AND (
        guard.tgname IN ('refuse_change', 'keep_history', 'keep_history_truncate')
        OR starts_with(guard.tgname, 'zz_versioning_')
    );
END;

-- Switches the guards of a table off or on and leaves it on record, by whom and why. For the owner, who alone may
-- alter the table; whoever alters it by hand is on record where a superuser has migrated.
CREATE FUNCTION "medallion"."switch_guards"(relation regclass, guards text, why text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    one record;
BEGIN
    IF guards IS NULL OR guards NOT IN ('off', 'on') OR coalesce(btrim(why), '') = '' THEN
        RAISE EXCEPTION 'guards are switched `off` or `on`, and for a reason'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM set_config('medallion.switch_why', why, true);
    FOR one IN
        SELECT known."of"::regclass AS "of", known."guard", known."kind" & 1 = 1 AS "of_rows"
        FROM "medallion"."guards"(relation) AS known
        WHERE known."own"
    LOOP
        EXECUTE format(
            'ALTER TABLE %s%s %s TRIGGER %I',
            CASE WHEN one."of_rows" THEN '' ELSE 'ONLY ' END,
            one."of",
            CASE guards WHEN 'on' THEN 'ENABLE ALWAYS' ELSE 'DISABLE' END,
            one."guard"
        );
    END LOOP;
    IF NOT FOUND THEN
        RAISE EXCEPTION '`%` has no guards', relation
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM "medallion"."note_switch"(relation, guards);
    PERFORM set_config('medallion.switch_why', '', true);
END
$$;

-- Sees a guard that is switched or dropped past that function. It runs as who migrated, to write it down.
CREATE FUNCTION "medallion"."note_guards"() RETURNS event_trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_EVENT = 'sql_drop' THEN
        PERFORM "medallion"."note_switch"(class.oid, 'off')
        FROM pg_event_trigger_dropped_objects() AS dropped
        JOIN pg_namespace AS schema ON schema.nspname = dropped.address_names[1]
        JOIN pg_class AS class ON class.relnamespace = schema.oid AND class.relname = dropped.address_names[2]
        WHERE dropped.object_type = 'trigger'
        AND (
            dropped.address_names[3] IN ('refuse_change', 'keep_history', 'keep_history_truncate')
            OR starts_with(dropped.address_names[3], 'zz_versioning_')
        );
        RETURN;
    END IF;
    PERFORM "medallion"."note_switch"(altered.objid, altered."guards")
    FROM (
        SELECT command.objid, CASE WHEN bool_or(guard."fires" IN ('D', 'R')) THEN 'off' ELSE 'on' END
        FROM (SELECT DISTINCT objid FROM pg_event_trigger_ddl_commands() WHERE classid = 'pg_class'::regclass) AS command
        CROSS JOIN LATERAL "medallion"."guards"(command.objid) AS guard
        GROUP BY command.objid
    ) AS altered ("objid", "guards");
END
$$;

REVOKE ALL ON FUNCTION
    "medallion"."note_switch"(oid, text),
    "medallion"."guards"(oid),
    "medallion"."switch_guards"(regclass, text, text),
    "medallion"."note_guards"()
FROM PUBLIC;

-- Only a superuser can have a database watch its own definition.
DO $$
BEGIN
    IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        CREATE EVENT TRIGGER "medallion_guards_altered"
            ON ddl_command_end
            WHEN TAG IN ('ALTER TABLE')
            EXECUTE FUNCTION "medallion"."note_guards"();
        CREATE EVENT TRIGGER "medallion_guards_dropped"
            ON sql_drop
            WHEN TAG IN ('DROP TRIGGER')
            EXECUTE FUNCTION "medallion"."note_guards"();
        ALTER EVENT TRIGGER "medallion_guards_altered" ENABLE ALWAYS;
        ALTER EVENT TRIGGER "medallion_guards_dropped" ENABLE ALWAYS;
    END IF;
END
$$;

COMMENT ON TABLE "medallion"."guard_switch" IS 'Who switched the guards of what landed and of history off and on again.';
COMMENT ON COLUMN "medallion"."guard_switch"."switch_id" IS 'Rises from one to the next.';
COMMENT ON COLUMN "medallion"."guard_switch"."switched_at" IS 'When.';
COMMENT ON COLUMN "medallion"."guard_switch"."switched_by" IS 'By whom.';
COMMENT ON COLUMN "medallion"."guard_switch"."relation" IS 'Of which table: schema and table, with a dot between them, unquoted.';
COMMENT ON COLUMN "medallion"."guard_switch"."guards" IS 'off: one of them at least; on: all.';
COMMENT ON COLUMN "medallion"."guard_switch"."why" IS 'Why; NULL where it was done by hand.';
COMMENT ON FUNCTION "medallion"."note_switch"(oid, text) IS 'Puts a switch on record.';
COMMENT ON FUNCTION "medallion"."guards"(oid) IS 'The guards of a table and of its partitions.';
COMMENT ON FUNCTION "medallion"."switch_guards"(regclass, text, text) IS 'Switches the guards of a table off or on, for a reason; for the owner.';
COMMENT ON FUNCTION "medallion"."note_guards"() IS 'Puts on record what is switched by hand.';
