-- What everybody may find, and what is for those to whom it is granted by name. It stands beside each function as well;
-- a restore on a server without the roles loses it there, and this page, run again, brings it back.
GRANT USAGE ON SCHEMA "medallion" TO PUBLIC;

REVOKE ALL ON FUNCTION
    {{ functions.at(4) }}
FROM PUBLIC;
