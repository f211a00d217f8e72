//! Rows that stand in a scratch database while migrations run over them: what becomes of them is told by counting. Goes
//! by the columns of tables, for what a warehouse was before its last migration no spec says any more.

use std::collections::BTreeMap;

use super::Error;

/// Puts a row into each table that keeps rows of its own and has none: what landed, versions, events, journals, archives.
/// Text reads as a number, so that it can become one. Where a table takes no such row it stays empty.
pub(super) const SEED: &str = r#"
DO $$
DECLARE
    kept record;
BEGIN
    PERFORM set_config('medallion.landing', 'on', true);
    FOR kept IN
        SELECT
            relation.oid::regclass AS name,
            string_agg(quote_ident(attname), ', ' ORDER BY attnum) AS columns,
            string_agg(
                CASE
                    WHEN attname = 'op' OR attname = 'journal_op' THEN '''I'''
                    WHEN attname = 'full_row' THEN '''{}'''
                    WHEN typtype = 'e' THEN (
                        SELECT quote_literal(enumlabel) FROM pg_enum WHERE enumtypid = pg_type.oid ORDER BY enumsortorder LIMIT 1
                    )
                    WHEN typcategory = 'A' THEN '''{}'''
                    WHEN typcategory = 'D' THEN quote_literal(timestamptz '2024-01-01' + attnum * interval '1 day')
                    WHEN typcategory = 'T' THEN '''1 day'''
                    WHEN typcategory = 'B' THEN 'true'
                    WHEN typcategory IN ('N', 'S') THEN '''1'''
                    WHEN typname IN ('json', 'jsonb') THEN '''{}'''
                    WHEN typname = 'bytea' THEN '''\x00'''
                    WHEN typname = 'uuid' THEN '''00000000-0000-0000-0000-000000000001'''
                    ELSE 'NULL'
                END,
                ', ' ORDER BY attnum
            ) AS values
        FROM pg_class AS relation
        JOIN pg_attribute ON attrelid = relation.oid AND attnum > 0 AND NOT attisdropped
        JOIN pg_type ON pg_type.oid = atttypid
        WHERE relation.relkind IN ('r', 'p')
        AND NOT relation.relispartition
        AND relation.relnamespace::regnamespace::text !~ '^(pg_|information_schema)'
        AND attidentity = ''
        AND attgenerated = ''
        AND NOT atthasdef
        AND EXISTS (
            SELECT
            FROM pg_attribute AS own
            WHERE own.attrelid = relation.oid
            AND NOT own.attisdropped
            AND own.attname IN ('full_row', 'row_hash', 'journal_id', 'snapshot_ts', 'sys_start')
        )
        GROUP BY relation.oid
    LOOP
        BEGIN
            EXECUTE format(
                'INSERT INTO %s (%s) SELECT %s WHERE NOT EXISTS (SELECT FROM %1$s)',
                kept.name,
                kept.columns,
                kept.values
            );
        EXCEPTION
            WHEN OTHERS THEN
                NULL;
        END;
    END LOOP;
END
$$;
"#;

/// Every such table with the rows that it has: its number, how many, and its name as scripts write it.
pub(super) const COUNT: &str = r#"
SELECT format(
    'SELECT %s, count(*), %L FROM %s',
    relation.oid,
    format('"%s"."%s"', replace(nspname, '"', '""'), replace(relname, '"', '""')),
    relation.oid::regclass
)
FROM pg_class AS relation
JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE relkind IN ('r', 'p')
AND NOT relispartition
AND nspname !~ '^(pg_|information_schema)'
AND EXISTS (
    SELECT
    FROM pg_attribute
    WHERE attrelid = relation.oid
    AND NOT attisdropped
    AND attname IN ('full_row', 'row_hash', 'journal_id', 'snapshot_ts', 'sys_start')
)
\gexec
"#;

/// How many rows a table has, by its number and its name.
pub(super) type Rows = BTreeMap<u32, (u64, String)>;

/// Reads what the database has answered.
pub(super) fn read(answer: &str) -> Result<Rows, Error> {
    let parsed = answer.lines().filter(|line| !line.is_empty()).map(|line| {
        let mut parts = line.splitn(3, '|');
        let number = parts.next()?.parse().ok()?;
        let count = parts.next()?.parse().ok()?;
        Some((number, (count, parts.next()?.to_owned())))
    });
    parsed.collect::<Option<Rows>>().ok_or_else(|| {
        Error::new(format!("the scratch server counts in another way: {answer}"), "report it, with the spec")
    })
}

/// The tables that have lost rows in a migration which does not say so.
pub(super) fn lost(before: &Rows, after: &Rows, up: &str) -> Vec<String> {
    let held = before.iter().filter(|(_, (count, _))| *count > 0);
    held.filter(|(number, (count, name))| match after.get(number) {
        Some((now, _)) => now < count,
        None => {
            let again = after.values().find(|(_, other)| other == name);
            match again {
                // Made anew, and filled by the next run.
                Some((now, _)) => now < count && !up.contains("INSERT INTO \"medallion\".\"recompute\""),
                None => !(up.contains("-- Hazard, data loss") && up.contains(&format!("DROP TABLE {name};"))),
            }
        }
    })
    .map(|(_, (_, name))| name.clone())
    .collect()
}
