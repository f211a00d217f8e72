//! The tables of a polled source, as its catalog has them: their columns, the types by which pages are compared, the
//! index that finds a page. Reads no row.

use sqlx::Row as _;
use sqlx::postgres::{PgConnection, PgRow};

use super::super::position::SystemTime;
use super::super::preflight::{Layout, Problems, Site, SourceTable};
use super::super::standing::{Identity, Standing};
use crate::descriptor::{Deletes, Landing, Name, Warehouse};
use crate::error::{During as _, Error, Result};
use crate::quote;

/// A polled table.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its landing table's place in the list.
    pub at: usize,
    /// Its name.
    pub name: Name,
    /// Its OID.
    pub oid: i64,
    /// All its columns.
    pub columns: Vec<String>,
    /// The columns that identify a row.
    pub key: Vec<KeyColumn>,
    /// The time of change.
    pub watermark: Watermark,
    /// What becomes of rows that are gone.
    pub deletes: Deletes,
    /// Whether rows without a time of change can be there, which are never read.
    pub is_nullable: bool,
    /// Whether an index begins with the time of change.
    pub is_indexed: bool,
}

/// A column of a key.
#[derive(Clone, Debug)]
pub struct KeyColumn {
    /// Its name.
    pub name: String,
    /// Its type, as SQL names it.
    pub sql_type: String,
}

/// The column that tells when a row was changed.
#[derive(Clone, Debug)]
pub struct Watermark {
    /// Its name.
    pub column: String,
    /// The zone that it is taken to be in, where it says none.
    pub zone: Option<String>,
}

impl Watermark {
    /// Its type.
    pub fn sql_type(&self) -> &'static str {
        if self.zone.is_some() { "timestamp" } else { "timestamptz" }
    }

    /// Its value, an expression, as a time.
    pub fn as_time(&self, value: &str) -> String {
        match &self.zone {
            Some(zone) => format!("({value} AT TIME ZONE {})", quote::literal(zone)),
            None => value.to_owned(),
        }
    }

    /// A time in microseconds since 2000, a `bigint` expression, as a value of it.
    pub fn of_time(&self, microseconds: &str) -> String {
        let time = SystemTime::to_sql(microseconds);
        match &self.zone {
            Some(zone) => format!("(({time}) AT TIME ZONE {})", quote::literal(zone)),
            None => format!("({time})"),
        }
    }
}

impl Table {
    /// The landing table that it feeds.
    pub fn landing<'w>(&self, warehouse: &'w Warehouse) -> Result<&'w Landing> {
        let landing = warehouse.landings.get(self.at);
        landing.ok_or_else(|| Error::new(format!("`{}` feeds no landing table", self.name)))
    }

    /// The same as what a capture of any kind knows of a table.
    pub fn as_captured(&self) -> SourceTable {
        SourceTable {
            name: self.name.clone(),
            layout: Layout::Partitioned,
            columns: self.columns.clone(),
            identity: Identity { oid: self.oid, membership: String::new() },
            standing: Standing::Captured,
            brings: None,
        }
    }
}

/// Where the source is.
pub async fn site(source: &mut PgConnection) -> Result<Site> {
    let unasked = || "cannot ask the source where it is".to_owned();
    let row = sqlx::query(
        "SELECT (SELECT system_identifier::text FROM pg_control_system()), current_database()::text",
    )
    .fetch_one(source)
    .await
    .during(unasked)?;
    Ok(Site {
        system_identifier: row.try_get(0).during(unasked)?,
        database: row.try_get(1).during(unasked)?,
        timeline: super::super::ASKED,
    })
}

/// The source's clock.
pub async fn now(source: &mut PgConnection) -> Result<SystemTime> {
    let sql = format!("SELECT {}", SystemTime::of_sql("clock_timestamp()"));
    let now = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(source).await;
    now.map(SystemTime).during(|| "cannot ask the source for its clock".to_owned())
}

/// Looks at the tables; what keeps one from being polled is a problem, and the table is left out.
pub(in crate::capture) async fn look(
    source: &mut PgConnection,
    warehouse: &Warehouse,
    problems: &mut Problems,
) -> Result<Vec<Table>> {
    let polled = warehouse.source.polling.iter().flat_map(|polling| &polling.watermarks);
    let mut tables = Vec::new();
    for (at, (landing, watermark)) in warehouse.captured().iter().zip(polled).enumerate() {
        let Some(found) = find(source, &landing.source, problems).await? else { continue };
        let columns = columns(source, found.oid, &watermark.column).await?;
        let column = |name: &str| columns.iter().find(|column| column.name == name);
        let mut key = Vec::new();
        for name in &landing.key {
            match column(name) {
                Some(column) => key.push(KeyColumn { name: name.clone(), sql_type: column.sql_type.clone() }),
                None => problems.add(
                    format!(
                        "`{}` has no column `{name}`, which is of the key of `{}`",
                        landing.source, landing.table
                    ),
                    "correct the key in the spec and run `medallion generate`",
                ),
            }
        }
        let Some(by) = column(&watermark.column) else {
            problems.add(
                format!(
                    "`{}` has no column `{}`, by which its changes are to be found",
                    landing.source, watermark.column
                ),
                format!(
                    "correct `watermark` of `{}` in the spec and run `medallion generate`",
                    landing.table
                ),
            );
            continue;
        };
        let zone = match by.sql_type.as_str() {
            "timestamp with time zone" => None,
            "timestamp without time zone" => Some(warehouse.time_zone.to_owned()),
            other => {
                problems.add(
                    format!(
                        "`{}.{}` is `{other}`, which is no time of change",
                        landing.source, watermark.column
                    ),
                    "name a column of type `timestamptz` or `timestamp`",
                );
                continue;
            }
        };
        if key.len() < landing.key.len() {
            continue;
        }
        tables.push(Table {
            at,
            name: landing.source.clone(),
            oid: found.oid,
            key,
            watermark: Watermark { column: watermark.column.clone(), zone },
            deletes: watermark.deletes,
            is_nullable: by.is_nullable,
            is_indexed: by.is_indexed,
            columns: columns.into_iter().map(|column| column.name).collect(),
        });
    }
    Ok(tables)
}

/// What was found under a name.
pub(in crate::capture) struct Found {
    /// Its OID.
    pub oid: i64,
    /// Where its rows stand.
    pub layout: Layout,
    /// Whether it can be locked, and truncated.
    pub is_table: bool,
}

/// A table, or whatever else rows can be selected from.
pub(in crate::capture) async fn find(
    source: &mut PgConnection,
    name: &Name,
    problems: &mut Problems,
) -> Result<Option<Found>> {
    let unasked = || format!("cannot ask the source for `{name}`");
    let row = sqlx::query(
        "SELECT
            relation.oid::bigint AS oid,
            relation.relkind::text AS kind,
            has_schema_privilege(space.oid, 'USAGE') AS enters,
            has_table_privilege(relation.oid, 'SELECT') AS reads,
            row_security_active(relation.oid) AS hidden,
            current_user::text AS role
        FROM pg_namespace AS space
        JOIN pg_class AS relation ON relation.relnamespace = space.oid
        WHERE space.nspname = $1 AND relation.relname = $2 AND relation.relkind IN ('r', 'p', 'v', 'm', 'f')",
    )
    .bind(&name.schema)
    .bind(&name.table)
    .fetch_optional(source)
    .await
    .during(unasked)?;
    let Some(row) = row else {
        problems.add(
            format!("it has no table `{name}`"),
            "is SOURCE_DATABASE_URL the database that the spec describes? correct one or the other",
        );
        return Ok(None);
    };
    let is = |row: &PgRow, column: &str| row.try_get::<bool, _>(column).during(unasked);
    let role: String = row.try_get("role").during(unasked)?;
    let role = quote::identifier(&role);
    if !is(&row, "enters")? {
        problems.add(
            format!("the schema of `{name}` cannot be used"),
            format!("GRANT USAGE ON SCHEMA {} TO {role};", quote::identifier(&name.schema)),
        );
        return Ok(None);
    }
    if !is(&row, "reads")? {
        problems.add(
            format!("`{name}` cannot be read"),
            format!("GRANT SELECT ON {} TO {role};", quote::name(name)),
        );
        return Ok(None);
    }
    if is(&row, "hidden")? {
        problems.add(
            format!("row security hides rows of `{name}` from the role {role}"),
            format!("ALTER ROLE {role} BYPASSRLS;"),
        );
    }
    let kind: String = row.try_get("kind").during(unasked)?;
    // A plain table's children are tables of their own; all of a view is its own.
    let layout = if kind == "r" { Layout::Plain } else { Layout::Partitioned };
    let is_table = matches!(kind.as_str(), "r" | "p");
    Ok(Some(Found { oid: row.try_get("oid").during(unasked)?, layout, is_table }))
}

/// A column of the source.
pub(in crate::capture) struct Column {
    /// Its name.
    pub name: String,
    sql_type: String,
    is_nullable: bool,
    is_indexed: bool,
}

/// The columns of what was found, one of which may be a time of change.
pub(in crate::capture) async fn columns(
    source: &mut PgConnection,
    oid: i64,
    watermark: &str,
) -> Result<Vec<Column>> {
    let unasked = || "cannot ask the source for its columns".to_owned();
    let rows = sqlx::query(
        "SELECT
            attribute.attname::text AS name,
            format_type(attribute.atttypid, NULL) AS sql_type,
            NOT attribute.attnotnull AS is_nullable,
            attribute.attname = $2 AND EXISTS (
                SELECT
                FROM pg_index AS index
                WHERE index.indrelid = attribute.attrelid
                AND index.indkey[0] = attribute.attnum
                AND index.indpred IS NULL
                AND index.indisvalid
            ) AS is_indexed
        FROM pg_attribute AS attribute
        WHERE attribute.attrelid = $1::bigint::oid AND attribute.attnum > 0 AND NOT attribute.attisdropped
        ORDER BY attribute.attnum",
    )
    .bind(oid)
    .bind(watermark)
    .fetch_all(source)
    .await
    .during(unasked)?;
    let read = |row: &PgRow| {
        Ok(Column {
            name: row.try_get("name")?,
            sql_type: row.try_get("sql_type")?,
            is_nullable: row.try_get("is_nullable")?,
            is_indexed: row.try_get("is_indexed")?,
        })
    };
    rows.iter().map(read).collect::<Result<Vec<Column>, sqlx::Error>>().during(unasked)
}
