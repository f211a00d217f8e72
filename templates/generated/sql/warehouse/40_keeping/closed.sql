{%- if archive.is_some() %}    WITH gone AS (
    {% else %}    {% endif %}DELETE FROM {{ name }} AS closed
    WHERE closed.{{ end }} <= moved_to
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
