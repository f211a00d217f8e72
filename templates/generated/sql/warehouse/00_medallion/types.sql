{%- for kind in enums %}
CREATE TYPE {{ kind.name }} AS ENUM (
    {{ kind.values.at(4) }}
);
{% endfor %}
