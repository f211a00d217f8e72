-- One key at one time, whatever the number of its versions: {{ as_of_one.says }}.
CREATE FUNCTION {{ as_of }}({{ as_of_parameters }})
RETURNS SETOF {{ current_view }}
LANGUAGE sql
STABLE
PARALLEL SAFE
BEGIN ATOMIC
    SELECT
        {{ shown.at(8) }},
        {{ start }}
    FROM (
        SELECT *
        FROM {{ table }}
        WHERE {{ as_of_key }}
        AND {{ as_of_one.bound }}
        ORDER BY {{ as_of_one.order }}
        LIMIT 1
    ) AS "version"
    WHERE {{ as_of_one.rest }}
    AND "medallion"."since_horizon"($1);
END;

CREATE FUNCTION {{ between }}("from" timestamptz, "to" timestamptz)
RETURNS SETOF {{ travel_history }}
LANGUAGE sql
STABLE
PARALLEL SAFE
BEGIN ATOMIC
    SELECT
        {{ names.at(8) }},
        {{ row_hash }},
        {{ start }},
        {{ end }}
    FROM {{ table }}
    WHERE {{ start }} <= $2
    AND {{ end }} > LEAST($1, '294276-12-31 23:59:59.999999+00'::timestamptz)
    AND $1 <= $2
    AND "medallion"."since_horizon"($1);
END;

CREATE FUNCTION {{ history }}({{ history_parameters }})
RETURNS SETOF {{ travel_history }}
LANGUAGE sql
STABLE
PARALLEL SAFE
BEGIN ATOMIC
    SELECT
        {{ names.at(8) }},
        {{ row_hash }},
        {{ start }},
        {{ end }}
    FROM {{ table }}
    WHERE {{ history_key }}
    ORDER BY {{ start }};
END;

-- What ended meets what began at the same time: an update. An insert and a delete tell every column, an
-- update those whose images differ: 1.0 is not 1.00.
CREATE FUNCTION {{ changes }}({{ changes_parameters }})
RETURNS TABLE (
    {{ changes_columns.at(4) }}
)
LANGUAGE sql
STABLE
PARALLEL SAFE
BEGIN ATOMIC
    SELECT
        {{ either_key.at(8) }},
        COALESCE("before".{{ end }}, "after".{{ start }}),
        CASE
            WHEN "before".{{ end }} IS NULL THEN 'insert'
            WHEN "after".{{ start }} IS NULL THEN 'delete'
            ELSE 'update'
        END,
        "changed"."column",
        "changed"."old",
        "changed"."new"
    FROM (
        SELECT *
        FROM {{ table }}
        WHERE {{ end }} > $1
        AND {{ end }} <= $2
        AND {{ end }} < 'infinity'
    ) AS "before"
    FULL JOIN (
        SELECT *
        FROM {{ table }}
        WHERE {{ start }} > $1
        AND {{ start }} <= $2
    ) AS "after"
        ON {{ same_key }}
        AND "before".{{ end }} = "after".{{ start }}
    CROSS JOIN LATERAL (
        VALUES
            {{ attributes.at(12) }}
    ) AS "changed" ("column", "old", "new", "differs")
    WHERE (
        "changed"."differs"
        OR "before".{{ end }} IS NULL
        OR "after".{{ start }} IS NULL
    )
    AND "medallion"."since_horizon"($1);
END;
