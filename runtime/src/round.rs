//! One round behind the landing, the same for `run` and `watch`: apply, refresh and test in one transaction, so that
//! readers see all of it or nothing, and nothing that a test refuses. Knows no capture and tells nobody.

use std::collections::BTreeSet;
use std::time::Duration;

use sqlx::{Connection as _, PgConnection, Row as _};

use crate::apply::{self, Applied, Evolved, misfit};
use crate::data_test::{self, Changed, Look, Tested};
use crate::descriptor::{Name, Warehouse};
use crate::error::{During as _, Result};
use crate::refresh::{self, Refreshed};
use crate::staging::Staging;
use crate::statement;

/// What a round published.
#[derive(Clone, Debug, Default)]
pub struct Published {
    /// Silver relations that changed.
    pub applied: Vec<Applied>,
    /// Stored marts that were refreshed.
    pub refreshed: Vec<Refreshed>,
    /// What was tested of it.
    pub tested: Vec<Tested>,
    /// The system time up to which the warehouse is true; none before anything landed.
    pub system_time: Option<String>,
    /// What silver leaves out since then, for it cannot be computed.
    pub findings: Vec<String>,
}

/// How a round ended.
#[derive(Clone, Debug)]
pub enum Round {
    /// Readers see it.
    Published(Published),
    /// A test refused it: silver and gold are as they were. All that was tested.
    Held(Vec<Tested>),
}

/// What keeps a session from outliving its program, and statements predictable.
pub async fn prepare_session(connection: &mut PgConnection) -> Result<()> {
    statement::execute(connection, "SET client_connection_check_interval = '1s'").await?;
    statement::execute(connection, "SET jit = off").await?;
    Ok(())
}

/// Whether it is known that something waits to be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// It is asked first: a transaction holds writers up.
    Perhaps,
    /// Something has landed.
    Surely,
}

/// Brings silver and gold up to what has landed; reports each relation as it is done. The staging is the
/// session's.
pub async fn publish(
    warehouse: &Warehouse,
    waits: Waits,
    staging: &Staging,
    target: &mut PgConnection,
    report: impl FnMut(&Name, u64, Duration),
) -> Result<Round> {
    if waits == Waits::Perhaps && !apply::is_due(warehouse, target).await? {
        let nothing = Published { system_time: system_time(target).await?, ..Published::default() };
        return Ok(Round::Published(nothing));
    }
    let round = publish_all(warehouse, &BTreeSet::new(), staging, target, report).await;
    if !matches!(round, Ok(Round::Published(_))) {
        staging.forget();
    }
    round
}

/// The same; and some relations are computed anew from all that has landed and was written.
pub async fn publish_anew(
    warehouse: &Warehouse,
    whole: &BTreeSet<Name>,
    target: &mut PgConnection,
    report: impl FnMut(&Name, u64, Duration),
) -> Result<Round> {
    publish_all(warehouse, whole, &Staging::default(), target, report).await
}

/// A plan that is kept serves whatever is bound.
const SETTINGS: &str = "SET LOCAL work_mem = '64MB'; SET LOCAL plan_cache_mode = force_generic_plan";

/// What becomes of what relations left out that are computed anew.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Misfits {
    /// It is tried once more.
    Forgotten,
    /// It has just been found.
    Kept,
}

/// All or nothing; where a value keeps it from being done, once more without the changes that cannot be computed: then
/// relations that had been done are reported once more.
async fn publish_all(
    warehouse: &Warehouse,
    whole: &BTreeSet<Name>,
    staging: &Staging,
    target: &mut PgConnection,
    mut report: impl FnMut(&Name, u64, Duration),
) -> Result<Round> {
    let error = match attempt(warehouse, whole, Misfits::Forgotten, staging, target, &mut report).await {
        Err(error) if misfit::may_be(warehouse, &error) => error,
        outcome => return outcome,
    };
    staging.forget();
    let findings = misfit::set_aside(warehouse, whole, target).await?;
    if findings.is_empty() {
        return Err(error);
    }
    let round = attempt(warehouse, whole, Misfits::Kept, staging, target, &mut report).await?;
    Ok(match round {
        Round::Published(published) => Round::Published(Published { findings, ..published }),
        held => held,
    })
}

async fn attempt(
    warehouse: &Warehouse,
    whole: &BTreeSet<Name>,
    misfits: Misfits,
    staging: &Staging,
    target: &mut PgConnection,
    report: &mut impl FnMut(&Name, u64, Duration),
) -> Result<Round> {
    let mut transaction =
        target.begin().await.during(|| "cannot begin a transaction on the warehouse".to_owned())?;
    apply::hold(warehouse, &mut transaction).await?;
    statement::set(&mut transaction, SETTINGS).await?;
    let landed = data_test::landed_since(warehouse, &mut transaction).await?;
    let mut left = Evolved::read(&mut transaction).await?.recompute(warehouse);
    left.extend(whole.iter().cloned());
    if misfits == Misfits::Forgotten {
        misfit::forget(warehouse, &left, &mut transaction).await?;
    }
    let applied = apply::apply_in(warehouse, &left, staging, &mut transaction, |one| {
        report(&one.relation, one.rows, one.elapsed);
    })
    .await?;
    let refreshed = refresh::refresh_in(warehouse, &applied, &left, staging, &mut transaction, |one| {
        report(&one.mart, one.rows, one.elapsed);
    })
    .await?;
    if !left.is_empty() {
        Evolved::done(&left, &mut transaction).await?;
    }
    let changed = Changed::new(warehouse, &applied, &refreshed, landed).whole(warehouse, &left);
    let tested = data_test::look(warehouse, &Look::Changed(&changed), &mut transaction, |_| ()).await?;
    if tested.iter().any(|one| one.status.holds_back()) {
        transaction.rollback().await.during(|| "cannot undo what a test refused".to_owned())?;
        return Ok(Round::Held(tested));
    }
    let system_time = system_time(&mut transaction).await?;
    transaction.commit().await.during(|| "cannot commit silver and gold".to_owned())?;
    Ok(Round::Published(Published { applied, refreshed, tested, system_time, findings: Vec::new() }))
}

/// The system time up to which the warehouse is true; none before anything landed.
pub async fn system_time(connection: &mut PgConnection) -> Result<Option<String>> {
    let row = sqlx::query("SELECT max(system_time)::text FROM medallion.watermark")
        .fetch_one(connection)
        .await
        .during(|| "cannot read the watermarks".to_owned())?;
    Ok(row.get(0))
}
