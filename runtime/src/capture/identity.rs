//! Whether what the source writes of old rows finds their versions before: an update or a delete has to tell
//! the key that its landing table goes by. Asks the catalog; reads no row.

use std::collections::BTreeMap;

use sqlx::Row as _;
use sqlx::postgres::{PgConnection, PgRow};

use super::preflight::Problems;
use crate::descriptor::{Landing, Name};
use crate::error::{During as _, Result};
use crate::quote;

/// What is written of a table's old rows.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Written {
    /// All of them.
    Whole,
    /// These columns.
    Columns(Vec<String>),
    /// Nothing: the source refuses updates and deletes as long as it publishes them.
    Nothing,
}

/// A table whose rows are logged: a captured one, or a partition of it.
struct Logged {
    name: Name,
    root: Name,
    written: Written,
    /// Generated columns that are not stored (PostgreSQL 18).
    computed: Vec<String>,
}

/// Looks for tables whose old rows cannot be told by their key. A partition does not inherit its table's
/// replica identity, and has to keep to it as far as the stream relies on it.
pub async fn check(source: &mut PgConnection, landings: &[Landing], problems: &mut Problems) -> Result<()> {
    let logged = read(source, landings).await?;
    let roots: BTreeMap<&Name, &Written> = logged
        .iter()
        .filter(|table| table.name == table.root)
        .map(|table| (&table.root, &table.written))
        .collect();
    for landing in landings {
        for table in logged.iter().filter(|table| table.root == landing.source) {
            if let Some((what, remedy)) = unpublishable(table) {
                problems.add(what, remedy);
            }
            let root = roots.get(&table.root).copied().unwrap_or(&table.written);
            if let Some(what) = misfit(landing, table, root) {
                problems
                    .add(what, format!("ALTER TABLE {} REPLICA IDENTITY FULL;", quote::name(&table.name)));
            }
        }
    }
    Ok(())
}

/// Whole rows that hold columns which are not stored cannot be published: the source would refuse updates.
fn unpublishable(table: &Logged) -> Option<(String, String)> {
    if table.written != Written::Whole || table.computed.is_empty() {
        return None;
    }
    let drops: Vec<String> =
        table.computed.iter().map(|column| format!("DROP COLUMN {}", quote::identifier(column))).collect();
    Some((
        format!(
            "`{}` has generated columns that are not stored, and published it takes no update",
            table.name
        ),
        format!("ALTER TABLE {} {}; -- or have them STORED", quote::name(&table.name), drops.join(", ")),
    ))
}

fn misfit(landing: &Landing, table: &Logged, root: &Written) -> Option<String> {
    let name = &table.name;
    let columns = match &table.written {
        Written::Whole => return None,
        Written::Nothing => {
            return Some(format!(
                "`{name}` writes nothing of old rows to the log, so that it takes no update or delete once it is published"
            ));
        }
        Written::Columns(columns) => columns,
    };
    let shown = |columns: &[String]| {
        let quoted: Vec<String> = columns.iter().map(|column| format!("`{column}`")).collect();
        quoted.join(", ")
    };
    if landing.key.iter().any(|key| !columns.contains(key)) {
        return Some(format!(
            "`{name}` writes only {} of old rows to the log, and the key of `{}` is {}",
            shown(columns),
            landing.table,
            shown(&landing.key)
        ));
    }
    // Old rows of a table with full identity are taken for whole unless all but the key is null.
    if *root == Written::Whole && columns.iter().any(|column| !landing.key.contains(column)) {
        return Some(format!(
            "`{name}` writes only {} of old rows to the log, and `{}`, whose partition it is, says whole rows",
            shown(columns),
            table.root
        ));
    }
    None
}

async fn read(source: &mut PgConnection, landings: &[Landing]) -> Result<Vec<Logged>> {
    let unasked = || "cannot ask the source for replica identities".to_owned();
    let mut names: Vec<&Name> = landings.iter().map(|landing| &landing.source).collect();
    names.sort();
    names.dedup();
    let (schemas, tables): (Vec<&str>, Vec<&str>) =
        names.iter().map(|name| (name.schema.as_str(), name.table.as_str())).unzip();
    let rows = sqlx::query(
        "WITH asked AS (
            SELECT relation.oid, asked.schema, asked.name
            FROM unnest($1::text[], $2::text[]) AS asked (schema, name)
            JOIN pg_namespace AS space ON space.nspname = asked.schema
            JOIN pg_class AS relation
                ON relation.relnamespace = space.oid AND relation.relname = asked.name
        ),
        logged AS (
            SELECT oid, schema, name FROM asked
            UNION
            SELECT tree.relid, schema, name
            FROM asked, pg_partition_tree(asked.oid) AS tree
            WHERE tree.isleaf
        )
        SELECT
            space.nspname::text AS schema,
            relation.relname::text AS name,
            logged.schema AS root_schema,
            logged.name AS root_name,
            relation.relreplident::text AS identity,
            (
                SELECT array_agg(attribute.attname::text ORDER BY attribute.attnum)
                FROM pg_index AS index
                JOIN pg_attribute AS attribute
                    ON attribute.attrelid = index.indrelid AND attribute.attnum = ANY (index.indkey)
                WHERE index.indrelid = relation.oid
                AND index.indisvalid
                AND index.indimmediate
                AND CASE relation.relreplident
                    WHEN 'd' THEN index.indisprimary
                    WHEN 'i' THEN index.indisreplident
                    ELSE false
                END
            ) AS columns,
            ARRAY (
                SELECT attribute.attname::text
                FROM pg_attribute AS attribute
                WHERE attribute.attrelid = relation.oid
                AND attribute.attgenerated = 'v'
                AND NOT attribute.attisdropped
                ORDER BY attribute.attnum
            ) AS computed
        FROM logged
        JOIN pg_class AS relation ON relation.oid = logged.oid
        JOIN pg_namespace AS space ON space.oid = relation.relnamespace
        ORDER BY 1, 2",
    )
    .bind(schemas)
    .bind(tables)
    .fetch_all(source)
    .await
    .during(unasked)?;
    rows.iter().map(|row| logged(row).during(unasked)).collect()
}

fn logged(row: &PgRow) -> Result<Logged, sqlx::Error> {
    let identity: String = row.try_get("identity")?;
    let columns: Option<Vec<String>> = row.try_get("columns")?;
    let written = match (identity.as_str(), columns) {
        ("f", _) => Written::Whole,
        (_, Some(columns)) => Written::Columns(columns),
        (_, None) => Written::Nothing,
    };
    Ok(Logged {
        name: Name::new(row.try_get::<String, _>("schema")?, row.try_get::<String, _>("name")?),
        root: Name::new(row.try_get::<String, _>("root_schema")?, row.try_get::<String, _>("root_name")?),
        written,
        computed: row.try_get("computed")?,
    })
}
