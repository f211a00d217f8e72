{% if let Some(apart) = apart -%}
{{ apart }}
{%- else -%}
CREATE TABLE {{ table }} (
    {{ definitions.at(4) }},
    {{ row_hash }} bytea NOT NULL,
    {{ start }} timestamptz NOT NULL,
    {{ end }} timestamptz NOT NULL DEFAULT 'infinity',
    CONSTRAINT {{ primary_key }} PRIMARY KEY ({{ key }}, {{ start }}) WITH (deduplicate_items = off),
    CONSTRAINT {{ period_check }} CHECK ({{ start }} < {{ end }})
{%- if let Some(no_overlap) = no_overlap %},
    CONSTRAINT {{ no_overlap.name }} EXCLUDE USING gist (
        {{ no_overlap.elements.at(8) }}
    )
{%- endif %}
)
WITH (fillfactor = 85);

-- One current version a key. What stands twice here is a version and what it was before an update: room for
-- that costs less than joining the two.
CREATE UNIQUE INDEX {{ current_index }}
    ON {{ table }} ({{ key }})
    WITH (deduplicate_items = off, fillfactor = 50)
    WHERE {{ end }} = 'infinity';
{%- if let Some(period_index) = period_index %}

-- Questions about all keys at a time, or about a stretch of it.
CREATE INDEX {{ period_index }}
    ON {{ table }} USING brin ({{ start }}, {{ end }});
{%- endif %}
{%- for lookup in lookups %}

-- A change of what `{{ lookup.alias }}` means finds the current versions that read it.
CREATE INDEX {{ lookup.name }}
    ON {{ table }} ({{ lookup.columns }})
    WHERE {{ end }} = 'infinity';
{%- endfor %}
{%- if let Some((index, column)) = surrogate %}

-- A version is found by its number.
CREATE UNIQUE INDEX {{ index }}
    ON {{ table }} ({{ column }});
{%- endif %}
{%- if let Some(versioning) = versioning %}

{{ versioning }}
{%- else %}

CREATE TRIGGER "keep_history"
    BEFORE UPDATE OR DELETE ON {{ table }}
    FOR EACH ROW
    WHEN (OLD.{{ end }} < 'infinity' AND NOT "medallion"."backfilling"())
    EXECUTE FUNCTION "medallion"."keep_history"();

CREATE TRIGGER "keep_history_truncate"
    BEFORE TRUNCATE ON {{ table }}
    FOR EACH STATEMENT
    EXECUTE FUNCTION "medallion"."keep_history"();

ALTER TABLE {{ table }}
    ENABLE ALWAYS TRIGGER "keep_history",
    ENABLE ALWAYS TRIGGER "keep_history_truncate";
{%- endif %}
{%- endif %}

CREATE VIEW {{ current_view }} AS
SELECT
    {{ shown.at(4) }},
    {{ start }}
FROM {{ table }}
WHERE {{ end }} = 'infinity';

-- The planner inlines it, which STRICT, SECURITY DEFINER or SET would prevent. Infinity means now: the
-- last finite time lies within the current versions, whose end is infinity.
CREATE FUNCTION {{ function }}("at" timestamptz)
RETURNS SETOF {{ current_view }}
LANGUAGE sql
STABLE
PARALLEL SAFE
BEGIN ATOMIC
    SELECT
        {{ shown.at(8) }},
        {{ start }}
    FROM {{ table }}
    WHERE {{ start }} <= $1
    AND {{ end }} > LEAST($1, '294276-12-31 23:59:59.999999+00'::timestamptz)
    AND "medallion"."since_horizon"($1);
END;

CREATE VIEW {{ travel_view }} AS
SELECT
    {{ shown.at(4) }},
    {{ start }}
FROM {{ table }}
WHERE {{ start }} <= (SELECT "medallion"."as_of_time"())
AND {{ end }} > (SELECT "medallion"."as_of_time"());

-- A version that ended later was, then, the current one.
CREATE VIEW {{ travel_history }} AS
SELECT
    {{ names.at(4) }},
    {{ row_hash }},
    {{ start }},
    CASE
        WHEN {{ end }} > (SELECT "medallion"."as_of_time"()) THEN 'infinity'::timestamptz
        ELSE {{ end }}
    END AS {{ end }}
FROM {{ table }}
WHERE {{ start }} <= (SELECT "medallion"."as_of_time"());
{%- if let Some(asking) = asking %}

{{ asking }}
{%- endif %}
