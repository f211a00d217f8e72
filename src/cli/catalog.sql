-- What a database holds, a line an object, in an order of its own. The order of a table's columns is none of it:
-- what is written as a star unfolds in that order, so that the lines of a function are compared sorted.
SET search_path = '';
WITH own AS (
    SELECT oid, nspname FROM pg_namespace
    WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'public')
), object AS (
    SELECT 'schema ' || nspname AS said, obj_description(own.oid, 'pg_namespace') AS comment,
        (SELECT string_agg(one::text, ' ' ORDER BY one::text) FROM pg_namespace AS space, unnest(coalesce(nspacl, acldefault('n', nspowner))) AS one WHERE space.oid = own.oid) AS acl
    FROM own
    UNION ALL
    SELECT concat_ws(' ', 'relation', c.oid::regclass, c.relkind, c.relpersistence, c.reloptions,
        pg_get_partkeydef(c.oid), pg_get_expr(c.relpartbound, c.oid),
        CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END),
        obj_description(c.oid, 'pg_class'),
        (SELECT string_agg(one::text, ' ' ORDER BY one::text) FROM unnest(coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's'::"char" ELSE 'r' END, c.relowner))) AS one)
    FROM pg_class AS c JOIN own ON own.oid = c.relnamespace
    WHERE c.relkind <> 'i' AND c.relkind <> 'I'
    UNION ALL
    SELECT concat_ws(' ', 'column', c.oid::regclass, a.attname, format_type(a.atttypid, a.atttypmod),
        CASE WHEN a.attnotnull THEN 'not null' END, pg_get_expr(d.adbin, d.adrelid), a.attidentity,
        a.attgenerated, CASE WHEN c.relkind IN ('v', 'm') THEN a.attnum END),
        col_description(c.oid, a.attnum), a.attacl::text
    FROM pg_class AS c JOIN own ON own.oid = c.relnamespace
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE c.relkind <> 'i' AND c.relkind <> 'I'
    UNION ALL
    SELECT concat_ws(' ', 'index', pg_get_indexdef(i.indexrelid)), obj_description(i.indexrelid, 'pg_class'), NULL
    FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indrelid JOIN own ON own.oid = c.relnamespace
    UNION ALL
    SELECT concat_ws(' ', 'constraint', t.conrelid::regclass, t.conname, pg_get_constraintdef(t.oid)), NULL, NULL
    FROM pg_constraint AS t JOIN own ON own.oid = t.connamespace
    -- A NOT NULL is told of its column; the name that PostgreSQL 18 gives it follows no rename.
    WHERE t.contype <> 'n'
    UNION ALL
    SELECT concat_ws(' ', 'trigger', pg_get_triggerdef(t.oid), t.tgenabled), NULL, NULL
    FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid JOIN own ON own.oid = c.relnamespace
    WHERE NOT t.tgisinternal
    UNION ALL
    SELECT 'function ' || (
        SELECT string_agg(trim(trailing ',' FROM trim(line)), E'\n' ORDER BY trim(trailing ',' FROM trim(line)) COLLATE pg_catalog."C")
        FROM regexp_split_to_table(replace(pg_get_functiondef(p.oid), 'SELECT ', E'SELECT\n'), E'\n') AS line
    ), obj_description(p.oid, 'pg_proc'), (SELECT string_agg(one::text, ' ' ORDER BY one::text) FROM unnest(coalesce(p.proacl, acldefault('f', p.proowner))) AS one)
    FROM pg_proc AS p JOIN own ON own.oid = p.pronamespace
    -- An extension that was made once stays, for others may use it.
    WHERE NOT EXISTS (SELECT FROM pg_depend AS member WHERE member.classid = 'pg_proc'::regclass AND member.objid = p.oid AND member.deptype = 'e')
    UNION ALL
    SELECT concat_ws(' ', 'type', t.oid::regtype, (SELECT string_agg(quote_literal(enumlabel), ' ' ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = t.oid)),
        obj_description(t.oid, 'pg_type'), t.typacl::text
    FROM pg_type AS t JOIN own ON own.oid = t.typnamespace
    WHERE t.typtype = 'e'
)
SELECT concat_ws(' -- ', said, comment, acl) FROM object ORDER BY said COLLATE pg_catalog."C";
