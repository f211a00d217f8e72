-- What a database's tables are, as one JSON document in one line: columns with their innermost types, what tells rows
-- apart, what refers to what. PostgreSQL's own schemas and what extensions brought are none of it, nor are partitions.
WITH RECURSIVE relation AS (
    SELECT class.oid, space.nspname AS schema, class.relname AS name, class.relkind AS kind, class.relreplident AS identity,
        class.relpersistence AS persistence, obj_description(class.oid, 'pg_class') AS comment
    FROM pg_class AS class
    JOIN pg_namespace AS space ON space.oid = class.relnamespace
    WHERE class.relkind IN ('r', 'p', 'v', 'm', 'f')
    AND NOT class.relispartition
    AND space.nspname !~ '^pg_' AND space.nspname <> 'information_schema'
    AND NOT EXISTS (
        SELECT FROM pg_depend
        WHERE classid = 'pg_class'::regclass AND objid = class.oid AND deptype = 'e'
    )
), unwrapped AS (
    SELECT attribute.attrelid, attribute.attnum, attribute.atttypid AS type, attribute.atttypmod AS modifier,
        false AS is_array, attribute.attnotnull AS not_null, NULL::name AS domain, 0 AS depth
    FROM relation
    JOIN pg_attribute AS attribute
        ON attribute.attrelid = relation.oid AND attribute.attnum > 0 AND NOT attribute.attisdropped
    WHERE relation.kind IN ('r', 'p')
    UNION ALL
    SELECT outside.attrelid, outside.attnum,
        CASE type.typtype WHEN 'd' THEN type.typbasetype ELSE type.typelem END,
        CASE type.typtype WHEN 'd' THEN type.typtypmod ELSE outside.modifier END,
        outside.is_array OR type.typtype <> 'd',
        -- Of an element that is never null nothing follows for the array.
        outside.not_null OR (type.typtype = 'd' AND type.typnotnull AND NOT outside.is_array),
        coalesce(outside.domain, CASE type.typtype WHEN 'd' THEN type.typname END),
        outside.depth + 1
    FROM unwrapped AS outside
    JOIN pg_type AS type ON type.oid = outside.type
    WHERE type.typtype = 'd' OR type.typsubscript = 'array_subscript_handler'::regproc
), innermost AS (
    SELECT DISTINCT ON (attrelid, attnum) * FROM unwrapped ORDER BY attrelid, attnum, depth DESC
), columns AS (
    SELECT innermost.attrelid, json_agg(json_build_object(
        'name', attribute.attname,
        'type', type.typname,
        'type_schema', space.nspname,
        'type_kind', type.typtype,
        'shown', format_type(innermost.type, innermost.modifier),
        'is_array', innermost.is_array,
        'domain', innermost.domain,
        'not_null', innermost.not_null,
        'is_generated', attribute.attgenerated <> '',
        'labels', (SELECT coalesce(json_agg(enumlabel ORDER BY enumsortorder), '[]') FROM pg_enum WHERE enumtypid = type.oid),
        'becomes_json_by', (
            SELECT castfunc::regproc FROM pg_cast
            WHERE castsource = type.oid AND casttarget = 'json'::regtype AND castmethod = 'f' AND type.oid >= 16384
        ),
        'comment', col_description(attribute.attrelid, attribute.attnum)
    ) ORDER BY attribute.attnum) AS list
    FROM innermost
    JOIN pg_attribute AS attribute ON attribute.attrelid = innermost.attrelid AND attribute.attnum = innermost.attnum
    JOIN pg_type AS type ON type.oid = innermost.type
    JOIN pg_namespace AS space ON space.oid = type.typnamespace
    GROUP BY innermost.attrelid
), key AS (
    -- What no two rows share, never null, at any moment.
    SELECT index.indrelid, json_agg(json_build_object(
        'name', class.relname,
        'is_primary', index.indisprimary,
        'is_identity', index.indisreplident,
        'columns', (
            SELECT json_agg(attribute.attname ORDER BY part.place)
            FROM unnest(index.indkey::int2[]) WITH ORDINALITY AS part (attnum, place)
            JOIN pg_attribute AS attribute ON attribute.attrelid = index.indrelid AND attribute.attnum = part.attnum
            WHERE part.place <= index.indnkeyatts
        )
    ) ORDER BY index.indisprimary DESC, index.indnkeyatts, class.relname) AS list
    FROM pg_index AS index
    JOIN pg_class AS class ON class.oid = index.indexrelid
    WHERE index.indisunique AND index.indimmediate AND index.indisvalid
    AND index.indpred IS NULL AND index.indexprs IS NULL
    AND NOT EXISTS (
        SELECT FROM unnest(index.indkey::int2[]) AS part (attnum)
        JOIN pg_attribute AS attribute ON attribute.attrelid = index.indrelid AND attribute.attnum = part.attnum
        WHERE NOT attribute.attnotnull
    )
    GROUP BY index.indrelid
), reference AS (
    SELECT bound.conrelid, json_agg(json_build_object(
        'schema', relation.schema,
        'table', relation.name,
        'columns', (
            SELECT json_agg(json_build_array(own.attname, there.attname) ORDER BY pair.place)
            FROM unnest(bound.conkey, bound.confkey) WITH ORDINALITY AS pair (own, there, place)
            JOIN pg_attribute AS own ON own.attrelid = bound.conrelid AND own.attnum = pair.own
            JOIN pg_attribute AS there ON there.attrelid = bound.confrelid AND there.attnum = pair.there
        )
    ) ORDER BY bound.conname) AS list
    FROM pg_constraint AS bound
    JOIN relation ON relation.oid = bound.confrelid
    WHERE bound.contype = 'f'
    GROUP BY bound.conrelid
)
SELECT json_build_object(
    'database', current_database(),
    'relations', coalesce(json_agg(json_build_object(
        'schema', relation.schema,
        'name', relation.name,
        'kind', relation.kind,
        'is_logged', relation.persistence = 'p',
        'identity', relation.identity,
        'comment', relation.comment,
        'columns', coalesce(columns.list, '[]'),
        'keys', coalesce(key.list, '[]'),
        'references', coalesce(reference.list, '[]'),
        -- A table that is split by the time in one column.
        'split_by', (
            SELECT attribute.attname
            FROM pg_partitioned_table AS split
            JOIN pg_attribute AS attribute ON attribute.attrelid = split.partrelid AND attribute.attnum = split.partattrs[0]
            WHERE split.partrelid = relation.oid AND split.partstrat = 'r' AND split.partnatts = 1
        )
    ) ORDER BY relation.schema, relation.name), '[]')
)
FROM relation
LEFT JOIN columns ON columns.attrelid = relation.oid
LEFT JOIN key ON key.indrelid = relation.oid
LEFT JOIN reference ON reference.conrelid = relation.oid;
