-- What is current never shares a table with what has ended, and both are read by this name. A key has one
-- version that ends at a time: so it has one that is current, whose end is infinity.
CREATE TABLE {{ table }} (
    {{ definitions.at(4) }},
    {{ row_hash }} bytea NOT NULL,
    {{ start }} timestamptz NOT NULL,
    {{ end }} timestamptz NOT NULL DEFAULT 'infinity',
    CONSTRAINT {{ primary_key }} PRIMARY KEY ({{ key }}, {{ end }}),
    CONSTRAINT {{ period_check }} CHECK ({{ start }} < {{ end }})
)
PARTITION BY RANGE ({{ end }});

CREATE TABLE {{ current }}
    PARTITION OF {{ table }} FOR VALUES FROM ('infinity') TO (MAXVALUE);

CREATE TABLE {{ closed }}
    PARTITION OF {{ table }} FOR VALUES FROM (MINVALUE) TO ('infinity')
    PARTITION BY RANGE ({{ end }});

-- The others are made as versions end.
CREATE TABLE {{ closed_default }}
    PARTITION OF {{ closed }} DEFAULT;

-- Questions about all keys at a time, or about a stretch of it.
CREATE INDEX {{ period_index }}
    ON {{ closed }} USING brin ({{ start }}, {{ end }});
{%- for lookup in lookups %}

-- A change of what `{{ lookup.alias }}` means finds the current versions that read it.
CREATE INDEX {{ lookup.name }}
    ON {{ current }} ({{ lookup.columns }});
{%- endfor %}
{%- if let Some(versioning) = versioning %}

{{ versioning }}
{%- else %}

CREATE TRIGGER "keep_history"
    BEFORE UPDATE OR DELETE ON {{ table }}
    FOR EACH ROW
    WHEN (OLD.{{ end }} < 'infinity' AND NOT "medallion"."backfilling"())
    EXECUTE FUNCTION "medallion"."keep_history"();

ALTER TABLE {{ table }}
    ENABLE ALWAYS TRIGGER "keep_history";
{%- endif %}
{%- for table in emptied %}

CREATE TRIGGER "keep_history_truncate"
    BEFORE TRUNCATE ON {{ table }}
    FOR EACH STATEMENT
    EXECUTE FUNCTION "medallion"."keep_history"();
{%- endfor %}
{%- for table in emptied %}

ALTER TABLE ONLY {{ table }}
    ENABLE ALWAYS TRIGGER "keep_history_truncate";
{%- endfor %}
