//! Two queries, maybe on two databases: their rows as text, and what only one of them has. Text is exact
//! where equality is not: 1.0 is not 1.00. Knows no relation.

use std::fmt::Write as _;

use futures_util::TryStreamExt as _;
use sqlx::{AssertSqlSafe, Executor as _, PgConnection};

/// How many rows of a difference are shown, each way.
const SHOWN: usize = 8;

/// The rows of a query, as COPY writes them, sorted.
pub async fn rows(connection: &mut PgConnection, sql: &str) -> Vec<String> {
    let mut rows = copy(connection, sql).await;
    rows.sort_unstable();
    rows
}

/// The rows of a query, as COPY writes them, in the query's order.
pub async fn copy(connection: &mut PgConnection, sql: &str) -> Vec<String> {
    let copy = format!("COPY (\n{sql}\n) TO STDOUT");
    let chunks: Vec<_> = connection
        .copy_out_raw(&copy)
        .await
        .unwrap_or_else(|error| panic!("{error}\nin\n{sql}"))
        .try_collect()
        .await
        .unwrap_or_else(|error| panic!("{error}\nin\n{sql}"));
    let text = String::from_utf8(chunks.concat()).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// What differs between the rows expected and those found; nothing when they are the same, each as often.
pub fn difference(what: &str, expected: &[String], found: &[String]) -> Option<String> {
    if expected == found {
        return None;
    }
    let missing = beyond(expected, found);
    let surplus = beyond(found, expected);
    let mut text = format!(
        "{what}: {} rows expected, {} found; {} missing, {} too many",
        expected.len(),
        found.len(),
        missing.len(),
        surplus.len()
    );
    for (mark, rows) in [('-', &missing), ('+', &surplus)] {
        for row in rows.iter().take(SHOWN) {
            write!(text, "\n  {mark} {row}").unwrap();
        }
        if rows.len() > SHOWN {
            write!(text, "\n  {mark} … {} more", rows.len() - SHOWN).unwrap();
        }
    }
    Some(text)
}

/// The rows of one sorted list that the other lacks, as often as it lacks them.
fn beyond<'a>(rows: &'a [String], others: &[String]) -> Vec<&'a String> {
    let mut others = others.iter().peekable();
    rows.iter()
        .filter(|row| {
            while others.next_if(|other| other < row).is_some() {}
            others.next_if(|other| other == row).is_none()
        })
        .collect()
}

/// Fails with all that differs.
#[track_caller]
pub fn assert_none(context: &str, differences: &[String]) {
    assert!(differences.is_empty(), "{context}:\n{}", differences.join("\n"));
}

/// Runs statements; what fails is shown with them.
pub async fn execute(connection: &mut PgConnection, sql: &str) {
    if let Err(error) = connection.execute(AssertSqlSafe(sql.to_owned())).await {
        panic!("{error}\nin\n{sql}");
    }
}

/// The one value of a query, as text.
pub async fn value(connection: &mut PgConnection, sql: &str) -> String {
    let mut rows = rows(connection, sql).await;
    assert_eq!(rows.len(), 1, "one row of\n{sql}");
    rows.remove(0)
}

/// Waits until no other session is left in its database: what they have read is counted then.
pub async fn alone(connection: &mut PgConnection) {
    let others = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()";
    while value(connection, others).await != "0" {
        tokio::task::yield_now().await;
    }
}
