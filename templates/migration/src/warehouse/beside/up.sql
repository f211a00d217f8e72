{{ mark }}

-- Beside those who read and write: each statement by itself, in no transaction. What was broken off is begun anew.
{%- for section in sections %}

-- {{ section.title }}
{%- for (course, text) in section.statements %}

{{ course }}
{{ text }}
{%- endfor %}
{%- endfor %}
{%- if let Some(objects_hash) = objects_hash %}

-- From here on the warehouse is what its binary expects.

-- By itself:
UPDATE "medallion"."warehouse"
SET
    "objects_hash" = {{ objects_hash }},
    "migrated_at" = now();
{%- endif %}
