    WITH ranked AS (
        SELECT
            entry."journal_id",
            entry.{{ start }},
            {{ entry_key.at(12) }},
            row_number() OVER (
                PARTITION BY {{ entry_keys }}
                ORDER BY entry.{{ start }} DESC, entry."journal_id" DESC
            ) AS m$place
        FROM {{ name }} AS entry
        WHERE entry.{{ start }} <= moved_to
    ), changed AS (
        SELECT
            {{ change_key.at(12) }},
            max(change."commit_ts") AS m$time
        FROM {{ feed }} AS change
        WHERE change."lsn" <= latest
        AND change."commit_ts" <= moved_to
        AND change."op" <> 'T'
{%- if let Some(relation) = leaves_out %}
        AND NOT EXISTS (
            SELECT
            FROM "medallion"."misfit" AS misfit
            WHERE misfit."relation" = {{ relation }}
            AND misfit."lsn" = change."lsn"
            AND misfit."seq" = change."seq"
        )
{%- endif %}
        GROUP BY {{ positions }}
    ), emptied AS (
        SELECT max(change."commit_ts") AS m$time
        FROM {{ feed }} AS change
        WHERE change."lsn" <= latest
        AND change."commit_ts" <= moved_to
        AND change."op" = 'T'
    ){% if archive.is_some() %}, gone AS ({% endif %}
    DELETE FROM {{ name }} AS entry
    USING emptied, ranked
    LEFT JOIN changed USING ({{ key }})
    WHERE entry."journal_id" = ranked."journal_id"
    AND (
        ranked.m$place > 1
        OR changed.m$time > ranked.{{ start }}
        OR emptied.m$time > ranked.{{ start }}
    )
{%- if let Some(archive) = archive %}
    RETURNING
        {{ returned.at(8) }}
    )
    INSERT INTO {{ archive }} (
        {{ columns.at(8) }}
    )
    SELECT
        {{ gone.at(8) }}
    FROM gone
{%- endif %};
