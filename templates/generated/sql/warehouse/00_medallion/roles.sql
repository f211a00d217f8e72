-- Groups, for logins to be members of. A role is one for all databases of the server: it is made where it is
-- missing, and stays when the warehouse goes.
{%- for role in roles %}
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {{ role.literal }}) THEN
        CREATE ROLE {{ role.name }} NOLOGIN;
    END IF;
EXCEPTION
    -- Another database's migration was faster.
    WHEN duplicate_object OR unique_violation THEN NULL;
END
$$;
{% endfor %}
-- What another session has made meanwhile is known from the next lock on.
LOCK TABLE "medallion"."warehouse" IN SHARE MODE;
