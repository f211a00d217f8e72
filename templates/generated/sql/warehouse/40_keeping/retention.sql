-- From when on the policy keeps all, by the system time last applied.
CREATE FUNCTION "medallion"."kept_since"() RETURNS timestamptz
LANGUAGE sql
STABLE
BEGIN ATOMIC
    SELECT date_trunc('day', max(mark."system_time") AT TIME ZONE {{ time_zone }} - interval {{ keep }})
        AT TIME ZONE {{ time_zone }}
    FROM "medallion"."watermark" AS mark;
END;

REVOKE ALL ON FUNCTION "medallion"."kept_since"() FROM PUBLIC;

-- The last position at or before a time, of those that have been applied: times rise with positions, so that the
-- first change after it is found by reading what goes, and not what stays.
CREATE FUNCTION "medallion"."last_landed"("until" timestamptz) RETURNS bigint
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT least(
        coalesce(min(after."lsn") - 1, (SELECT max("last_lsn") FROM "medallion"."source_position")),
        (SELECT min(mark."lsn") FROM "medallion"."watermark" AS mark)
    )
    FROM (SELECT coalesce(max(horizon."lsn"), -1) FROM "medallion"."horizon" AS horizon) AS folded ("lsn")
    CROSS JOIN LATERAL (
{%- for landing in landings %}
        {% if !loop.first %}UNION ALL
        {% endif -%}
        SELECT (
            SELECT change."lsn"
            FROM {{ landing }} AS change
            WHERE change."lsn" > folded."lsn"
            AND change."commit_ts" > last_landed."until"
            ORDER BY change."lsn"
            LIMIT 1
        )
{%- endfor %}
    ) AS after ("lsn")
$$;

REVOKE ALL ON FUNCTION "medallion"."last_landed"(timestamptz) FROM PUBLIC;

-- Folds what landed up to a position; what is of a later time has yet to be so.
CREATE FUNCTION "medallion"."fold_landed"(
    "latest" bigint,
    "moved_to" timestamptz,
    OUT "pruned_from" text,
    OUT "pruned_rows" bigint
)
RETURNS SETOF record
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
BEGIN
    PERFORM "medallion"."prune"();
{%- for prune in landed %}

    -- {{ prune.why }}
    "pruned_from" := {{ prune.label }};
    {{ prune.statement }}
    GET DIAGNOSTICS "pruned_rows" = ROW_COUNT;
    RETURN NEXT;
{%- endfor %}

    PERFORM set_config('medallion.prune', '', true);
END
$$;

REVOKE ALL ON FUNCTION "medallion"."fold_landed"(bigint, timestamptz) FROM PUBLIC;

-- Folds what is older than the policy keeps into one base row a key. It takes nothing from its caller: how far it
-- goes is the policy's, by the system time last applied. It runs as the owner, for the loader.
{%- for name in exempt %}
-- Kept whole, for others look it up at a time of their own, or what it looks up: {{ name }}.
{%- endfor %}
CREATE FUNCTION "medallion"."retain"(OUT "pruned_from" text, OUT "pruned_rows" bigint) RETURNS SETOF record
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    moved_to CONSTANT timestamptz := "medallion"."kept_since"();
    moved_from CONSTANT timestamptz := (SELECT horizon."time" FROM "medallion"."horizon");
    latest bigint;
BEGIN
    IF moved_to IS NULL OR moved_to <= moved_from THEN
        RETURN;
    END IF;

    latest := "medallion"."last_landed"(moved_to);
    -- Before the first change there is nothing to fold, and no question to refuse.
    IF moved_from IS NULL AND NOT EXISTS (
{%- for landing in landings %}
        {% if !loop.first %}UNION ALL
        {% endif -%}
        SELECT
        FROM {{ landing }}
        WHERE "lsn" <= latest
{%- endfor %}
    ) THEN
        RETURN;
    END IF;

    PERFORM "medallion"."backfill"();
{%- for prune in journals %}

    -- {{ prune.why }}
    "pruned_from" := {{ prune.label }};
    {{ prune.statement }}
    GET DIAGNOSTICS "pruned_rows" = ROW_COUNT;
    RETURN NEXT;
{%- endfor %}

    -- Where bronze stands in another database, it is folded there when this has committed.
    IF NOT EXISTS (SELECT FROM pg_foreign_server AS server WHERE server.srvname = 'medallion_bronze') THEN
        RETURN QUERY
        SELECT *
        FROM "medallion"."fold_landed"(latest, moved_to);
    END IF;
{%- for prune in ended %}

    -- {{ prune.why }}
    "pruned_from" := {{ prune.label }};
    {{ prune.statement }}
    GET DIAGNOSTICS "pruned_rows" = ROW_COUNT;
    RETURN NEXT;
{%- endfor %}

    INSERT INTO "medallion"."horizon" AS horizon ("time", "lsn")
    VALUES (moved_to, latest)
    ON CONFLICT ("id") DO UPDATE
    SET "time" = excluded."time", "lsn" = greatest(horizon."lsn", excluded."lsn");
END
$$;

REVOKE ALL ON FUNCTION "medallion"."retain"() FROM PUBLIC;

-- Folds bronze in a database of its own, up to the warehouse's horizon and no further than the policy goes. As often
-- as it is asked: what is folded is folded.
CREATE FUNCTION "medallion"."fold_apart"(
    "horizon_time" timestamptz,
    "horizon_lsn" bigint,
    OUT "pruned_from" text,
    OUT "pruned_rows" bigint
)
RETURNS SETOF record
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    moved_to CONSTANT timestamptz := least(horizon_time, "medallion"."kept_since"());
    latest bigint;
BEGIN
    IF horizon_time IS NULL OR horizon_lsn IS NULL OR "medallion"."kept_since"() IS NULL
        OR moved_to <= (SELECT horizon."time" FROM "medallion"."horizon") THEN
        RETURN;
    END IF;

    latest := least(horizon_lsn, "medallion"."last_landed"(moved_to));
    RETURN QUERY
    SELECT *
    FROM "medallion"."fold_landed"(latest, moved_to);
    INSERT INTO "medallion"."horizon" AS horizon ("time", "lsn")
    VALUES (moved_to, latest)
    ON CONFLICT ("id") DO UPDATE
    SET "time" = excluded."time", "lsn" = greatest(horizon."lsn", excluded."lsn");
END
$$;

REVOKE ALL ON FUNCTION "medallion"."fold_apart"(timestamptz, bigint) FROM PUBLIC;

-- Where what was pruned went: erasure looks there too.
CREATE FUNCTION "medallion"."pruned"() RETURNS TABLE ("pruned_from" regclass, "archive" regclass)
LANGUAGE sql
STABLE
BEGIN ATOMIC
{%- for table in archives %}
    {% if !loop.first %}UNION ALL
    {% endif %}SELECT {{ table.name_literal }}::regclass, {{ table.archive_literal }}::regclass
    {%- if loop.last %};{% endif %}
{%- endfor %}
{%- if archives.is_empty() %}
    SELECT NULL::regclass, NULL::regclass
    WHERE false;
{%- endif %}
END;

REVOKE ALL ON FUNCTION "medallion"."pruned"() FROM PUBLIC;
