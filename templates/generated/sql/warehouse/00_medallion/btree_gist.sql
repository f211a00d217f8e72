-- A dimension's overlaps are refused: its key is compared by GiST, which this extension teaches. Whoever may
-- create objects in the database may create it. Where it is there already it is used as it is.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'btree_gist') THEN
        RAISE EXCEPTION 'the server does not have the extension `btree_gist`, by which overlaps are refused'
            USING ERRCODE = 'feature_not_supported',
                HINT = 'install PostgreSQL''s contrib package; or take `overlaps = "refused"` out of the spec';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'btree_gist') THEN
        CREATE EXTENSION "btree_gist" WITH SCHEMA "medallion";
    END IF;
END
$$;
