//! Lands the source's own record of past changes, which lies below the live slot: positions become those of
//! bronze, times are made strictly rising. Read within the snapshot's transaction; knows no stream.

use sqlx::Row as _;
use sqlx::postgres::PgConnection;

use super::position::{Lsn, SystemTime};
use super::preflight::Problems;
use super::{Captured, Progress};
use crate::descriptor::{Landing, Name, Warehouse};
use crate::error::{During as _, Error, Result};
use crate::{land, quote};

/// What has landed of a recorded log.
#[derive(Clone, Copy, Debug)]
pub struct Recorded {
    /// Its last position.
    pub position: Lsn,
    /// The last system time given.
    pub time: SystemTime,
}

/// What a log holds of the captured tables.
struct Summary {
    transactions: i64,
    last: Option<Recorded>,
    order: Order,
}

/// Whether a log's times can be taken as they are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Rising,
    ToBeRaised,
}

/// Sees whether the warehouse's log is there and can be read; its name, where it is there.
pub(super) async fn look(
    source: &mut PgConnection,
    warehouse: &Warehouse,
    problems: &mut Problems,
) -> Result<Option<Name>> {
    let unasked = || "cannot ask the source for its recorded log".to_owned();
    let Some(log) = &warehouse.source.recorded_log else { return Ok(None) };
    let row = sqlx::query(
        "SELECT
            current_user::text AS role,
            has_schema_privilege(space.oid, 'USAGE') AS enters,
            has_table_privilege(relation.oid, 'SELECT') AS reads
        FROM pg_namespace AS space
        JOIN pg_class AS relation ON relation.relnamespace = space.oid
        WHERE space.nspname = $1 AND relation.relname = $2 AND relation.relkind IN ('r', 'p', 'v', 'm', 'f')",
    )
    .bind(&log.schema)
    .bind(&log.table)
    .fetch_optional(source)
    .await
    .during(unasked)?;
    let Some(row) = row else {
        problems.add(
            format!("it has no table `{log}`, which the spec has for its recorded log"),
            "is SOURCE_DATABASE_URL the database that the spec describes? correct one or the other",
        );
        return Ok(None);
    };
    let role = quote::identifier(&row.try_get::<String, _>("role").during(unasked)?);
    if !row.try_get::<bool, _>("enters").during(unasked)? {
        problems.add(
            format!("the schema of `{log}`, the recorded log, cannot be used"),
            format!("GRANT USAGE ON SCHEMA {} TO {role};", quote::identifier(&log.schema)),
        );
    }
    if !row.try_get::<bool, _>("reads").during(unasked)? {
        problems.add(
            format!("`{log}`, the recorded log, cannot be read"),
            format!("GRANT SELECT ON {} TO {role};", quote::name(log)),
        );
    }
    Ok(Some(log.clone()))
}

/// Whether the warehouse has a log, and it holds changes of the captured tables.
pub async fn holds_anything(source: &mut PgConnection, warehouse: &Warehouse) -> Result<bool> {
    let Some(log) = &warehouse.source.recorded_log else {
        return Ok(false);
    };
    let names: Vec<String> = warehouse
        .captured()
        .iter()
        .flat_map(|landing| relation_names(landing, log, warehouse.captured()))
        .collect();
    Ok(summarise(source, log, &names).await?.last.is_some())
}

/// Lands the log, if the warehouse has one and it holds anything; all its positions lie below `below`.
pub async fn land(
    source: &mut PgConnection,
    target: &mut PgConnection,
    warehouse: &Warehouse,
    below: Lsn,
    captured: &mut Captured,
    progress: &mut dyn Progress,
) -> Result<Option<Recorded>> {
    let Some(log) = &warehouse.source.recorded_log else {
        return Ok(None);
    };
    let names: Vec<Vec<String>> = warehouse
        .captured()
        .iter()
        .map(|landing| relation_names(landing, log, warehouse.captured()))
        .collect();
    let all: Vec<String> = names.concat();
    let summary = summarise(source, log, &all).await?;
    let Some(last) = summary.last else {
        return Ok(None);
    };
    if last.position >= below {
        return Err(Error::new(format!(
            "the recorded log `{log}` goes to position {}, at or above the slot's start at {}",
            last.position.0, below.0
        ))
        .remedy("number its transactions from 1, in commit order"));
    }
    if last.time > SystemTime::now() {
        captured.finding(format!(
            "the recorded log `{log}` has times in the future: live changes come after them nevertheless"
        ));
    }
    if summary.order == Order::ToBeRaised {
        captured
            .finding(format!("times of the recorded log `{log}` did not rise with its positions: raised"));
    }
    for (landing, names) in warehouse.captured().iter().zip(&names) {
        let query = query(log, names, &all, summary.order);
        let what = format!("`{log}` into `{}`", landing.table);
        let rows = land::pipe(source, &land::copy_out(&query), target, &land::copy_in(&landing.table), &what)
            .await?;
        captured.landed(&landing.table, rows);
        progress.copied(&landing.table, rows);
    }
    captured.transactions += u64::try_from(summary.transactions).unwrap_or(0);
    Ok(Some(last))
}

/// How the log may spell a table: with its schema or bare (which means the log's own schema where two
/// captured tables share a name), quoted or not.
fn relation_names(landing: &Landing, log: &Name, landings: &[Landing]) -> Vec<String> {
    let Name { schema, table } = &landing.source;
    let mut names = vec![format!("{schema}.{table}"), quote::name(&landing.source)];
    let shared = landings.iter().any(|other| other.source.table == *table && other.source.schema != *schema);
    if !shared || *schema == log.schema {
        names.push(table.clone());
        names.push(quote::identifier(table));
    }
    names
}

async fn summarise(source: &mut PgConnection, log: &Name, names: &[String]) -> Result<Summary> {
    let unread = || format!("cannot read the recorded log `{log}` of the source");
    let sql = format!(
        "WITH {}
        SELECT
            count(*) AS transactions,
            max(position) AS position,
            {} AS last_time,
            coalesce(bool_and(isfinite(committed_at)), true) AS finite,
            coalesce(bool_and(commit_ts = committed_at AND first_at = committed_at), true) AS rising
        FROM times",
        times(log, names),
        SystemTime::of_sql("max(commit_ts) FILTER (WHERE isfinite(commit_ts))"),
    );
    let row =
        sqlx::query(sqlx::AssertSqlSafe(sql)).persistent(false).fetch_one(source).await.map_err(|cause| {
            let error = Error::new(unread()).because(cause);
            match error.sqlstate().as_deref() {
                // A column that it lacks, or of another type.
                Some("42703" | "42804" | "42846" | "42883" | "42P01") => error.remedy(
                    "it is a table with position bigint, seq bigint, committed_at timestamptz, relation text, \
                     op char(1), full_row jsonb",
                ),
                _ => error,
            }
        })?;
    if !row.try_get::<bool, _>("finite").during(unread)? {
        return Err(Error::new(format!("the recorded log `{log}` has a time that is infinite"))
            .remedy("give each of its transactions the time at which it committed"));
    }
    let position: Option<i64> = row.try_get("position").during(unread)?;
    let time: Option<i64> = row.try_get("last_time").during(unread)?;
    let rising: bool = row.try_get("rising").during(unread)?;
    Ok(Summary {
        transactions: row.try_get("transactions").during(unread)?,
        last: position
            .zip(time)
            .map(|(position, time)| Recorded { position: Lsn(position), time: SystemTime(time) }),
        order: if rising { Order::Rising } else { Order::ToBeRaised },
    })
}

fn query(log: &Name, names: &[String], all: &[String], order: Order) -> String {
    let (with, join, time) = match order {
        Order::Rising => (String::new(), "", "log.committed_at::timestamptz"),
        Order::ToBeRaised => {
            (format!("WITH {} ", times(log, all)), "JOIN times USING (position)", "times.commit_ts")
        }
    };
    format!(
        "{with}SELECT
            position::bigint,
            log.op::bpchar,
            CASE WHEN log.op <> 'T' THEN log.full_row::jsonb END,
            {time},
            log.seq::bigint
        FROM {} AS log {join}
        WHERE log.relation IN ({})
        ORDER BY position, log.seq",
        quote::name(log),
        literals(names)
    )
}

/// A time for each position, later by a microsecond at least than that of the position before: the time of
/// the n-th is the greatest of all up to it, each moved on by a microsecond a step.
fn times(log: &Name, names: &[String]) -> String {
    format!(
        "moments AS (
            SELECT
                position,
                min(committed_at::timestamptz) AS first_at,
                max(committed_at::timestamptz) AS committed_at,
                row_number() OVER (ORDER BY position) AS ordinal
            FROM {}
            WHERE relation IN ({})
            GROUP BY position
        ),
        times AS (
            SELECT
                position,
                first_at,
                committed_at,
                max(committed_at - ordinal * INTERVAL '1 microsecond') OVER (ORDER BY position)
                    + ordinal * INTERVAL '1 microsecond' AS commit_ts
            FROM moments
        )",
        quote::name(log),
        literals(names)
    )
}

fn literals(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| quote::literal(name)).collect();
    quoted.join(", ")
}
