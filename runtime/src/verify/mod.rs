//! Verifies the laws on the warehouse at hand: periods are disjoint, one version of a key is current, silver
//! is the fold of bronze and the journal, stored marts equal their definitions, no guard is switched off, no function of the
//! owner's is everybody's. All is asked of one snapshot, which a run can neither block nor be blocked by; what is computed
//! for it is rolled back. Changes nothing.

mod finding;
mod fold;
mod guard;
mod mart;
mod period;
mod privilege;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::time::{Duration, Instant};

use serde::Serialize;
use sqlx::{Connection as _, PgConnection};

pub use finding::Finding;

use crate::apply::Due;
use crate::connection::{self, Database};
use crate::descriptor::{Name, Warehouse};
use crate::error::{During as _, Result};
use crate::place::Place;
use crate::select::Selected;
use crate::staging::Staging;
use crate::{apart, migrate, retain, round, statement};

/// Where the tool's own functions stand.
const TOOL_SCHEMA: &str = "medallion";

/// One law on one relation.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// The relation, with its schema; of what belongs to none the schema.
    pub relation: String,
    /// What has to hold.
    pub law: &'static str,
    /// How many rows break it.
    pub broken: u64,
    /// The first of them.
    pub findings: Vec<Finding>,
    /// What keeps it from being told before the next run.
    pub waits: Option<String>,
    /// What mends it, where that is no rebuild.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<&'static str>,
    /// How long it took.
    #[serde(serialize_with = "seconds")]
    pub elapsed: Duration,
}

fn seconds<S: serde::Serializer>(elapsed: &Duration, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_f64(elapsed.as_secs_f64())
}

/// What a query of a law found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Broken {
    pub rows: u64,
    pub findings: Vec<Finding>,
    pub waits: Option<String>,
    pub remedy: Option<&'static str>,
}

/// Relations of which something waits for the next run.
pub(crate) type Waiting = BTreeSet<Name>;

/// Verifies everything; each check is reported as it is done.
pub async fn verify(warehouse: &Warehouse, place: &Place, report: impl FnMut(&Check)) -> Result<Vec<Check>> {
    verify_of(warehouse, None, place, report).await
}

/// The same, of some relations only.
pub async fn verify_of(
    warehouse: &Warehouse,
    selected: Option<&Selected>,
    place: &Place,
    report: impl FnMut(&Check),
) -> Result<Vec<Check>> {
    let mut target = connection::connect(Database::Warehouse, &place.warehouse).await?;
    round::prepare_session(&mut target).await?;
    migrate::check(warehouse, &mut target).await?;
    let mut bronze = apart::look(warehouse, place, &mut target).await?;
    in_snapshot(warehouse, selected, &mut target, bronze.as_mut(), report).await
}

/// Verifies everything, on a session without an open transaction.
pub async fn on(
    warehouse: &Warehouse,
    target: &mut PgConnection,
    report: impl FnMut(&Check),
) -> Result<Vec<Check>> {
    in_snapshot(warehouse, None, target, None, report).await
}

async fn in_snapshot(
    warehouse: &Warehouse,
    selected: Option<&Selected>,
    target: &mut PgConnection,
    bronze: Option<&mut PgConnection>,
    mut report: impl FnMut(&Check),
) -> Result<Vec<Check>> {
    let mut transaction =
        target.begin().await.during(|| "cannot begin a transaction on the warehouse".to_owned())?;
    statement::execute(&mut transaction, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ").await?;
    statement::execute(&mut transaction, "SET LOCAL work_mem = '64MB'").await?;
    let mut checks = Vec::new();
    all(warehouse, selected, &mut transaction, bronze, &mut |check| {
        report(&check);
        checks.push(check);
    })
    .await?;
    transaction.rollback().await.during(|| "cannot undo what was computed".to_owned())?;
    Ok(checks)
}

async fn all(
    warehouse: &Warehouse,
    selected: Option<&Selected>,
    connection: &mut PgConnection,
    mut bronze: Option<&mut PgConnection>,
    done: &mut dyn FnMut(Check),
) -> Result<()> {
    let is_selected = |name: &Name| selected.is_none_or(|selected| selected.contains(name));
    if selected.is_none() {
        let started = Instant::now();
        let broken = privilege::broken(connection, bronze.as_deref_mut()).await?;
        done(check(TOOL_SCHEMA, "keeps its functions from PUBLIC", broken, started));
    }
    for landing in warehouse.landings.iter().filter(|one| is_selected(&one.table)) {
        let started = Instant::now();
        // Where bronze stands apart, what keeps it stands there.
        let kept_in = match &mut bronze {
            Some(bronze) => &mut **bronze,
            None => &mut *connection,
        };
        let broken = guard::broken(&landing.table, guard::APPEND_ONLY, kept_in).await?;
        done(check(&landing.table, "is kept by its triggers", broken, started));
    }
    let due = Due::read(warehouse, connection).await?;
    if let Some(bronze) = &mut bronze {
        // The snapshot of bronze is younger, and it may be folded further.
        retain::check_younger(connection, bronze).await?;
    }
    let mut waiting = Waiting::new();
    // What is computed anew, and what looks that up.
    let mut anew = due.left(warehouse);
    let staging = Staging::default();
    for (number, silver) in warehouse.silver.iter().enumerate() {
        if is_selected(&silver.table) {
            let started = Instant::now();
            let (kept, triggers) = guard::of(silver);
            let broken = guard::broken(kept, triggers, connection).await?;
            done(check(&silver.table, "is kept by its triggers", broken, started));
            for (law, sql) in period::laws(silver) {
                let started = Instant::now();
                let broken = period::broken(&sql, connection).await?;
                done(check(&silver.table, law, broken, started));
            }
        }
        if silver.lookups.iter().any(|lookup| anew.contains(&lookup.relation)) {
            anew.insert(silver.table.clone());
        }
        let started = Instant::now();
        let computed = anew.contains(&silver.table);
        // What others look up is computed for them, whether it is asked about or not; marts wait for what waits.
        let is_needed = is_selected(&silver.table)
            || warehouse.marts.iter().any(|mart| is_selected(&mart.table))
            || warehouse.silver.iter().flat_map(|one| &one.lookups).any(|one| one.relation == silver.table);
        if !is_needed {
            continue;
        }
        let step = fold::Fold { warehouse, due: &due, number, staging: &staging, anew: computed };
        let broken = step
            .broken(&mut waiting, connection)
            .await
            .map_err(|error| error.within(format!("cannot compare `{}` with what landed", silver.table)))?;
        if is_selected(&silver.table) {
            done(check(&silver.table, "is the fold of what landed and was written", broken, started));
        }
    }
    let mut stale: BTreeMap<&Name, bool> = waiting.iter().chain(&anew).map(|name| (name, true)).collect();
    for stored in &warehouse.marts {
        let waits =
            stale.contains_key(&stored.table) || stored.reads.iter().any(|read| stale.contains_key(read));
        if waits {
            stale.insert(&stored.table, true);
        }
        if !is_selected(&stored.table) {
            continue;
        }
        let started = Instant::now();
        if let Some(broken) = mart::broken(stored, waits, connection).await? {
            done(check(&stored.table, "equals its definition", broken, started));
        }
    }
    Ok(())
}

fn check(relation: impl Display, law: &'static str, broken: Broken, started: Instant) -> Check {
    Check {
        relation: relation.to_string(),
        law,
        broken: broken.rows,
        findings: broken.findings,
        waits: broken.waits,
        remedy: broken.remedy,
        elapsed: started.elapsed(),
    }
}
