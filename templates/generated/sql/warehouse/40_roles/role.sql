-- {{ purpose }}.
GRANT USAGE ON SCHEMA
    {{ schemas.at(4) }}
TO {{ role }};
{%- for grant in grants %}

-- {{ grant.why }}
GRANT {{ grant.privileges }} ON{{ grant.kind }}
    {{ grant.objects.at(4) }}
TO {{ role }};
{%- endfor %}
