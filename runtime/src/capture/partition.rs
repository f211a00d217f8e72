//! Partitions that were truncated, detached or dropped under a captured table: of none of it the stream tells, and
//! what landed of their rows stays, or goes where the spec says so. Found by what the catalog says of each, told once;
//! knows no row.

use std::collections::BTreeMap;

use sqlx::Row as _;
use sqlx::postgres::PgConnection;

use super::RESNAPSHOT;
use super::preflight::{Layout, Ready};
use super::standing::Standing;
use crate::descriptor::{Landing, Name, RemovedPartitions, Warehouse};
use crate::error::{During as _, Result};
use crate::quote;

/// The partitions that hold a table's rows, by their names, each with what tells whether it is as it was: its OID,
/// and the file that a truncation, or whatever writes it anew, replaces.
type Leaves = BTreeMap<String, String>;

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// What somebody should look at.
    pub findings: Vec<String>,
    /// The tables of which rows are to be deleted, by their place: not written down until they have been.
    pub lacking: Vec<usize>,
}

/// Compares with what was there the last time; gives what was found, and writes down what is there.
pub async fn look(
    source: &mut PgConnection,
    target: &mut PgConnection,
    warehouse: &Warehouse,
    ready: &Ready,
) -> Result<Found> {
    let mut found = Found::default();
    for (at, (landing, table)) in warehouse.captured().iter().zip(&ready.tables).enumerate() {
        if table.layout != Layout::Partitioned || table.standing != Standing::Captured {
            continue;
        }
        let now = leaves(source, &table.name).await?;
        let before = known(target, landing).await?;
        if now == before {
            continue;
        }
        let findings = compare(&table.name, &before, &now);
        if warehouse.source.removed_partitions == RemovedPartitions::Delete && !findings.is_empty() {
            found.lacking.push(at);
        } else {
            found.findings.extend(findings);
            write(target, landing, &now).await?;
        }
    }
    Ok(found)
}

fn compare(table: &Name, before: &Leaves, now: &Leaves) -> Vec<String> {
    let is_there = |was: &str| {
        let oid = was.split('/').next();
        now.values().any(|is| is.split('/').next() == oid)
    };
    let mut findings = Vec::new();
    let mut say = |names: Vec<&str>, what: &str| {
        if !names.is_empty() {
            findings.push(format!(
                "{} of `{table}` {what}, which the stream does not tell: rows that went with it stay as they were; \
                 {RESNAPSHOT}, with a delete for each row that is gone",
                names.join(", ")
            ));
        }
    };
    let gone = before.iter().filter(|(_, was)| !is_there(was)).map(|(name, _)| name.as_str());
    say(gone.collect(), "was dropped or detached");
    let replaced = before.iter().filter(|(_, was)| is_there(was) && !now.values().any(|is| is == *was));
    say(
        replaced.map(|(name, _)| name.as_str()).collect(),
        "was truncated or written anew, unless all of the table was truncated",
    );
    findings
}

async fn leaves(source: &mut PgConnection, table: &Name) -> Result<Leaves> {
    let unasked = || format!("cannot ask the source for the partitions of `{table}`");
    let rows = sqlx::query(
        "SELECT format('`%s`', relid) AS name, concat(relid::oid, '/', pg_relation_filenode(relid)) AS is
        FROM pg_partition_tree($1::regclass)
        WHERE isleaf AND relid <> $1::regclass",
    )
    .bind(quote::name(table))
    .fetch_all(source)
    .await
    .during(unasked)?;
    let mut leaves = Leaves::new();
    for row in &rows {
        leaves.insert(row.try_get("name").during(unasked)?, row.try_get("is").during(unasked)?);
    }
    Ok(leaves)
}

async fn known(target: &mut PgConnection, landing: &Landing) -> Result<Leaves> {
    let unread = || "cannot read `medallion.captured_table` of the warehouse".to_owned();
    let text: String =
        sqlx::query_scalar("SELECT leaves::text FROM medallion.captured_table WHERE landing = $1")
            .bind(landing.table.to_string())
            .fetch_one(target)
            .await
            .during(unread)?;
    serde_json::from_str(&text).during(unread)
}

async fn write(target: &mut PgConnection, landing: &Landing, leaves: &Leaves) -> Result<()> {
    let unwritten = || "cannot write `medallion.captured_table` of the warehouse".to_owned();
    let text = serde_json::to_string(leaves).during(unwritten)?;
    sqlx::query(
        "UPDATE medallion.captured_table SET leaves = $2::jsonb, updated_at = now() WHERE landing = $1",
    )
    .bind(landing.table.to_string())
    .bind(text)
    .execute(target)
    .await
    .map(drop)
    .during(unwritten)
}
