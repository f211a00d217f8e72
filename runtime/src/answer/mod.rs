//! Questions to the warehouse and their answers: read only, within a time limit, as of any time. Values are
//! shown as PostgreSQL writes them.

mod meant;
mod print;

use std::io::Write;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt as _;
use sqlx::postgres::{PgTypeInfo, PgTypeKind};
use sqlx::{
    AssertSqlSafe, Column as _, Connection as _, Either, Executor as _, PgConnection, Row as _,
    SqlSafeStr as _, Statement as _, TypeInfo as _, ValueRef as _,
};

pub use print::{Format, Kind, Printer, Values};

use crate::descriptor::Warehouse;
use crate::error::{During as _, Error, Result};
use crate::quote;
use crate::system_time::{self, Guard, Question};

/// What to do with what is no question.
const READ: &str = "`query` only reads: ask with SELECT, one statement at a time";

/// How to write a time.
const TIME: &str = "write it as '2024-07-01' or '2024-07-01 12:00:00+00'";

/// How long a question waits for what somebody else has locked.
const PATIENCE: &str = "10s";

/// How a question is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The time that unqualified names are read as of, or a commit position of the source (`0/16B3748`).
    pub as_of: Option<String>,
    /// How long the server may work on it; zero: as long as it takes.
    pub timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { as_of: None, timeout: Duration::from_secs(5 * 60) }
    }
}

/// Asks one question in a read-only transaction, and prints the answer; the session stays read-only. With a
/// time, unqualified names mean the relations as of then, but for those with a FOR SYSTEM_TIME of their own.
pub async fn ask<W: Write>(
    warehouse: &Warehouse,
    connection: &mut PgConnection,
    sql: &str,
    settings: &Settings,
    printer: &mut Printer<W>,
) -> Result<()> {
    let mut question = system_time::rewrite(warehouse, sql, Guard::Nothing)?;
    // The question could end the transaction that it is asked in.
    connection
        .execute("SET default_transaction_read_only = on")
        .await
        .during(|| "cannot make the session read-only".to_owned())?;
    // A description that was kept could be of other relations: the search path and the server change.
    connection.clear_cached_statements().await.during(|| "cannot forget what was asked before".to_owned())?;
    let mut transaction = connection
        .begin_with("BEGIN READ ONLY")
        .await
        .during(|| "cannot begin a read-only transaction".to_owned())?;
    let began = Instant::now();
    transaction
        .execute(AssertSqlSafe(preparation(warehouse, settings)))
        .await
        .during(|| "cannot set up the session".to_owned())?;
    // Without it names would be those of the present, as the next schemas of the path have them.
    if settings.as_of.is_some() {
        check_past(&mut transaction).await?;
    }
    if question.is_of_rows && has_before(&mut transaction).await? {
        question = system_time::rewrite(warehouse, sql, Guard::Each)?;
    }
    set_time(&mut transaction, settings, &question).await?;
    let asked = fetch(&mut transaction, &question.sql, printer).await;
    asked
        .map_err(|error| timed_out(error, began.elapsed(), settings.timeout))
        .map_err(|error| meant::told(warehouse, sql, error))?;
    // Whoever has gone waits for no rest either: the session ends.
    if printer.is_gone() {
        return Ok(());
    }
    transaction.rollback().await.during(|| "cannot end the read-only transaction".to_owned())
}

/// Where names are looked for, how times without a zone are read, and how long it may take.
fn preparation(warehouse: &Warehouse, settings: &Settings) -> String {
    let as_of = settings.as_of.as_ref().map(|_| "as_of");
    let path = as_of.into_iter().chain(warehouse.schemas.iter().copied()).chain(["public"]);
    format!(
        "SET LOCAL search_path = {}; SET LOCAL TimeZone = {}; SET LOCAL statement_timeout = {}; \
         SET LOCAL lock_timeout = '{PATIENCE}'",
        quote::list("", path),
        quote::literal(warehouse.time_zone),
        settings.timeout.as_millis(),
    )
}

/// Sets the time that is asked as of, and looks at the times that the question names: a wrong one is an
/// error and no empty answer.
async fn set_time(connection: &mut PgConnection, settings: &Settings, question: &Question) -> Result<()> {
    // Whoever may read as_of need not be allowed to look into the tool's own schema.
    let may_look = may_use(connection, "medallion").await?;
    for time in &question.times {
        let sql = format!("SELECT CAST(moment AS text) FROM (SELECT {}) AS time (moment)", time.sql);
        let row = sqlx::query(AssertSqlSafe(sql))
            .fetch_one(&mut *connection)
            .await
            .map_err(|cause| no_time(&time.sql, cause))?;
        let Some(moment) = row.get::<Option<String>, _>(0) else {
            return Err(Error::new(format!("`{}` is NULL, which is no time", time.sql))
                .remedy("leave FOR SYSTEM_TIME away to ask about now, or write ALL for every version"));
        };
        if time.earliest && may_look {
            travel(connection, &moment, may_look).await?;
        }
    }
    let as_of = settings.as_of.as_deref().unwrap_or_default();
    if is_position(as_of) {
        let time = time_of(connection, as_of).await?;
        return travel(connection, &time, may_look).await;
    }
    travel(connection, as_of, may_look).await
}

/// Refuses a role that may not read the relations as of a time.
pub(crate) async fn check_past(connection: &mut PgConnection) -> Result<()> {
    if may_use(connection, "as_of").await? {
        return Ok(());
    }
    let row = sqlx::query("SELECT format('%I', current_user)").fetch_one(connection).await;
    let role: String = row.during(|| "cannot tell which role this is".to_owned())?.get(0);
    Err(Error::new(format!("the role `{role}` may not read the past: it lacks USAGE on the schema `as_of`"))
        .remedy(format!(
            "have the owner run `GRANT USAGE ON SCHEMA as_of TO {role}; \
             GRANT SELECT ON ALL TABLES IN SCHEMA as_of TO {role}`, or ask as a role that may"
        )))
}

async fn may_use(connection: &mut PgConnection, schema: &str) -> Result<bool> {
    let row = sqlx::query(
        "SELECT coalesce(bool_or(has_schema_privilege(oid, 'USAGE')), false) FROM pg_namespace \
         WHERE nspname = $1",
    )
    .bind(schema)
    .fetch_one(connection)
    .await;
    Ok(row.during(|| "cannot tell what the role may do".to_owned())?.get(0))
}

/// Whether there may be a past that is not kept, and the role can have the server look for it.
async fn has_before(connection: &mut PgConnection) -> Result<bool> {
    if !may_use(connection, "medallion").await? {
        return Ok(false);
    }
    let row = sqlx::query(
        "SELECT coalesce(bool_or(has_table_privilege(oid, 'SELECT')), false) FROM pg_class \
         WHERE relname = 'horizon' AND relnamespace = CAST('medallion' AS regnamespace)",
    )
    .fetch_one(&mut *connection)
    .await;
    let may_read: bool = row.during(|| "cannot tell what the role may do".to_owned())?.get(0);
    if !may_read {
        return Ok(true);
    }
    let row = sqlx::query("SELECT EXISTS (SELECT FROM medallion.horizon)").fetch_one(connection).await;
    Ok(row.during(|| "cannot tell since when the past is kept".to_owned())?.get(0))
}

/// Sets the time that relations of `as_of` are read as of; returns it as PostgreSQL writes it.
pub(crate) async fn travel_to(connection: &mut PgConnection, time: &str) -> Result<String> {
    let time = if is_position(time) { time_of(connection, time).await? } else { time.to_owned() };
    travel(connection, &time, true).await?;
    let row = sqlx::query("SELECT medallion.as_of_time()::text").fetch_one(connection).await;
    Ok(row.during(|| format!("cannot ask as of `{time}`"))?.get(0))
}

/// Whether this is how PostgreSQL writes a position of its log. No time is written so.
fn is_position(text: &str) -> bool {
    let digits = |part: &str| {
        (1..=8).contains(&part.len()) && part.bytes().all(|character| character.is_ascii_hexdigit())
    };
    text.split_once('/').is_some_and(|(high, low)| digits(high) && digits(low))
}

/// The system time of what had committed at a position.
async fn time_of(connection: &mut PgConnection, position: &str) -> Result<String> {
    let row = sqlx::query("SELECT CAST(medallion.time_of(CAST(CAST($1 AS text) AS pg_lsn)) AS text)")
        .bind(position)
        .fetch_one(connection)
        .await
        .during(|| format!("cannot ask as of position `{position}`"))?;
    Ok(row.get(0))
}

async fn travel(connection: &mut PgConnection, time: &str, may_look: bool) -> Result<()> {
    sqlx::query("SELECT set_config('medallion.as_of', $1, true)")
        .bind(time)
        .execute(&mut *connection)
        .await
        .during(|| format!("cannot ask as of `{time}`"))?;
    if !may_look || time.is_empty() {
        return Ok(());
    }
    let looked = sqlx::query("SELECT medallion.as_of_time()").execute(&mut *connection).await;
    looked.map(drop).map_err(|cause| no_time(time, cause))
}

fn no_time(time: &str, cause: sqlx::Error) -> Error {
    let error = Error::new(format!("cannot ask as of `{time}`")).because(cause);
    match error.sqlstate().as_deref() {
        Some("22007" | "22008" | "22009") => Error::new(format!("`{time}` is not a time")).remedy(TIME),
        _ => error,
    }
}

async fn fetch<W: Write>(connection: &mut PgConnection, sql: &str, printer: &mut Printer<W>) -> Result<()> {
    printer.begin(columns(connection, sql).await?)?;
    // The simple protocol: every value comes as text, as psql would show it.
    let mut stream = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).fetch_many(connection);
    while let Some(item) = stream.try_next().await.map_err(failed)? {
        let Either::Right(row) = item else { continue };
        let values: Result<Values> = (0..row.len()).map(|index| value(&row, index)).collect();
        printer.row(values?)?;
        if printer.is_gone() {
            return Ok(());
        }
    }
    printer.end()
}

fn value(row: &sqlx::postgres::PgRow, index: usize) -> Result<Option<String>> {
    let value = row.try_get_raw(index).map_err(failed)?;
    if value.is_null() {
        return Ok(None);
    }
    let text = value.as_str().map_err(|cause| Error::new("a value is not text").because(cause))?;
    Ok(Some(text.to_owned()))
}

/// The columns of the answer to come. What has none is no question; several are refused by the server.
async fn columns(connection: &mut PgConnection, sql: &str) -> Result<Vec<(String, Kind)>> {
    let prepared = connection.prepare(AssertSqlSafe(sql.to_owned()).into_sql_str()).await.map_err(failed)?;
    if prepared.columns().is_empty() {
        return Err(Error::new("that is no question: it answers nothing").remedy(READ));
    }
    let column = |column: &sqlx::postgres::PgColumn| (column.name().to_owned(), kind(column.type_info()));
    Ok(prepared.columns().iter().map(column).collect())
}

fn failed(cause: sqlx::Error) -> Error {
    let error = Error::new("the question failed").because(cause);
    match error.sqlstate().as_deref() {
        Some("25006") => Error::new("that would change something").remedy(READ),
        Some("42601") if error.to_string().contains("multiple commands") => {
            Error::new("these are several statements, and an answer has one").remedy("ask them one by one")
        }
        // A replica takes in what the primary has cleaned up.
        Some("40001") => error.remedy(
            "ask again; a replica that is to wait for long questions has max_standby_streaming_delay, or hot_standby_feedback",
        ),
        // What these mean is known, whoever meets them.
        Some("42501" | "53100" | "53200" | "55P03" | "57P01" | "57P02" | "57P03") => error,
        _ => error.remedy("correct the question: it may read whatever silver and gold hold"),
    }
}

/// The server says the same of whatever ends a question before its time.
fn timed_out(error: Error, elapsed: Duration, limit: Duration) -> Error {
    if error.sqlstate().as_deref() != Some("57014") {
        return error;
    }
    if limit.is_zero() || elapsed < limit {
        return Error::new("the question was cancelled");
    }
    Error::new(format!("the question takes longer than {limit:?}, and was cancelled"))
        .remedy("ask for less, or give it more time: `--timeout 1h`; 0 sets no limit")
}

fn kind(type_info: &PgTypeInfo) -> Kind {
    if let PgTypeKind::Domain(base) = type_info.kind() {
        return kind(base);
    }
    match type_info.name() {
        "INT2" | "INT4" | "INT8" | "NUMERIC" | "FLOAT4" | "FLOAT8" | "MONEY" | "OID" => Kind::Number,
        "BOOL" => Kind::Boolean,
        "JSON" | "JSONB" => Kind::Json,
        _ => Kind::Text,
    }
}

#[cfg(test)]
mod tests {
    use super::is_position;

    #[test]
    fn a_position_is_no_time() {
        for text in ["0/16B3748", "0/0", "ffffffff/FFFFFFFF"] {
            assert!(is_position(text), "{text}");
        }
        for text in ["2024-07-01", "2024/07/01", "infinity", "", "/", "0/", "7/1/2024", "0/123456789"] {
            assert!(!is_position(text), "{text}");
        }
    }
}
