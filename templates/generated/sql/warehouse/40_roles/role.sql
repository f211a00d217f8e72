-- {{ purpose }}.
GRANT USAGE ON SCHEMA
    {{ schemas.at(4) }}
TO {{ role }};

-- What is compared or asked is put together in temporary tables.
DO $$
BEGIN
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO %I', current_database(), {{ role_literal }});
END
$$;
{%- for grant in grants %}

-- {{ grant.why }}
GRANT {{ grant.privileges }} ON{{ grant.kind }}
    {{ grant.objects.at(4) }}
TO {{ role }};
{%- endfor %}
