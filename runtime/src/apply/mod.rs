//! Applies landed changes to silver, set-based: a handful of statements a relation, all relations in the
//! caller's one transaction. Dimensions and facts go the same way:
//!
//! ```text
//! landed changes ─▶ own states ─▶ states (lookups resolved) ─▶ versions ─▶ dimension | fact + archive
//! ```
//!
//! A *state* is what a key looked like from a system time on; where neighbours are equal they are one
//! *version*. Knows no capture and no mart; what changed is left in temporary tables for `refresh`.

mod merge;
mod own;
mod partition;
mod state;
mod version;

use std::collections::BTreeMap;

use sqlx::{PgConnection, Row as _};

use crate::descriptor::{Name, Silver, SilverKind, Warehouse};
use crate::error::{During as _, Error, Result};
use crate::statement;

/// What one relation's apply did.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The relation.
    pub relation: Name,
    /// Versions (of a dimension) or states (of a fact) that came to be.
    pub rows: u64,
    /// The temporary table of the rows before and after, with the relation's columns.
    pub changes: String,
    /// How long it took.
    pub elapsed: std::time::Duration,
}

/// The stretch of bronze that an apply takes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// Changes above this position.
    pub after_lsn: i64,
    /// Changes up to this position.
    pub to_lsn: i64,
    /// The system time of `after_lsn`, as PostgreSQL writes it; `-infinity` at the start.
    pub after_time: String,
}

/// One relation's way through an apply: its place in the list names its temporary tables.
pub(crate) struct Step<'a> {
    pub silver: &'a Silver,
    pub number: usize,
    pub window: Window,
    pub time_zone: &'a str,
}

impl Step<'_> {
    pub fn table(&self, what: &str) -> String {
        format!("pg_temp.{what}_{}", self.number)
    }
}

/// Brings every silver relation up to what has landed. Runs inside the caller's transaction; returns the
/// relations that changed, in order.
pub async fn apply(
    warehouse: &Warehouse,
    connection: &mut PgConnection,
    mut report: impl FnMut(&Applied),
) -> Result<Vec<Applied>> {
    let Some((to_lsn, to_time)) = landed(warehouse, connection).await? else {
        return Ok(Vec::new());
    };
    // What is applied has its own times and hashes: versioning lets it pass, in this transaction.
    statement::execute(connection, "SELECT \"medallion\".\"backfill\"()").await?;
    let marks = watermarks(connection).await?;
    let mut applied: Vec<Applied> = Vec::new();
    let mut changed: BTreeMap<Name, usize> = BTreeMap::new();

    for (number, silver) in warehouse.silver.iter().enumerate() {
        let mark = marks.get(&silver.table.to_string());
        if mark.is_some_and(|(lsn, _)| *lsn >= to_lsn) {
            continue;
        }
        let (after_lsn, after_time) = mark.cloned().unwrap_or((-1, "-infinity".to_owned()));
        let window = Window { after_lsn, to_lsn, after_time };
        let step = Step { silver, number, window, time_zone: warehouse.time_zone };
        let started = std::time::Instant::now();
        let rows = apply_one(warehouse, &step, &changed, connection).await.map_err(|error| {
            explained(error).within(format!("cannot apply changes to `{}`", silver.table))
        })?;
        if rows > 0 {
            changed.insert(silver.table.clone(), number);
            let changes = step.table("change");
            let elapsed = started.elapsed();
            let one = Applied { relation: silver.table.clone(), rows, changes, elapsed };
            report(&one);
            applied.push(one);
        }
    }
    move_watermarks(warehouse, connection, to_lsn, &to_time).await?;
    Ok(applied)
}

/// Adds what to do about a value that silver does not take. Bronze has it, whatever the source says later.
fn explained(error: Error) -> Error {
    match error.sqlstate().as_deref() {
        Some(state) if state.starts_with("22") || state == "23502" => error.remedy(
            "a landed value does not fit its column: give the column a type that takes it (or `null = true`) \
             in the spec, then `medallion generate` and `medallion migrate fresh --yes`",
        ),
        _ => error,
    }
}

async fn apply_one(
    warehouse: &Warehouse,
    step: &Step<'_>,
    changed: &BTreeMap<Name, usize>,
    connection: &mut PgConnection,
) -> Result<u64> {
    let lookups = lookup_sources(warehouse, step.silver, changed);
    let found = own::stage(step, &lookups, connection).await?;
    if found == 0 {
        return Ok(0);
    }
    state::stage(step, &lookups, connection).await?;
    let versions = version::stage(step, connection).await?;
    if versions == 0 {
        return Ok(0);
    }
    merge::stage_changes(step, connection).await?;
    match &step.silver.kind {
        SilverKind::Dimension { .. } => merge::dimension(step, connection).await,
        SilverKind::Fact { .. } => {
            partition::make(step, connection).await?;
            merge::fact(step, connection).await
        }
    }
}

/// A lookup with the relation that it reads.
pub(crate) struct LookupSource<'a> {
    pub lookup: &'a crate::descriptor::Lookup,
    pub relation: &'a Silver,
    /// The number of the relation's step, when it changed in this apply.
    pub changed: Option<usize>,
}

fn lookup_sources<'a>(
    warehouse: &'a Warehouse,
    silver: &'a Silver,
    changed: &BTreeMap<Name, usize>,
) -> Vec<LookupSource<'a>> {
    silver
        .lookups
        .iter()
        .map(|lookup| LookupSource {
            lookup,
            relation: warehouse
                .silver
                .iter()
                .find(|relation| relation.table == lookup.relation)
                .expect("a descriptor's lookups name relations of its warehouse"),
            changed: changed.get(&lookup.relation).copied(),
        })
        .collect()
}

async fn landed(warehouse: &Warehouse, connection: &mut PgConnection) -> Result<Option<(i64, String)>> {
    let row = sqlx::query(
        "SELECT last_lsn, last_commit_ts::text FROM medallion.source_position \
         WHERE slot = $1 AND last_commit_ts IS NOT NULL",
    )
    .bind(&warehouse.source.slot)
    .fetch_optional(connection)
    .await
    .during(|| "cannot read what has landed".to_owned())?;
    Ok(row.map(|row| (row.get(0), row.get(1))))
}

async fn watermarks(connection: &mut PgConnection) -> Result<BTreeMap<String, (i64, String)>> {
    let rows = sqlx::query("SELECT relation, lsn, system_time::text FROM medallion.watermark")
        .fetch_all(connection)
        .await
        .during(|| "cannot read the watermarks".to_owned())?;
    Ok(rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect())
}

async fn move_watermarks(
    warehouse: &Warehouse,
    connection: &mut PgConnection,
    lsn: i64,
    time: &str,
) -> Result<()> {
    let relations: Vec<String> = warehouse.silver.iter().map(|silver| silver.table.to_string()).collect();
    sqlx::query(
        "INSERT INTO medallion.watermark AS mark (relation, lsn, system_time) \
         SELECT relation, $2, $3::timestamptz FROM unnest($1::text[]) AS relation \
         ON CONFLICT (relation) DO UPDATE \
         SET lsn = excluded.lsn, system_time = excluded.system_time, updated_at = now() \
         WHERE mark.lsn < excluded.lsn",
    )
    .bind(relations)
    .bind(lsn)
    .bind(time)
    .execute(connection)
    .await
    .during(|| "cannot move the watermarks".to_owned())?;
    Ok(())
}
