    WITH ranked AS (
        SELECT
            change."lsn",
            change."seq",
            change."op",
            change."commit_ts",
            row_number() OVER (
                PARTITION BY {{ key }}
                ORDER BY change."commit_ts" DESC, change."lsn" DESC, change."seq" DESC
            ) AS "place"
        FROM {{ name }} AS change
        WHERE change."lsn" <= latest
    ){% if archive.is_some() %}, gone AS ({% endif %}
    DELETE FROM {{ name }} AS change
    USING ranked
    WHERE change."lsn" = ranked."lsn"
    AND change."seq" = ranked."seq"
    AND (
        ranked."place" > 1
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
