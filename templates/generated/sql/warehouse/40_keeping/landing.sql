    WITH ranked AS (
        SELECT
            change."lsn",
            change."seq",
            change."op",
            change."commit_ts",
{%- if leaves_out %}
            -- What a relation leaves out takes nothing's place there.
            count(*) FILTER (WHERE misfit."lsn" IS NULL) OVER (
                PARTITION BY {{ key }}
                ORDER BY change."commit_ts" DESC, change."lsn" DESC, change."seq" DESC
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            ) AS "later"
        FROM {{ name }} AS change
        LEFT JOIN (
            SELECT DISTINCT "lsn", "seq"
            FROM "medallion"."misfit"
            WHERE "landing" = {{ label }}
        ) AS misfit ON misfit."lsn" = change."lsn" AND misfit."seq" = change."seq"
{%- else %}
            row_number() OVER (
                PARTITION BY {{ key }}
                ORDER BY change."commit_ts" DESC, change."lsn" DESC, change."seq" DESC
            ) AS "place"
        FROM {{ name }} AS change
{%- endif %}
        WHERE change."lsn" <= latest
        AND change."commit_ts" <= moved_to
    ){% if archive.is_some() %}, gone AS ({% endif %}
    DELETE FROM {{ name }} AS change
    USING ranked
    WHERE change."lsn" = ranked."lsn"
    AND change."seq" = ranked."seq"
    AND (
        {% if leaves_out %}ranked."later" > 0{% else %}ranked."place" > 1{% endif %}
        OR ranked."op" IN ('D', 'T')
        OR (ranked."commit_ts", ranked."lsn", ranked."seq") < (
            SELECT emptied."commit_ts", emptied."lsn", emptied."seq"
            FROM ranked AS emptied
            WHERE emptied."op" = 'T'
            ORDER BY emptied."commit_ts" DESC, emptied."lsn" DESC, emptied."seq" DESC
            LIMIT 1
        )
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
