//! Unit tests of logic: given these changes of bronze, or these rows of silver, a relation has those rows, in the end or
//! as of a time. Each runs in a transaction of a scratch database that is rolled back, through the same `apply` and
//! `refresh` as a run; changes of several times once together and once round by round, which is to make no difference.
//! Touches no warehouse.

mod check;
mod compare;
mod report;
mod scratch;
mod trace;
mod written;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, PgConnection};

use crate::connection::{self, Database};
use crate::descriptor::{Name, Warehouse};
use crate::error::{During as _, Error, Result};
use crate::staging::Staging;
use crate::{apply, quote, refresh, statement};
use check::{Expected, Ready};
pub use report::{junit, run_results};
use scratch::Scratch;
use trace::Change;

/// How a unit test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// All is as expected.
    Passed,
    /// Some relation has other rows.
    Failed,
    /// The pipeline refused what was given.
    Broken,
}

/// A unit test that ran.
#[derive(Clone, Debug)]
pub struct Tested {
    /// What it is called.
    pub name: String,
    /// `file:line:column` of what was not met; of the test itself where it passed.
    pub place: String,
    /// The relation that is not as expected; of a test that passed, the first that it is about.
    pub relation: String,
    /// How it ended.
    pub status: Status,
    /// What is wrong, in a line or several.
    pub message: Option<String>,
    /// What was expected and what was found, as a diff.
    pub diff: Vec<String>,
    /// How many lines of it differ.
    pub failures: u64,
    /// How long it took.
    pub elapsed: Duration,
}

/// Which tests run, by the stored relations that they expect something of.
pub type Chosen<'a> = dyn Fn(&[Name]) -> bool + Sync + 'a;

/// Runs the tests of files and folders on a scratch database of the server that the URL names, else on the embedded
/// one. Each is reported as it is done, with its
/// number and how many there are.
pub async fn run(
    warehouse: &Warehouse,
    paths: &[PathBuf],
    url: Option<&str>,
    chosen: &Chosen<'_>,
    report: impl FnMut(&Tested, usize, usize),
) -> Result<Vec<Tested>> {
    // What cannot be read needs no database.
    if read(warehouse, paths, chosen)?.is_empty() {
        return Ok(Vec::new());
    }
    let mut bench = Bench::make(warehouse, url).await?;
    let outcome = bench.run(paths, chosen, report).await;
    let dropped = bench.drop().await;
    let tested = outcome?;
    dropped?;
    Ok(tested)
}

fn read(warehouse: &Warehouse, paths: &[PathBuf], chosen: &Chosen<'_>) -> Result<Vec<written::UnitTest>> {
    let mut tests = written::read(paths)?;
    for test in &tests {
        check::names(warehouse, test)?;
    }
    tests.retain(|test| chosen(&check::about(warehouse, test)));
    Ok(tests)
}

/// Where tests run: a scratch database with a warehouse's objects, which no test leaves anything in.
pub struct Bench<'a> {
    warehouse: &'a Warehouse,
    scratch: Scratch,
    /// The session of the pipeline.
    connection: PgConnection,
    /// The session that reads what is written.
    desk: PgConnection,
    relations: check::Relations,
}

impl<'a> Bench<'a> {
    /// Makes one, on the server of a URL or on the embedded one.
    pub async fn make(warehouse: &'a Warehouse, url: Option<&str>) -> Result<Self> {
        let scratch = Scratch::make(url).await.map_err(scratch::unmade)?;
        match furnish(warehouse, &scratch).await {
            Ok((connection, desk, relations)) => Ok(Self { warehouse, scratch, connection, desk, relations }),
            Err(error) => {
                // The error at hand matters more.
                let _ = scratch.drop().await;
                Err(scratch::unmade(error))
            }
        }
    }

    /// Runs the tests of files and folders.
    pub async fn run(
        &mut self,
        paths: &[PathBuf],
        chosen: &Chosen<'_>,
        mut report: impl FnMut(&Tested, usize, usize),
    ) -> Result<Vec<Tested>> {
        let tests = read(self.warehouse, paths, chosen)?;
        let mut ready = Vec::new();
        for test in &tests {
            ready.push(check::ready(self.warehouse, &self.relations, test, &mut self.desk).await?);
        }
        let mut tested = Vec::new();
        for (number, (test, ready)) in (1..).zip(tests.iter().zip(&ready)) {
            let one = run_one(self.warehouse, test, ready, &mut self.connection).await?;
            report(&one, number, tests.len());
            tested.push(one);
        }
        Ok(tested)
    }

    /// Drops the database.
    pub async fn drop(self) -> Result<()> {
        self.scratch.drop().await
    }
}

async fn furnish(
    warehouse: &Warehouse,
    scratch: &Scratch,
) -> Result<(PgConnection, PgConnection, check::Relations)> {
    let connection = scratch.furnish(warehouse).await?;
    let mut desk = connection::connect(Database::Warehouse, scratch.url()).await?;
    statement::execute(&mut desk, &format!("SET TimeZone = {}", quote::literal(warehouse.time_zone))).await?;
    let relations = check::Relations::read(warehouse, &mut desk).await?;
    Ok((connection, desk, relations))
}

async fn run_one(
    warehouse: &Warehouse,
    test: &written::UnitTest,
    ready: &Ready,
    connection: &mut PgConnection,
) -> Result<Tested> {
    let started = Instant::now();
    let found = of_all_ways(warehouse, ready, connection).await?;
    let mut one = Tested {
        name: test.name.value.clone(),
        place: test.name.place.at(),
        relation: ready.expected.first().map(|one| one.called.clone()).unwrap_or_default(),
        status: Status::Passed,
        message: None,
        diff: Vec::new(),
        failures: 0,
        elapsed: started.elapsed(),
    };
    match found {
        Found::AsExpected => {}
        Found::Refused(error) => {
            one.status = Status::Broken;
            one.message = Some(error.to_string());
            one.failures = 1;
        }
        Found::Otherwise { expected, way, difference } => {
            one.status = Status::Failed;
            one.place = expected.place.at();
            one.relation.clone_from(&expected.called);
            one.message = Some(format!("`{}` is not as expected{way}", expected.called));
            one.failures = difference.differing;
            one.diff = difference.lines;
        }
    }
    Ok(one)
}

/// What a test has found.
enum Found<'a> {
    AsExpected,
    Otherwise { expected: &'a Expected, way: &'static str, difference: compare::Difference },
    Refused(Error),
}

async fn of_all_ways<'a>(
    warehouse: &Warehouse,
    ready: &'a Ready,
    connection: &mut PgConnection,
) -> Result<Found<'a>> {
    let together: Vec<&[Change]> = if ready.changes.is_empty() { Vec::new() } else { vec![&ready.changes] };
    let found = one_way(warehouse, ready, &together, "", connection).await?;
    let apart: Vec<&[Change]> = ready.changes.chunk_by(|one, next| one.time == next.time).collect();
    if apart.len() < 2 || !matches!(found, Found::AsExpected) {
        return Ok(found);
    }
    one_way(warehouse, ready, &apart, " when every time has a run of its own", connection).await
}

async fn one_way<'a>(
    warehouse: &Warehouse,
    ready: &'a Ready,
    rounds: &[&[Change]],
    way: &'static str,
    connection: &mut PgConnection,
) -> Result<Found<'a>> {
    statement::execute(connection, "BEGIN").await?;
    let found = transaction(warehouse, ready, rounds, connection).await;
    statement::execute(connection, "ROLLBACK").await?;
    match found {
        Ok(None) => Ok(Found::AsExpected),
        Ok(Some((expected, difference))) => Ok(Found::Otherwise { expected, way, difference }),
        Err(error) if error.is_of_connection() => Err(error),
        Err(error) => Ok(Found::Refused(error)),
    }
}

async fn transaction<'a>(
    warehouse: &Warehouse,
    ready: &'a Ready,
    rounds: &[&[Change]],
    connection: &mut PgConnection,
) -> Result<Option<(&'a Expected, compare::Difference)>> {
    apply::hold(warehouse, connection).await?;
    statement::execute(connection, "SELECT \"medallion\".\"backfill\"()").await?;
    for given in &ready.given {
        sqlx::query(AssertSqlSafe(given.sql.clone()))
            .bind(&given.rows)
            .execute(&mut *connection)
            .await
            .during(|| format!("cannot put rows into `{}`", given.relation))?;
    }
    let staging = Staging::default();
    // What was not applied but given is in no mart yet.
    let all: BTreeSet<Name> = warehouse.marts.iter().map(|mart| mart.table.clone()).collect();
    let mut whole = if ready.given.is_empty() { BTreeSet::new() } else { all };
    for round in rounds {
        // What a round works in goes with its transaction, and here all have one.
        staging.clear(connection).await?;
        trace::land(warehouse, round, connection).await?;
        let applied = apply::apply_in(warehouse, &BTreeSet::new(), &staging, connection, |_| ()).await?;
        refresh::refresh_in(warehouse, &applied, &whole, &staging, connection, |_| ()).await?;
        whole.clear();
    }
    if rounds.is_empty() {
        refresh::refresh_in(warehouse, &[], &whole, &staging, connection, |_| ()).await?;
    }
    if let Some(now) = &ready.now {
        sqlx::query(
            "INSERT INTO medallion.watermark (relation, lsn, system_time) \
             VALUES ('', -1, CAST(CAST($1 AS text) AS timestamptz))",
        )
        .bind(now)
        .execute(&mut *connection)
        .await
        .during(|| "cannot set the time".to_owned())?;
    }
    statement::execute(connection, &format!("SET LOCAL TimeZone = {}", quote::literal(warehouse.time_zone)))
        .await?;
    for expected in &ready.expected {
        sqlx::query("SELECT set_config('medallion.as_of', $1, true)")
            .bind(expected.as_of.as_deref().unwrap_or_default())
            .execute(&mut *connection)
            .await
            .during(|| "cannot set the time to ask as of".to_owned())?;
        let found = compare::rows(&expected.found, None, connection)
            .await
            .during(|| format!("cannot read `{}`", expected.called))?;
        if let Some(difference) = compare::difference(&expected.columns, &expected.rows, &found) {
            return Ok(Some((expected, difference)));
        }
    }
    Ok(None)
}
