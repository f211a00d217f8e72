{{ mark }}
{%- for object in objects %}

-- {{ object.title }}

{{ object.text }}
{%- endfor %}

-- From here on the warehouse is what its binary expects.

INSERT INTO "medallion"."warehouse" ("name", "objects_hash")
VALUES (
    {{ name }},
    {{ objects_hash }}
);
