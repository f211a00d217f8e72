//! Partitions that were attached, truncated, detached or dropped under a captured table: of none of it the stream tells.
//! What landed of rows that went stays, or goes where the spec says so; what came lands. Found by what the catalog says of
//! each, told once; knows no row.

use std::collections::BTreeMap;

use sqlx::Row as _;
use sqlx::postgres::PgConnection;

use super::RESNAPSHOT;
use super::preflight::{Layout, Ready};
use super::standing::Standing;
use crate::descriptor::{Landing, Name, RemovedPartitions, Warehouse};
use crate::error::{During as _, Result};
use crate::quote;

/// The partitions that hold a table's rows, by their names, each with what tells whether it is as it was: its OID, the
/// file that a truncation, or whatever writes it anew, replaces, and the transactions that made it a partition.
type Leaves = BTreeMap<String, String>;

/// A partition as the catalog has it now.
struct Leaf {
    name: String,
    /// As it is written down.
    is: String,
    /// Whether it has rows, and stood by itself before it was a partition.
    brought_rows: bool,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// What somebody should look at.
    pub findings: Vec<String>,
    /// The tables of which a snapshot is due, by their place: not written down until it has landed.
    pub due: Vec<(usize, Standing)>,
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
        let leaves = leaves(source, &table.name).await?;
        let now: Leaves = leaves.iter().map(|leaf| (leaf.name.clone(), leaf.is.clone())).collect();
        let before = known(target, landing).await?;
        if before.as_ref() == Some(&now) {
            continue;
        }
        // The first time all of it has just landed.
        let before = before.unwrap_or_else(|| now.clone());
        let findings = compare(&table.name, &before, &now);
        let gains = leaves.iter().any(|leaf| leaf.brought_rows && is_new(leaf, &before));
        if warehouse.source.removed_partitions == RemovedPartitions::Delete && !findings.is_empty() {
            found.due.push((at, Standing::Lacks));
        } else if gains {
            found.findings.extend(findings);
            found.due.push((at, Standing::Gains));
        } else {
            found.findings.extend(findings);
            write(target, landing, &now).await?;
        }
    }
    Ok(found)
}

fn compare(table: &Name, before: &Leaves, now: &Leaves) -> Vec<String> {
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
    let is_there = |was: &str| now.values().any(|is| Made::of(is).oid == Made::of(was).oid);
    let gone = before.iter().filter(|(_, was)| !is_there(was)).map(|(name, _)| name.as_str());
    say(gone.collect(), "was dropped or detached");
    let is_as_it_was = |was: &str| {
        let was = Made::of(was);
        now.values().map(|is| Made::of(is)).any(|is| (is.oid, is.file) == (was.oid, was.file))
    };
    let replaced = before.iter().filter(|(_, was)| is_there(was) && !is_as_it_was(was));
    say(
        replaced.map(|(name, _)| name.as_str()).collect(),
        "was truncated or written anew, unless all of the table was truncated",
    );
    findings
}

/// What is written down of a partition.
struct Made<'a> {
    oid: &'a str,
    file: Option<&'a str>,
    /// The transactions that put it, and what it is a partition of, below the table; not known of old.
    links: Option<&'a str>,
}

impl<'a> Made<'a> {
    fn of(is: &'a str) -> Self {
        let mut parts = is.split('/');
        Self { oid: parts.next().unwrap_or_default(), file: parts.next(), links: parts.next() }
    }
}

/// Whether a partition has come since, or has gone and come again.
fn is_new(leaf: &Leaf, before: &Leaves) -> bool {
    let is = Made::of(&leaf.is);
    match before.values().map(|was| Made::of(was)).find(|was| was.oid == is.oid) {
        None => true,
        Some(was) => was.links.is_some() && was.links != is.links,
    }
}

/// The partitions that hold rows, and the table itself, so that one without any is known to have been looked at.
///
/// One that is created as a partition has its type, and its columns, from the command that makes it one. One that was
/// a table before was made one by a later transaction, or by a later command of the same, which writes its columns anew.
async fn leaves(source: &mut PgConnection, table: &Name) -> Result<Vec<Leaf>> {
    let unasked = || format!("cannot ask the source for the partitions of `{table}`");
    let rows = sqlx::query(
        "SELECT
            format('`%s`', tree.relid) AS name,
            concat_ws('/', tree.relid::oid, coalesce(pg_relation_filenode(tree.relid), 0), link.made) AS is,
            tree.isleaf
            AND pg_relation_size(tree.relid) > 0
            AND (
                link.youngest < age(type.xmin)
                OR EXISTS (
                    SELECT
                    FROM pg_attribute AS attribute
                    WHERE attribute.attrelid = tree.relid
                    AND attribute.attnum > 0
                    AND attribute.xmin = type.xmin
                    AND attribute.cmin::text::bigint > type.cmin::text::bigint
                )
            ) AS brought_rows
        FROM pg_partition_tree($1::regclass) AS tree
        JOIN pg_class AS class ON class.oid = tree.relid
        JOIN pg_type AS type ON type.oid = class.reltype
        CROSS JOIN LATERAL (
            SELECT
                coalesce(string_agg(inherits.xmin::text, '+' ORDER BY up.place), '') AS made,
                min(age(inherits.xmin)) AS youngest
            FROM pg_partition_ancestors(tree.relid) WITH ORDINALITY AS up (relid, place)
            JOIN pg_inherits AS inherits ON inherits.inhrelid = up.relid
            WHERE up.place <= tree.level
        ) AS link
        WHERE tree.isleaf OR tree.level = 0",
    )
    .bind(quote::name(table))
    .fetch_all(source)
    .await
    .during(unasked)?;
    let leaf = |row: &sqlx::postgres::PgRow| {
        Ok(Leaf {
            name: row.try_get("name")?,
            is: row.try_get("is")?,
            brought_rows: row.try_get::<Option<bool>, _>("brought_rows")?.unwrap_or_default(),
        })
    };
    rows.iter().map(leaf).collect::<std::result::Result<_, sqlx::Error>>().during(unasked)
}

/// What was there the last time; nothing where it was not looked at since all of it landed.
async fn known(target: &mut PgConnection, landing: &Landing) -> Result<Option<Leaves>> {
    let unread = || "cannot read `medallion.captured_table` of the warehouse".to_owned();
    let text: String =
        sqlx::query_scalar("SELECT leaves::text FROM medallion.captured_table WHERE landing = $1")
            .bind(landing.table.to_string())
            .fetch_one(target)
            .await
            .during(unread)?;
    let leaves: Leaves = serde_json::from_str(&text).during(unread)?;
    Ok((!leaves.is_empty()).then_some(leaves))
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
