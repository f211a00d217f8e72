//! What became different in a relation between two times, and the changes of bronze that made it so: the rows of both
//! times, compared by their keys; of those that differ the versions that began or ended in between; of these what
//! landed at that moment, in their own feed or in that of what they look up. All of it set-based, in one snapshot that
//! is rolled back; changes nothing.

mod cause;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};

pub use cause::Cause;

use crate::answer;
use crate::connection::{self, Database};
use crate::descriptor::{Mart, Name, Silver, SilverKind, Warehouse};
use crate::error::{During as _, Error, Result};
use crate::place::Place;
use crate::{migrate, quote, statement};

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// The relation: a mart, a dimension, a lookup or a fact.
    pub relation: &'a str,
    /// The earlier time, or a commit position of the source.
    pub from: &'a str,
    /// The later one.
    pub to: &'a str,
    /// So many rows are told, and so many changes of each.
    pub limit: u32,
}

/// What became different.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The relation.
    pub relation: Name,
    /// The earlier time, as PostgreSQL writes it.
    pub from: String,
    /// The later one.
    pub to: String,
    /// The relation's columns.
    pub columns: Vec<String>,
    /// Those that identify a row.
    pub key: Vec<String>,
    /// How many rows came, went and changed.
    pub counted: Counted,
    /// The first of them.
    pub rows: Vec<Row>,
    /// What the role may not read of where changes stand: where there is any, none is told.
    pub unread: Vec<Name>,
}

/// Numbers of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counted {
    /// Those that were not there.
    pub added: u64,
    /// Those that are there no more.
    pub gone: u64,
    /// Those that are otherwise.
    pub changed: u64,
}

/// The values of a row by column, as JSON that keeps every digit.
pub type State = BTreeMap<String, Box<RawValue>>;

/// A row that is different.
#[derive(Clone, Debug)]
pub struct Row {
    /// As it was; none of a row that came.
    pub before: Option<State>,
    /// As it is then; none of a row that went.
    pub after: Option<State>,
    /// The changes that made it so, the nearest first.
    pub causes: Vec<Cause>,
    /// How many there are.
    pub caused_by: u64,
}

/// A relation that can be asked about.
#[derive(Clone, Copy)]
enum Subject<'a> {
    Mart(&'a Mart),
    Silver(&'a Silver, &'a Name),
}

impl<'a> Subject<'a> {
    fn name(self) -> &'a Name {
        match self {
            Self::Mart(mart) => &mart.table,
            Self::Silver(_, name) => name,
        }
    }

    fn key(self) -> &'a [String] {
        match self {
            Self::Mart(mart) => &mart.grain,
            Self::Silver(silver, _) => &silver.key,
        }
    }

    fn columns(self) -> Vec<String> {
        match self {
            Self::Mart(mart) => mart.columns.clone(),
            Self::Silver(silver, _) => silver.columns.iter().map(|column| column.name.clone()).collect(),
        }
    }
}

fn find<'a>(warehouse: &'a Warehouse, said: &str) -> Result<Subject<'a>> {
    let mut subjects: Vec<Subject<'a>> = warehouse.marts.iter().map(Subject::Mart).collect();
    for silver in &warehouse.silver {
        match &silver.kind {
            // Of a history, what was current at the one time and the other.
            SilverKind::Dimension { current, .. } => {
                subjects.push(Subject::Silver(silver, current));
            }
            SilverKind::Fact { .. } => subjects.push(Subject::Silver(silver, &silver.table)),
        }
    }
    let is_meant = |subject: &&Subject<'a>| {
        let name = subject.name();
        let history = matches!(subject, Subject::Silver(silver, _) if silver.table.table == said
            || silver.table.to_string() == said);
        name.table == said || name.to_string() == said || history
    };
    if let Some(found) = subjects.iter().find(is_meant) {
        return Ok(*found);
    }
    let bare = said.rsplit('.').next().unwrap_or(said);
    let near = subjects.iter().min_by_key(|subject| strsim::levenshtein(&subject.name().table, bare));
    let error = Error::new(format!("the warehouse has no relation `{said}` with a past"));
    Err(match near {
        Some(subject) => error.remedy(format!("did you mean `{}`?", subject.name().table)),
        None => error,
    })
}

/// Asks the warehouse.
pub async fn diff(warehouse: &Warehouse, place: &Place, question: &Question<'_>) -> Result<Difference> {
    let subject = find(warehouse, question.relation)?;
    let mut target = connection::connect(Database::Warehouse, &place.warehouse).await?;
    migrate::check(warehouse, &mut target).await?;
    let failed = || "cannot ask in one transaction".to_owned();
    let mut transaction = target.begin().await.during(failed)?;
    let difference = ask(warehouse, subject, question, &mut transaction).await?;
    transaction.rollback().await.during(failed)?;
    Ok(difference)
}

async fn ask(
    warehouse: &Warehouse,
    subject: Subject<'_>,
    question: &Question<'_>,
    connection: &mut PgConnection,
) -> Result<Difference> {
    statement::execute(connection, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ").await?;
    statement::execute(connection, "SET LOCAL work_mem = '64MB'").await?;
    statement::execute(connection, &format!("SET LOCAL TimeZone = {}", quote::literal(warehouse.time_zone)))
        .await?;
    answer::check_past(connection).await?;
    let from = state(subject, "before", question.from, connection).await?;
    let ahead = "SELECT isfinite(time) AND time > clock_timestamp() FROM (SELECT CAST(CAST($1 AS text) AS timestamptz)) AS asked (time)";
    let row = sqlx::query(ahead).bind(&from).fetch_one(&mut *connection).await;
    // The clock of the source may be ahead; what it has said of a position is past all the same.
    if row.during(|| "cannot compare the time with the clock".to_owned())?.get::<bool, _>(0)
        && !question.from.contains('/')
    {
        return Err(Error::new(format!(
            "`{}` is in the future, from which nothing can differ yet",
            question.from
        ))
        .remedy(format!("give a time that has been; one without a zone is in `{}`", warehouse.time_zone)));
    }
    let to = state(subject, "after", question.to, connection).await?;
    let ordered = "SELECT CAST(CAST($1 AS text) AS timestamptz) <= CAST(CAST($2 AS text) AS timestamptz)";
    let row = sqlx::query(ordered).bind(&from).bind(&to).fetch_one(&mut *connection).await;
    if !row.during(|| "cannot compare the times".to_owned())?.get::<bool, _>(0) {
        return Err(Error::new(format!("`{}` is later than `{}`", question.from, question.to))
            .remedy("give the earlier time as --from"));
    }
    let counted = compare(subject, connection).await?;
    let shown = format!(
        "CREATE TEMPORARY TABLE shown ON COMMIT DROP AS\n\
         SELECT * FROM pg_temp.difference WHERE m$row <= {}",
        question.limit
    );
    statement::execute(connection, &shown).await?;
    let unread = cause::unread(warehouse, &subject, connection).await?;
    let mut causes = if unread.is_empty() {
        cause::find(warehouse, &subject, [&from, &to], question.limit, connection).await?
    } else {
        cause::Causes::new()
    };
    let rows = sqlx::query("SELECT m$row, m$before::text, m$after::text FROM pg_temp.shown ORDER BY m$row")
        .fetch_all(connection)
        .await
        .during(|| "cannot read what differs".to_owned())?;
    let mut told = Vec::new();
    for row in rows {
        let (causes, caused_by) = causes.remove(&row.get::<i64, _>(0)).unwrap_or_default();
        told.push(Row { before: values(row.get(1))?, after: values(row.get(2))?, causes, caused_by });
    }
    Ok(Difference {
        relation: subject.name().clone(),
        from,
        to,
        columns: subject.columns(),
        key: subject.key().to_vec(),
        counted,
        rows: told,
        unread,
    })
}

/// The values of a JSON object.
fn values(text: Option<String>) -> Result<Option<State>> {
    let read = text.map(|text| serde_json::from_str(&text)).transpose();
    read.during(|| "cannot read a row that differs".to_owned())
}

/// The relation's rows as of a time; returns the time.
async fn state(
    subject: Subject<'_>,
    table: &str,
    time: &str,
    connection: &mut PgConnection,
) -> Result<String> {
    let time = answer::travel_to(connection, time).await?;
    let columns = quote::list("", subject.columns());
    let relation = quote::name(&Name::new("as_of", subject.name().table.clone()));
    let sql = format!("CREATE TEMPORARY TABLE {table} ON COMMIT DROP AS\nSELECT {columns}\nFROM {relation}");
    let rows = statement::execute(connection, &sql).await?;
    statement::analyze(connection, &format!("pg_temp.{table}"), rows).await?;
    Ok(time)
}

/// Numbers the rows that differ, in the order of their keys. Values count, and not how they are written: 1.0 is 1.00.
async fn compare(subject: Subject<'_>, connection: &mut PgConnection) -> Result<Counted> {
    let key = quote::list("", subject.key());
    let side = |table: &str, side: bool| {
        format!("SELECT {key}, {side} AS m$is_after, to_jsonb({table}.*) AS m$state FROM pg_temp.{table}")
    };
    // NULLs are one group, as they are in the mart.
    let sql = format!(
        "CREATE TEMPORARY TABLE difference ON COMMIT DROP AS\n\
         SELECT {key}, m$before, m$after, row_number() OVER (ORDER BY {key}) AS m$row\n\
         FROM (\n\
         SELECT {key},\n\
         (array_agg(m$state) FILTER (WHERE NOT m$is_after))[1] AS m$before,\n\
         (array_agg(m$state) FILTER (WHERE m$is_after))[1] AS m$after\n\
         FROM (\n{}\nUNION ALL\n{}\n) AS side\n\
         GROUP BY {key}\n\
         ) AS both_sides\n\
         WHERE m$before IS DISTINCT FROM m$after",
        side("before", false),
        side("after", true),
    );
    let rows = statement::execute(connection, &sql).await?;
    statement::analyze(connection, "pg_temp.difference", rows).await?;
    let row = sqlx::query(AssertSqlSafe(
        "SELECT count(*) FILTER (WHERE m$before IS NULL), count(*) FILTER (WHERE m$after IS NULL), count(*) \
         FROM pg_temp.difference",
    ))
    .fetch_one(connection)
    .await
    .during(|| "cannot count what differs".to_owned())?;
    let count = |index: usize| u64::try_from(row.get::<i64, _>(index)).unwrap_or_default();
    Ok(Counted { added: count(0), gone: count(1), changed: count(2) - count(0) - count(1) })
}
