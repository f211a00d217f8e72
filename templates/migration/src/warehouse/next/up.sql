{{ mark }}
{%- if !hazards.is_empty() %}

-- Hazards, named again where they are met:
{%- for hazard in hazards %}
--   {{ hazard }}
{%- endfor %}
{%- endif %}
{%- if !held.is_empty() %}

-- Locks, held until it is committed:
{%- for lock in held %}
--   {{ lock }}
{%- endfor %}
{%- endif %}
{%- for section in sections %}

-- {{ section.title }}
{%- for step in section.steps %}
{{- step.before }}
{%- for hazard in step.hazards %}
-- Hazard, {{ hazard }}.
{%- endfor %}
{{ step.text }}
{%- endfor %}
{%- endfor %}

-- From here on the warehouse is what its binary expects.

UPDATE "medallion"."warehouse"
SET
    "objects_hash" = {{ objects_hash }},
    "migrated_at" = now();
