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
    moved_to CONSTANT timestamptz := (
        SELECT date_trunc('day', max(mark."system_time") AT TIME ZONE {{ time_zone }} - interval {{ keep }})
            AT TIME ZONE {{ time_zone }}
        FROM "medallion"."watermark" AS mark
    );
    moved_from CONSTANT timestamptz := (SELECT horizon."time" FROM "medallion"."horizon");
    folded_to bigint := coalesce((SELECT horizon."lsn" FROM "medallion"."horizon"), -1);
    latest bigint;
BEGIN
    IF moved_to IS NULL OR moved_to <= moved_from THEN
        RETURN;
    END IF;

    -- The last position at or before the horizon: times rise with positions, so that the first change after
    -- it is found by reading what goes, and not what stays.
    SELECT min(after."lsn") - 1
    INTO latest
    FROM (
{%- for landing in landings %}
        {% if !loop.first %}UNION ALL
        {% endif -%}
        SELECT (
            SELECT change."lsn"
            FROM {{ landing }} AS change
            WHERE change."lsn" > folded_to
            AND change."commit_ts" > moved_to
            ORDER BY change."lsn"
            LIMIT 1
        )
{%- endfor %}
    ) AS after ("lsn");
    latest := coalesce(latest, (SELECT max("last_lsn") FROM "medallion"."source_position"));
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

    PERFORM "medallion"."prune"();
    PERFORM "medallion"."backfill"();
{%- for prune in prunes %}

    -- {{ prune.why }}
    "pruned_from" := {{ prune.label }};
    {{ prune.statement }}
    GET DIAGNOSTICS "pruned_rows" = ROW_COUNT;
    RETURN NEXT;
{%- endfor %}

    PERFORM set_config('medallion.prune', '', true);
    INSERT INTO "medallion"."horizon" AS horizon ("time", "lsn")
    VALUES (moved_to, latest)
    ON CONFLICT ("id") DO UPDATE
    SET "time" = excluded."time", "lsn" = greatest(horizon."lsn", excluded."lsn");
END
$$;

REVOKE ALL ON FUNCTION "medallion"."retain"() FROM PUBLIC;

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
