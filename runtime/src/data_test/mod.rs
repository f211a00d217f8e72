//! The tests of the data: rules that the spec declares, looked at together, one scan a relation. What a run
//! publishes is tested in its own transaction, and there the rows that changed, as far as a rule is about single
//! rows: what passed before and has not changed passes still. Knows no capture and decides nothing about what
//! becomes of a failure.

mod keep;
pub(crate) mod report;
mod scan;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use crate::apart;
use crate::apply::Applied;
use crate::connection::{self, Database};
use crate::descriptor::{DataTest, Name, Rule, Warehouse};
use crate::error::{During as _, Error, Result};
use crate::place::Place;
use crate::quote;
use crate::refresh::Refreshed;
use crate::select::Selected;
use crate::statement;

pub(crate) use keep::{WRONG, keep, keep_held};
pub use report::{junit, run_results};
use scan::Scan;

/// So many of the rows that are wrong are kept and shown.
pub const MOST_ROWS: usize = 100;

/// How a test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// A constraint of the table sees to it.
    Proved,
    /// Nothing is wrong, or no more than is put up with.
    Passed,
    /// Something is wrong, and is told.
    Warned,
    /// So much is wrong that nothing is published.
    Failed,
    /// It could not be looked at.
    Broken,
}

impl Status {
    /// Whether it keeps silver and gold from being published.
    pub fn holds_back(self) -> bool {
        matches!(self, Self::Failed | Self::Broken)
    }
}

/// A test that was looked at.
#[derive(Clone, Debug)]
pub struct Tested {
    /// What it is called.
    pub name: &'static str,
    /// The relation that it is about.
    pub relation: Name,
    /// How it ended.
    pub status: Status,
    /// How much is wrong: rows, groups of them, or one figure.
    pub failures: u64,
    /// What is wrong in words, or what proves that nothing is.
    pub message: Option<String>,
    /// Rows that are wrong, as JSON, [`MOST_ROWS`] at most.
    pub rows: Vec<String>,
    /// What was asked; empty where nothing was.
    pub sql: String,
    /// How long it took; scans that several share are counted with the first.
    pub elapsed: Duration,
}

/// What a test found, in a line. The rows stay where they are kept: a log may be anybody's to read.
pub fn finding(one: &Tested) -> String {
    let message = one.message.as_deref().unwrap_or("it failed");
    let word = match one.status {
        Status::Failed => "failed",
        Status::Broken => "could not be asked",
        Status::Proved | Status::Passed | Status::Warned => "warns",
    };
    format!("test `{}` of `{}` {word}: {message}", one.name, one.relation)
}

/// How many ended how, as a run keeps it.
pub(crate) fn counted(tested: &[Tested]) -> serde_json::Value {
    let of = |statuses: &[Status]| tested.iter().filter(|one| statuses.contains(&one.status)).count();
    serde_json::json!({
        "passed": of(&[Status::Proved, Status::Passed]),
        "warned": of(&[Status::Warned]),
        "failed": of(&[Status::Failed, Status::Broken]),
    })
}

/// What of a warehouse is looked at.
pub(crate) enum Look<'a> {
    /// All rows, by every test.
    Whole,
    /// All rows, by the tests of these names.
    Of(&'a BTreeSet<&'static str>),
    /// What a round has changed, by the tests that it may have broken.
    Changed(&'a Changed<'a>),
}

/// What a round has changed.
pub(crate) struct Changed<'a> {
    /// Stored relations, each with the table of its rows before and after where there is one.
    relations: BTreeMap<&'a Name, Option<&'a str>>,
    /// The tables of the keys of which some version is another, where somebody asks.
    keys: BTreeMap<&'a Name, &'a str>,
    landed: Since,
}

/// What has landed since all that a landing table feeds was last applied.
#[derive(Default)]
pub(crate) struct Since {
    /// The positions above which landing tables have more, of those that have.
    above: BTreeMap<Name, i64>,
    /// Landing tables of which more has changed than what stands above a position: something came late, or went, or is
    /// computed anew.
    anyhow: BTreeSet<Name>,
}

impl Since {
    /// Whether it is another than it was.
    fn has(&self, landing: &Name) -> bool {
        self.above.contains_key(landing) || self.anyhow.contains(landing)
    }

    /// The position above which all stands that is new.
    fn position(&self, landing: &Name) -> Option<i64> {
        self.above.get(landing).filter(|_| !self.anyhow.contains(landing)).copied()
    }
}

impl<'a> Changed<'a> {
    pub fn new(
        warehouse: &'a Warehouse,
        applied: &'a [Applied],
        refreshed: &'a [Refreshed],
        landed: Since,
    ) -> Self {
        let mut relations: BTreeMap<&Name, Option<&str>> =
            applied.iter().map(|one| (&one.relation, one.changes.as_deref())).collect();
        relations.extend(refreshed.iter().map(|one| (&one.mart, None)));
        // A view is what it reads.
        for mart in &warehouse.marts {
            if mart.reads.iter().any(|read| relations.contains_key(read)) {
                relations.entry(&mart.table).or_insert(None);
            }
        }
        let keys = applied.iter().filter_map(|one| Some((&one.relation, one.keys.as_deref()?)));
        Self { relations, keys: keys.collect(), landed }
    }

    /// Relations that were recomputed: all of their rows may be others.
    pub fn whole(mut self, warehouse: &Warehouse, relations: &'a BTreeSet<Name>) -> Self {
        self.relations.extend(relations.iter().map(|name| (name, None)));
        let anew = warehouse.silver.iter().filter(|silver| relations.contains(&silver.table));
        self.landed.anyhow.extend(anew.map(|silver| silver.feed.clone()));
        self
    }

    /// Tables out of which rows were taken.
    pub fn without<'n>(mut self, tables: impl IntoIterator<Item = &'n Name>) -> Self {
        self.landed.anyhow.extend(tables.into_iter().cloned());
        self
    }

    fn concerns(&self, test: &DataTest) -> bool {
        // That time passes makes nothing wrong that is being published.
        !matches!(test.rule, Rule::Proved(_) | Rule::Freshness { .. })
            && test.reads.iter().any(|read| self.relations.contains_key(read) || self.landed.has(read))
    }
}

/// What has landed of the landing tables that somebody tests, since all that they feed was last applied.
pub(crate) async fn landed_since(warehouse: &Warehouse, connection: &mut PgConnection) -> Result<Since> {
    let mut since = Since::default();
    let late = format!("SELECT DISTINCT relation FROM {} AS late", apart::late_changes(warehouse));
    let late = sqlx::query(AssertSqlSafe(late)).persistent(false).fetch_all(&mut *connection).await;
    let late = late.during(|| "cannot read which changes came late".to_owned())?;
    let late: BTreeSet<String> = late.iter().map(|row| row.get(0)).collect();
    for landing in &warehouse.landings {
        if !warehouse.tests.iter().any(|test| test.reads.contains(&landing.table)) {
            continue;
        }
        let fed: Vec<String> = warehouse
            .silver
            .iter()
            .filter(|silver| silver.feed == landing.table)
            .map(|silver| silver.table.to_string())
            .collect();
        if fed.is_empty() {
            // What it takes in is never published.
            continue;
        }
        if late.contains(&landing.table.to_string()) {
            since.anyhow.insert(landing.table.clone());
        }
        let row = sqlx::query(APPLIED)
            .bind(&fed)
            .bind(&warehouse.source.slot)
            .fetch_one(&mut *connection)
            .await
            .during(|| "cannot read the watermarks".to_owned())?;
        let position: i64 = row.get(0);
        let more = format!(
            "SELECT count(*) FROM (SELECT lsn FROM {} ORDER BY lsn DESC LIMIT 1) AS last WHERE lsn > $1",
            quote::name(&landing.table)
        );
        if statement::scalar(connection, &more, &[position]).await? > 0 {
            since.above.insert(landing.table.clone(), position);
        }
    }
    Ok(since)
}

/// The position up to which relations have been applied. Where others had landed beyond the stream, which has gone on
/// since, it may have passed by some of it: then as far as the stream had come.
const APPLIED: &str = "SELECT coalesce(min(CASE
        WHEN (lsn > streamed_lsn OR system_time > streamed_time) AND streamed.last_lsn > streamed_lsn
            THEN least(lsn, streamed_lsn)
        ELSE lsn
    END), -1)
    FROM medallion.watermark
    CROSS JOIN (
        SELECT coalesce(max(last_lsn), -1) AS last_lsn FROM medallion.source_position WHERE slot = $2
    ) AS streamed
    WHERE relation = ANY ($1)";

/// Looks at all of a warehouse, in one snapshot of it; reports each test as it is done.
pub async fn test(warehouse: &Warehouse, place: &Place, report: impl FnMut(&Tested)) -> Result<Vec<Tested>> {
    test_as(warehouse, &Look::Whole, place, report).await
}

/// The same, by the tests of these names.
pub async fn test_of(
    warehouse: &Warehouse,
    selected: &BTreeSet<&'static str>,
    place: &Place,
    report: impl FnMut(&Tested),
) -> Result<Vec<Tested>> {
    test_as(warehouse, &Look::Of(selected), place, report).await
}

async fn test_as(
    warehouse: &Warehouse,
    what: &Look<'_>,
    place: &Place,
    report: impl FnMut(&Tested),
) -> Result<Vec<Tested>> {
    let mut connection = connection::connect(Database::Warehouse, &place.warehouse).await?;
    statement::execute(&mut connection, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let tested = look(warehouse, what, &mut connection, report).await?;
    statement::execute(&mut connection, "COMMIT").await?;
    Ok(tested)
}

/// Whether a test is of a selected relation: the one that it names, or the one that stands behind it.
pub fn is_of(test: &DataTest, selected: &Selected) -> bool {
    selected.contains(&test.relation) || selected.contains(&test.stored)
}

/// Looks at what is asked for, inside the caller's transaction; in the order of the descriptor.
pub(crate) async fn look(
    warehouse: &Warehouse,
    what: &Look<'_>,
    connection: &mut PgConnection,
    mut report: impl FnMut(&Tested),
) -> Result<Vec<Tested>> {
    let mut tested = Vec::new();
    for scan in scan::scans(warehouse, what) {
        for one in look_at(&scan, connection).await? {
            report(&one);
            tested.push(one);
        }
    }
    Ok(tested)
}

async fn look_at(scan: &Scan<'_>, connection: &mut PgConnection) -> Result<Vec<Tested>> {
    let started = Instant::now();
    let found = match scan.sql() {
        None => return Ok(scan.tests.iter().map(|test| proved(test)).collect()),
        Some(sql) => figures(&sql, scan.tests.len(), connection).await?,
    };
    if let Some(all) = scan.of_all()
        && !found.as_ref().is_ok_and(|figures| is_right(scan, figures))
    {
        return Box::pin(look_at(&all, connection)).await;
    }
    let mut tested = Vec::new();
    match found {
        Ok(figures) => {
            for (test, figures) in scan.tests.iter().zip(figures) {
                let took = if tested.is_empty() { started.elapsed() } else { Duration::ZERO };
                tested.push(judge(scan, test, &figures, took, connection).await?);
            }
        }
        Err(error) if scan.tests.len() == 1 => {
            tested.push(broken(scan, scan.tests[0], &error, started.elapsed()));
        }
        // One of them cannot be asked: which one is found out alone.
        Err(_) => {
            for alone in scan.apart() {
                tested.extend(Box::pin(look_at(&alone, connection)).await?);
            }
        }
    }
    Ok(tested)
}

/// Whether none of the tests has found anything.
fn is_right(scan: &Scan<'_>, figures: &[Figures]) -> bool {
    scan.tests.iter().zip(figures).all(|(test, figures)| scan::judge(&test.rule, figures).0 == 0)
}

fn proved(test: &DataTest) -> Tested {
    let Rule::Proved(by) = &test.rule else { return ended(test, Status::Passed) };
    Tested { message: Some(format!("proved by {by}")), ..ended(test, Status::Proved) }
}

fn ended(test: &DataTest, status: Status) -> Tested {
    Tested {
        name: test.name,
        relation: test.relation.clone(),
        status,
        failures: 0,
        message: None,
        rows: Vec::new(),
        sql: String::new(),
        elapsed: Duration::ZERO,
    }
}

fn broken(scan: &Scan<'_>, test: &DataTest, error: &Error, elapsed: Duration) -> Tested {
    let status = if test.error_above.is_some() { Status::Broken } else { Status::Warned };
    let sql = scan.sql().unwrap_or_default();
    Tested { failures: 1, message: Some(error.to_string()), sql, elapsed, ..ended(test, status) }
}

/// What was counted, a number a figure, of each test.
type Figures = Vec<Option<String>>;

/// Asks for all figures at once. An error of the statement is the test's; one of the connection ends it all.
async fn figures(sql: &str, tests: usize, connection: &mut PgConnection) -> Result<Result<Vec<Figures>>> {
    statement::execute(connection, "SAVEPOINT medallion_test").await?;
    let asked =
        sqlx::query(AssertSqlSafe(sql.to_owned())).persistent(false).fetch_one(&mut *connection).await;
    let row = match asked.during(|| "the test cannot be asked".to_owned()) {
        Ok(row) => row,
        Err(error) if error.is_of_connection() => return Err(error),
        Err(error) => {
            statement::execute(connection, "ROLLBACK TO SAVEPOINT medallion_test").await?;
            return Ok(Err(error));
        }
    };
    statement::execute(connection, "RELEASE SAVEPOINT medallion_test").await?;
    let figures =
        (0..tests).map(|test| (0..scan::FIGURES).map(|one| row.get(test * scan::FIGURES + one)).collect());
    Ok(Ok(figures.collect()))
}

async fn judge(
    scan: &Scan<'_>,
    test: &DataTest,
    figures: &Figures,
    elapsed: Duration,
    connection: &mut PgConnection,
) -> Result<Tested> {
    let (failures, message) = scan::judge(&test.rule, figures);
    let status = match (failures > test.warn_above, test.error_above) {
        (_, Some(above)) if failures > above => Status::Failed,
        (true, _) => Status::Warned,
        (false, _) => Status::Passed,
    };
    let mut tested = Tested { failures, message, elapsed, ..ended(test, status) };
    tested.sql = scan.alone(test);
    if let (true, Some(sql)) = (matches!(status, Status::Warned | Status::Failed), scan.rows(test)) {
        let rows = sqlx::query(AssertSqlSafe(sql)).persistent(false).fetch_all(connection).await;
        let rows = rows.during(|| format!("cannot read the rows that `{}` found", test.name))?;
        tested.rows = rows.iter().map(|row| row.get(0)).collect();
    }
    Ok(tested)
}
