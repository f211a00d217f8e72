//! The publication at the source: looked at, with the SQL that helps where it does not do, and created where
//! it is absent and nothing has been captured. Tells the columns that it publishes. Knows no slot and no row.

use std::collections::BTreeMap;

use sqlx::Row as _;
use sqlx::postgres::PgConnection;

use super::RESNAPSHOT;
use super::preflight::{Before, Layout, Problems};
use crate::descriptor::Name;
use crate::error::{During as _, Error, Result};
use crate::{quote, statement};

/// From this release on a publication says whether it publishes stored generated columns. Where it does not,
/// the source lets no update of a table pass that has them and writes whole old rows to the log.
pub const TELLS_GENERATED: i32 = 180_000;

/// The published columns of each published table.
pub type Published = BTreeMap<Name, Vec<String>>;

/// Looks at the publication of these tables; gives the columns of all that it publishes, or nothing where it
/// is absent and can still be created.
pub(super) async fn look(
    source: &mut PgConnection,
    publication: &str,
    tables: &BTreeMap<Name, Layout>,
    before: &Before,
    version: i32,
    problems: &mut Problems,
) -> Result<Option<Published>> {
    let unasked = || format!("cannot ask the source for publication `{publication}`");
    let settings = sqlx::query(
        "SELECT
            pubinsert AND pubupdate AND pubdelete AND pubtruncate AS everything,
            pubviaroot AS by_root,
            coalesce(to_jsonb(publication) ->> 'pubgencols' = 'n', false) AND EXISTS (
                SELECT
                FROM unnest($2::text[], $3::text[]) AS asked (schema, name)
                JOIN pg_namespace AS space ON space.nspname = asked.schema
                JOIN pg_class AS relation
                    ON relation.relnamespace = space.oid AND relation.relname = asked.name
                JOIN pg_attribute AS attribute ON attribute.attrelid = relation.oid
                WHERE attribute.attgenerated = 's'
                AND NOT attribute.attisdropped
            ) AS stops_updates
        FROM pg_publication AS publication
        WHERE pubname = $1",
    )
    .bind(publication)
    .bind(tables.keys().map(|name| name.schema.as_str()).collect::<Vec<_>>())
    .bind(tables.keys().map(|name| name.table.as_str()).collect::<Vec<_>>())
    .fetch_optional(&mut *source)
    .await
    .during(unasked)?;

    let quoted = quote::identifier(publication);
    match settings {
        None if !before.goes_on() => return Ok(None),
        None => {
            problems.add(
                format!("publication `{publication}` is gone, and with it the changes since"),
                RESNAPSHOT,
            );
            return Ok(None);
        }
        Some(row) => {
            if !row.try_get::<bool, _>("everything").during(unasked)? {
                problems.add(
                    format!("publication `{publication}` leaves out some kinds of changes"),
                    format!("ALTER PUBLICATION {quoted} SET (publish = 'insert, update, delete, truncate');"),
                );
            }
            let partitioned = tables.values().any(|layout| *layout == Layout::Partitioned);
            if partitioned && !row.try_get::<bool, _>("by_root").during(unasked)? {
                problems.add(
                    format!("publication `{publication}` publishes partitions and not their table"),
                    format!("ALTER PUBLICATION {quoted} SET (publish_via_partition_root = true);"),
                );
            }
            if row.try_get::<bool, _>("stops_updates").during(unasked)? {
                problems.add(
                    format!("publication `{publication}` leaves out generated columns, which stops updates"),
                    format!("ALTER PUBLICATION {quoted} SET (publish_generated_columns = stored);"),
                );
            }
        }
    }

    let (published, filtered) = read(source, publication, version).await?;
    for (name, layout) in tables {
        // What joins is added.
        if !published.contains_key(name) && *before == Before::Nothing {
            problems.add(
                format!("publication `{publication}` lacks `{name}`"),
                format!("ALTER PUBLICATION {quoted} ADD TABLE {};", table(name, *layout)),
            );
        }
        if filtered.contains(name) {
            problems.add(
                format!("publication `{publication}` publishes only some rows of `{name}`"),
                format!(
                    "ALTER PUBLICATION {quoted} DROP TABLE {0}, ADD TABLE {0}; -- without a WHERE",
                    quote::name(name)
                ),
            );
        }
    }
    Ok(Some(published))
}

/// Creates the publication; gives the columns that it publishes.
pub async fn create(
    source: &mut PgConnection,
    publication: &str,
    tables: &BTreeMap<Name, Layout>,
    version: i32,
) -> Result<Published> {
    let sql = create_sql(publication, tables, version);
    if let Err(cause) =
        sqlx::query(sqlx::AssertSqlSafe(sql.as_str())).persistent(false).execute(&mut *source).await
    {
        return Err(Error::new(format!("cannot create publication `{publication}` at the source"))
            .because(cause)
            .remedy(format!("let the owner of the tables run: {sql};")));
    }
    let (published, _) = read(source, publication, version).await?;
    Ok(published)
}

/// Adds a table that joins what is captured already; says so where the role may not.
pub async fn add(
    source: &mut PgConnection,
    publication: &str,
    name: &Name,
    layout: Layout,
) -> Result<Option<String>> {
    let sql =
        format!("ALTER PUBLICATION {} ADD TABLE {}", quote::identifier(publication), table(name, layout));
    match alter(source, &sql).await? {
        None => Ok(None),
        // The others are not kept waiting.
        Some(error) if error.sqlstate().as_deref() == Some(INSUFFICIENT_PRIVILEGE) => Ok(Some(format!(
            "publication `{publication}` lacks `{name}`, and nothing of it lands: let the owner of both run: {sql};"
        ))),
        Some(error) => Err(error.within(format!("cannot add `{name}` to publication `{publication}`"))),
    }
}

/// Takes a table out whose changes nobody reads any more; says so where the role may not.
pub async fn remove(source: &mut PgConnection, publication: &str, name: &Name) -> Result<Option<String>> {
    let sql =
        format!("ALTER PUBLICATION {} DROP TABLE {}", quote::identifier(publication), quote::name(name));
    match alter(source, &sql).await? {
        None => Ok(None),
        Some(error) if error.sqlstate().as_deref() == Some(INSUFFICIENT_PRIVILEGE) => Ok(Some(format!(
            "publication `{publication}` still has `{name}`, whose changes nobody reads: let its owner run: {sql};"
        ))),
        // It publishes all tables, or those of a schema.
        Some(error) if matches!(error.sqlstate().as_deref(), Some("42704" | "55000")) => Ok(None),
        Some(error) => Err(error.within(format!("cannot take `{name}` out of publication `{publication}`"))),
    }
}

const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// Carries a statement out within the transaction, or leaves all as it was; gives what the source has against it.
async fn alter(source: &mut PgConnection, sql: &str) -> Result<Option<Error>> {
    statement::execute(source, "SAVEPOINT publication_stands").await?;
    match statement::execute(source, sql).await {
        Ok(_) => {
            statement::execute(source, "RELEASE SAVEPOINT publication_stands").await?;
            Ok(None)
        }
        Err(error) if error.sqlstate().is_some() => {
            statement::execute(source, "ROLLBACK TO SAVEPOINT publication_stands").await?;
            Ok(Some(error))
        }
        Err(error) => Err(error),
    }
}

/// The columns that it publishes, of each table.
pub async fn published(source: &mut PgConnection, publication: &str, version: i32) -> Result<Published> {
    Ok(read(source, publication, version).await?.0)
}

/// The statement that creates it.
pub fn create_sql(publication: &str, tables: &BTreeMap<Name, Layout>, version: i32) -> String {
    let generated = if version < TELLS_GENERATED { "" } else { ", publish_generated_columns = stored" };
    let listed: Vec<String> = tables.iter().map(|(name, layout)| table(name, *layout)).collect();
    format!(
        "CREATE PUBLICATION {} FOR TABLE {} WITH (publish_via_partition_root = true{generated})",
        quote::identifier(publication),
        listed.join(", ")
    )
}

fn table(name: &Name, layout: Layout) -> String {
    match layout {
        Layout::Plain => format!("ONLY {}", quote::name(name)),
        Layout::Partitioned => quote::name(name),
    }
}

/// The published columns, and the tables of which only some rows are published.
async fn read(source: &mut PgConnection, publication: &str, version: i32) -> Result<(Published, Vec<Name>)> {
    let unasked = || format!("cannot ask the source for the tables of publication `{publication}`");
    let generated = if version < TELLS_GENERATED { "AND attribute.attgenerated = ''" } else { "" };
    let sql = format!(
        "SELECT
            published.schemaname::text AS schema,
            published.tablename::text AS name,
            published.rowfilter IS NOT NULL AS filtered,
            array_agg(attribute.attname::text ORDER BY attribute.attnum) AS columns
        FROM pg_publication_tables AS published
        JOIN pg_namespace AS space ON space.nspname = published.schemaname
        JOIN pg_class AS relation
            ON relation.relnamespace = space.oid AND relation.relname = published.tablename
        JOIN pg_attribute AS attribute
            ON attribute.attrelid = relation.oid AND attribute.attname = ANY (published.attnames)
        WHERE published.pubname = $1 {generated}
        GROUP BY 1, 2, 3"
    );
    let rows =
        sqlx::query(sqlx::AssertSqlSafe(sql)).bind(publication).fetch_all(source).await.during(unasked)?;

    let mut published = Published::new();
    let mut filtered = Vec::new();
    for row in rows {
        let schema: String = row.try_get("schema").during(unasked)?;
        let table: String = row.try_get("name").during(unasked)?;
        let name = Name::new(schema, table);
        if row.try_get("filtered").during(unasked)? {
            filtered.push(name.clone());
        }
        published.insert(name, row.try_get("columns").during(unasked)?);
    }
    Ok((published, filtered))
}
