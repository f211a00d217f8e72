//! Refreshes stored marts inside the transaction that changed what they read: those that read nothing
//! that changed are left alone. Knows what changed only by the relations that `apply` reports.

mod added;
mod grouped;
mod incremental;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use sqlx::PgConnection;

use crate::apply::Applied;
use crate::descriptor::{Mart, Name, Refresh, Storage, Warehouse};
use crate::error::Result;
use crate::quote;
use crate::staging::Staging;
use crate::statement;

/// What is known of a relation's changes.
#[derive(Clone, Copy, Debug)]
struct Changes<'a> {
    /// The table of its rows before and after, where there is one.
    rows: Option<&'a str>,
    /// Whether that table has each of them just once.
    counted: bool,
}

impl Changes<'_> {
    /// It changed, and nothing tells how.
    const SOMEHOW: Self = Self { rows: None, counted: false };
}

/// What has changed of what a mart reads.
type Reads<'a> = BTreeMap<&'a Name, Changes<'a>>;

/// What one mart's refresh did.
#[derive(Clone, Debug)]
pub struct Refreshed {
    /// The mart.
    pub mart: Name,
    /// Rows that went or came; of a materialized view, the rows that it has.
    pub rows: u64,
    /// How long it took.
    pub elapsed: Duration,
}

/// Refreshes every stored mart that reads a changed relation.
pub async fn refresh(
    warehouse: &Warehouse,
    applied: &[Applied],
    connection: &mut PgConnection,
    report: impl FnMut(&Refreshed),
) -> Result<Vec<Refreshed>> {
    refresh_in(warehouse, applied, &BTreeSet::new(), &Staging::default(), connection, report).await
}

/// The same, on a session that has done so before; and some marts are recomputed as a whole.
pub async fn refresh_in(
    warehouse: &Warehouse,
    applied: &[Applied],
    whole: &BTreeSet<Name>,
    staging: &Staging,
    connection: &mut PgConnection,
    report: impl FnMut(&Refreshed),
) -> Result<Vec<Refreshed>> {
    work_through(warehouse, applied, whole, staging, connection, report).await
}

/// The same; and some marts are recomputed as a whole, whatever changed.
pub(crate) async fn rebuild(
    warehouse: &Warehouse,
    applied: &[Applied],
    whole: &BTreeSet<Name>,
    connection: &mut PgConnection,
    report: impl FnMut(&Refreshed),
) -> Result<Vec<Refreshed>> {
    refresh_in(warehouse, applied, whole, &Staging::default(), connection, report).await
}

async fn work_through<'a>(
    warehouse: &'a Warehouse,
    applied: &'a [Applied],
    whole: &BTreeSet<Name>,
    staging: &Staging,
    connection: &mut PgConnection,
    mut report: impl FnMut(&Refreshed),
) -> Result<Vec<Refreshed>> {
    // A changed relation, and the table of its rows before and after where there is one.
    let told = |one: &'a Applied| Changes { rows: one.changes.as_deref(), counted: one.counted };
    let mut changed: Reads<'_> = applied.iter().map(|one| (&one.relation, told(one))).collect();
    let mut refreshed = Vec::new();
    for (number, mart) in warehouse.marts.iter().enumerate() {
        let mut reads: Reads<'_> =
            changed.iter().filter(|(name, _)| mart.reads.contains(name)).map(|(k, v)| (*k, *v)).collect();
        if whole.contains(&mart.table) {
            // Of what was damaged nothing tells which rows.
            reads.insert(&mart.table, Changes::SOMEHOW);
        }
        if reads.is_empty() {
            continue;
        }
        let started = Instant::now();
        let rows = refresh_one(mart, number, &reads, staging, connection)
            .await
            .map_err(|error| error.within(format!("cannot refresh `{}`", mart.table)))?;
        let Some(rows) = rows else {
            // A view stores nothing, but what reads it must know that it changed.
            changed.insert(&mart.table, Changes::SOMEHOW);
            continue;
        };
        let may_have_changed = rows > 0 || matches!(mart.storage, Storage::MaterializedView);
        let one = Refreshed { mart: mart.table.clone(), rows, elapsed: started.elapsed() };
        report(&one);
        if may_have_changed {
            changed.insert(&mart.table, Changes::SOMEHOW);
        }
        refreshed.push(one);
    }
    Ok(refreshed)
}

async fn refresh_one(
    mart: &Mart,
    number: usize,
    reads: &Reads<'_>,
    staging: &Staging,
    connection: &mut PgConnection,
) -> Result<Option<u64>> {
    match &mart.storage {
        Storage::View => Ok(None),
        Storage::MaterializedView => {
            let table = quote::name(&mart.table);
            // In the owner's name, who alone may.
            let refresh = format!("SELECT \"medallion\".\"refresh\"({}::regclass)", quote::literal(&table));
            statement::execute(connection, &refresh).await?;
            let rows = statement::scalar(connection, &format!("SELECT count(*) FROM {table}"), &[]).await?;
            Ok(Some(u64::try_from(rows).unwrap_or_default()))
        }
        Storage::Incremental { definition, refresh } => {
            let (view, columns, unit) = match refresh {
                Refresh::Units(unit) => {
                    (definition, &mart.columns, unit.iter().map(|column| &column.column).collect())
                }
                Refresh::Groups(groups) => (&groups.view, &groups.columns, mart.grain.iter().collect()),
            };
            let indexed = match refresh {
                Refresh::Units(_) => false,
                Refresh::Groups(groups) => groups.sources.iter().all(|source| source.indexed),
            };
            let stored = incremental::Stored { mart, number, view, columns, unit, indexed, staging };
            let rows = match refresh {
                Refresh::Units(unit) => incremental::refresh(&stored, unit, reads, connection).await?,
                Refresh::Groups(groups) => {
                    grouped::refresh(&stored, definition, groups, reads, connection).await?
                }
            };
            Ok(Some(rows))
        }
    }
}
