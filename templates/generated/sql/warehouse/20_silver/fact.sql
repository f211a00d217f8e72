CREATE TABLE {{ table }} (
    {{ definitions.at(4) }},
    {{ snapshot }} timestamptz NOT NULL,
    CONSTRAINT {{ primary_key }} PRIMARY KEY ({{ partitioned_key }})
)
PARTITION BY RANGE ({{ partition_by }});

-- The others are made as rows need them.
CREATE TABLE {{ default_partition }}
    PARTITION OF {{ table }} DEFAULT;

-- What a row was before it changed or went, so that the past does not hang on bronze.
CREATE TABLE {{ archive }} (
    {{ definitions.at(4) }},
    {{ start }} timestamptz NOT NULL,
    {{ end }} timestamptz NOT NULL,
    CONSTRAINT {{ archive_primary_key }} PRIMARY KEY ({{ key }}, {{ start }}),
    CONSTRAINT {{ archive_period_check }} CHECK ({{ start }} < {{ end }})
);

CREATE TRIGGER "keep_history"
    BEFORE UPDATE OR DELETE ON {{ archive }}
    FOR EACH STATEMENT
    WHEN (NOT "medallion"."backfilling"())
    EXECUTE FUNCTION "medallion"."keep_history"();

CREATE TRIGGER "keep_history_truncate"
    BEFORE TRUNCATE ON {{ archive }}
    FOR EACH STATEMENT
    EXECUTE FUNCTION "medallion"."keep_history"();

ALTER TABLE {{ archive }}
    ENABLE ALWAYS TRIGGER "keep_history",
    ENABLE ALWAYS TRIGGER "keep_history_truncate";
{%- for lookup in lookups %}

-- A change of what `{{ lookup.alias }}` means finds the rows that read it.
CREATE INDEX {{ lookup.name }}
    ON {{ table }} ({{ lookup.columns }});
{%- endfor %}

CREATE VIEW {{ travel_view }} AS
SELECT
    {{ names.at(4) }},
    {{ snapshot }}
FROM {{ table }}
WHERE {{ snapshot }} <= (SELECT "medallion"."as_of_time"())
UNION ALL
SELECT
    {{ names.at(4) }},
    {{ start }} AS {{ snapshot }}
FROM {{ archive }}
WHERE {{ start }} <= (SELECT "medallion"."as_of_time"())
AND {{ end }} > (SELECT "medallion"."as_of_time"());
