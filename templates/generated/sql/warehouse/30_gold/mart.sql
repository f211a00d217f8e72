{%- match storage -%}
{%- when Kept::Not -%}
CREATE VIEW {{ name }} AS
{{ definition }};
{%- when Kept::Materialized -%}
CREATE MATERIALIZED VIEW {{ name }} AS
{{ definition }};

CREATE UNIQUE INDEX {{ grain_index }}
    ON {{ name }} ({{ grain }}){{ nulls }};
{%- if let Some((index, columns)) = order %}

CREATE INDEX {{ index }}
    ON {{ name }} ({{ columns }});
{%- endif %}
{%- when Kept::Table -%}
CREATE TABLE {{ name }} (
    {{ columns.at(4) }},
    CONSTRAINT {{ grain_index }} {{ constraint }} ({{ grain }})
);
{%- if let Some((index, columns)) = order %}

CREATE INDEX {{ index }}
    ON {{ name }} ({{ columns }});
{%- endif %}
{%- if let Some((view, query)) = groups %}

-- Its groups: a refresh recomputes from here those that changed, where it cannot add the difference.
CREATE VIEW {{ view }} AS
{{ query }};

-- What the table holds: what is made of the groups.
{%- else %}

-- What the table holds: a refresh recomputes from here the units that changed.
{%- endif %}
CREATE VIEW {{ definition_view }} AS
{{ definition }};
{%- for index in indexes %}

-- A change finds the rows of its group.
CREATE INDEX {{ index.name }}
    ON {{ index.table }} (
        {{ index.columns.at(8) }}
    );
{%- endfor %}
{%- endmatch %}

CREATE VIEW {{ travel_view }} AS
{{ travel_definition }};
