//! One page of a polled table: its rows by time of change and key, behind where the page before ended. Streams them
//! onto the stage of the warehouse; knows no bronze.

use futures_util::TryStreamExt as _;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Row as _};

use super::super::position::{Lsn, SystemTime};
use super::table::Table;
use crate::error::{During as _, Result};
use crate::land::{Follows, Op, Place, StageCopy, Unfinished};
use crate::quote;

/// Where a page ended: its last row's time of change and key, as the source writes them.
#[derive(Clone, Debug)]
pub struct Cursor {
    /// The watermark's value and those of the key's columns.
    values: Vec<String>,
    /// The same time.
    pub time: SystemTime,
}

/// Where a page begins.
#[derive(Clone, Debug)]
pub enum From {
    /// With the first row that there is.
    Beginning,
    /// With the first row that was changed at a time or later.
    Time(SystemTime),
    /// Behind a row.
    Behind(Cursor),
}

/// A page to read.
pub struct Asked<'t> {
    /// Of this table.
    pub table: &'t Table,
    /// Where it begins.
    pub from: From,
    /// Rows that were changed later wait.
    pub upto: SystemTime,
    /// How many rows at most.
    pub most: u32,
}

/// A page that was read.
#[derive(Debug, Default)]
pub struct Page {
    /// How many rows it had.
    pub rows: u64,
    /// Where it ended.
    pub last: Option<Cursor>,
}

/// A row of a page, as text.
pub struct Row<'r> {
    /// Its time of change.
    pub time: SystemTime,
    /// Its key, a JSON object.
    pub key: &'r str,
    /// All of it, a JSON object.
    pub full_row: &'r str,
}

/// Reads a page, row by row.
pub async fn read(
    source: &mut PgConnection,
    asked: &Asked<'_>,
    mut take: impl FnMut(Row<'_>) -> Result<()>,
) -> Result<Page> {
    let unread = || format!("cannot read a page of `{}`", asked.table.name);
    let mut page = Page::default();
    let mut rows = bound(asked).fetch(source);
    while let Some(row) = rows.try_next().await.during(unread)? {
        page.rows += 1;
        let time = SystemTime(row.try_get(0).during(unread)?);
        let (key, full_row) = (row.try_get(1).during(unread)?, row.try_get(2).during(unread)?);
        take(Row { time, key, full_row })?;
        page.last = Some(Cursor { values: cursor_values(&row, asked).during(unread)?, time });
    }
    Ok(page)
}

/// The query of a page, with where it begins.
fn bound(asked: &Asked<'_>) -> sqlx::query::Query<'static, sqlx::Postgres, sqlx::postgres::PgArguments> {
    let query = sqlx::query(AssertSqlSafe(query(asked))).bind(i64::from(asked.most)).bind(asked.upto.0);
    match &asked.from {
        From::Beginning => query,
        From::Time(time) => query.bind(time.0),
        From::Behind(cursor) => cursor.values.iter().fold(query, |query, value| query.bind(value.clone())),
    }
}

/// Reads a page onto the stage, its rows at the positions behind the base.
pub async fn stage(
    source: &mut PgConnection,
    target: &mut PgConnection,
    asked: &Asked<'_>,
    base: Lsn,
) -> Result<Page> {
    let unread = || format!("cannot read a page of `{}`", asked.table.name);
    let mut copy = StageCopy::begin(target).await?;
    let mut page = Page::default();
    let mut rows = bound(asked).fetch(source);
    while let Some(row) = rows.try_next().await.during(unread)? {
        page.rows += 1;
        let time: i64 = row.try_get(0).during(unread)?;
        let lsn = base.0.saturating_add(i64::try_from(page.rows).unwrap_or(i64::MAX));
        let key: &str = row.try_get(1).during(unread)?;
        let full_row: &str = row.try_get(2).during(unread)?;
        let unfinished = Unfinished {
            landing: asked.table.at,
            key: key.as_bytes(),
            missing: &[],
            follows: Follows::OwnKey,
        };
        copy.push(Place { lsn, seq: 1, time }, Op::Update, &unfinished, full_row).await?;
        page.last =
            Some(Cursor { values: cursor_values(&row, asked).during(unread)?, time: SystemTime(time) });
    }
    drop(rows);
    copy.finish().await?;
    Ok(page)
}

fn cursor_values(row: &PgRow, asked: &Asked<'_>) -> Result<Vec<String>, sqlx::Error> {
    (0..=asked.table.key.len()).map(|at| row.try_get(3 + at)).collect()
}

/// By time of change and key, both as the source compares them. Values of the cursor are bound as text, and read by
/// the column's own type.
fn query(asked: &Asked<'_>) -> String {
    let Table { name, watermark, key, .. } = asked.table;
    let column = format!("t.{}", quote::identifier(&watermark.column));
    let keys: Vec<String> = key.iter().map(|one| format!("t.{}", quote::identifier(&one.name))).collect();
    let order: Vec<String> = std::iter::once(column.clone()).chain(keys.iter().cloned()).collect();
    let object: Vec<String> =
        key.iter().zip(&keys).map(|(one, value)| format!("{}, {value}", quote::literal(&one.name))).collect();
    let texts: Vec<String> = order.iter().map(|value| format!("{value}::text")).collect();
    let upto = watermark.of_time("$2::bigint");
    let from = match &asked.from {
        From::Beginning => String::new(),
        From::Time(_) => format!("\nAND {column} >= {}", watermark.of_time("$3::bigint")),
        From::Behind(_) => {
            let types =
                std::iter::once(watermark.sql_type()).chain(key.iter().map(|one| one.sql_type.as_str()));
            let bound: Vec<String> =
                (3..).zip(types).map(|(number, sql_type)| format!("${number}::text::{sql_type}")).collect();
            format!("\nAND ({}) > ({})", order.join(", "), bound.join(", "))
        }
    };
    format!(
        "SELECT\n    {time},\n    jsonb_build_object({object})::text,\n    row_to_json(t.*)::text,\n    {texts}\n\
         FROM {table} AS t\n\
         WHERE {column} <= {upto} AND isfinite({column}){from}\n\
         ORDER BY {order}\n\
         LIMIT $1",
        time = SystemTime::of_sql(&watermark.as_time(&column)),
        object = object.join(", "),
        texts = texts.join(", "),
        table = quote::name(name),
        order = order.join(", "),
    )
}
