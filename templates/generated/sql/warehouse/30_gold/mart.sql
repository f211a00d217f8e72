{%- match storage -%}
{%- when Kept::Not -%}
CREATE VIEW {{ name }} AS
{{ definition }};
{%- when Kept::Materialized -%}
CREATE MATERIALIZED VIEW {{ name }} AS
{{ definition }};

CREATE UNIQUE INDEX {{ grain_index }}
    ON {{ name }} ({{ grain }}){{ nulls }};
{%- when Kept::Table -%}
CREATE TABLE {{ name }} (
    {{ columns.at(4) }},
    CONSTRAINT {{ grain_index }} {{ constraint }} ({{ grain }})
);

-- What the table holds: a refresh recomputes from here the units that changed.
CREATE VIEW {{ definition_view }} AS
{{ definition }};
{%- endmatch %}

CREATE VIEW {{ travel_view }} AS
{{ travel_definition }};
