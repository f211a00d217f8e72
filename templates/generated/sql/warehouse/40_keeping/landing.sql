    WITH ranked AS (
        SELECT
            change."lsn",
            change."seq",
            change."op",
            row_number() OVER (
                PARTITION BY {{ key }}
                ORDER BY change."lsn" DESC, change."seq" DESC
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
        OR (ranked."lsn", ranked."seq") < (
            SELECT emptied."lsn", emptied."seq"
            FROM ranked AS emptied
            WHERE emptied."op" = 'T'
            ORDER BY emptied."lsn" DESC, emptied."seq" DESC
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
