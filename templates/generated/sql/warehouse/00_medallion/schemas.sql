{%- for schema in schemas -%}
CREATE SCHEMA IF NOT EXISTS {{ schema }};
{% endfor %}
