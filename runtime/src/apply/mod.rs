//! Applies landed changes to silver, set-based: a handful of statements a relation, all relations in the
//! caller's one transaction. Dimensions and facts go the same way:
//!
//! ```text
//! landed changes ─▶ own states ─▶ states (lookups resolved) ─▶ versions ─▶ dimension | fact + archive
//! ```
//!
//! A *state* is what a key looked like from a system time on; where neighbours are equal they are one
//! *version*. Most keys go on from the version that stands, by what has landed since. Those whose past has
//! changed (a late change, a writer's version in between, a lookup's past) are *repaired*: recomputed from all
//! of bronze and the journal, and merged by difference. Knows no capture and no mart; what changed is left in
//! temporary tables for `refresh`.

mod change;
mod composed;
mod difference;
mod due;
mod evolved;
mod hash;
mod journal;
pub(crate) mod landed;
mod merge;
pub(crate) mod misfit;
mod number;
mod own;
mod partition;
mod repair;
mod state;
mod version;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use sqlx::PgConnection;

use crate::descriptor::{Name, Silver, SilverKind, Warehouse};
use crate::error::{Error, Result};
use crate::quote;
use crate::staging::Staging;
use crate::statement::{self, Bound, Plan};

pub(crate) use difference::{stage as stage_differences, was};
pub use due::hold;
pub(crate) use due::{Due, is_due};
pub(crate) use evolved::Evolved;
pub(crate) use landed::single;
use own::Own;
pub(crate) use own::stage_everything;
pub(crate) use state::stored_versions;

/// What one relation's apply did.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The relation.
    pub relation: Name,
    /// Versions (of a dimension) or states (of a fact) that came or went.
    pub rows: u64,
    /// Of those that were recomputed as a whole: how many were not as they should be.
    pub differed: u64,
    /// The temporary table of the rows before and after, with the relation's columns; none where it cannot
    /// be told which rows changed, or no mart asks.
    pub changes: Option<String>,
    /// The temporary table of the keys of which any version came, went or ends otherwise; none where nobody asks.
    pub keys: Option<String>,
    /// Whether that table has each row that went, and each that came, just once, so that they can be counted.
    pub counted: bool,
    /// How long it took.
    pub elapsed: Duration,
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

/// Which keys are recomputed from all that is known of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repair {
    /// None.
    Nothing,
    /// Those in `repair_<n>`.
    Keys,
    /// All.
    Everything,
}

/// Where a relation's versions are, once they are computed.
pub(crate) enum Versions {
    /// In `version_<n>`.
    Staged,
    /// All are of repaired keys, and only the comparison asks for them: this query's.
    Repaired(String),
}

/// What versions are computed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To be stored. What is looked up stands stored already.
    Apply,
    /// To be compared with what is stored. What is looked up was computed too, into `version_<n>`; what has
    /// landed and waits for the next apply does not count.
    Verify,
}

/// One relation's way through an apply: its place in the list names its temporary tables.
pub(crate) struct Step<'a> {
    pub silver: &'a Silver,
    pub number: usize,
    pub window: Window,
    pub time_zone: &'a str,
    /// The journal's entries above this one have not been counted yet.
    pub counted: i64,
    /// The latest time at which anything stored began or ended.
    pub latest: &'a str,
    /// Before it nothing is kept.
    pub horizon: Option<&'a str>,
    /// Of what landed above this position and below the window, some may never have been applied.
    pub passed: Option<i64>,
    pub repair: Repair,
    pub purpose: Purpose,
    /// What of its landing table waits in the window.
    pub waiting: Waiting,
    /// The positions up to which columns are NULL: those that came later without their past.
    pub since: BTreeMap<String, i64>,
    /// The notes of late changes that wait for the next apply.
    pub late_changes: String,
    pub staging: &'a Staging,
}

/// What of a landing table waits to be applied to one relation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// How many changes, or more than are counted.
    pub changes: u64,
    /// Whether a truncate is among them.
    pub truncates: bool,
}

impl Step<'_> {
    pub fn table(&self, what: &str) -> String {
        format!("pg_temp.{what}_{}", self.number)
    }

    /// What is repaired is planned for what is there.
    pub fn plan(&self) -> Plan {
        match self.repair {
            Repair::Nothing => self.staging.plan(),
            Repair::Keys | Repair::Everything => Plan::Anew,
        }
    }

    /// Fills one of the step's tables; returns how many rows it has.
    pub async fn fill(&self, what: &str, query: &str, connection: &mut PgConnection) -> Result<u64> {
        let table = format!("{what}_{}", self.number);
        let rows = self.staging.fill(&table, query, self.plan(), &self.bound(), connection).await?;
        statement::analyze(connection, &self.table(what), rows).await?;
        Ok(rows)
    }

    /// Whether the relation is a dimension of which all versions stand in one table.
    pub fn is_in_one_table(&self) -> bool {
        matches!(&self.silver.kind, SilverKind::Dimension { closed: None, .. })
    }

    pub async fn execute(&self, sql: &str, connection: &mut PgConnection) -> Result<u64> {
        statement::execute_as(connection, self.plan(), sql, &self.bound()).await
    }

    pub async fn scalar(&self, sql: &str, connection: &mut PgConnection) -> Result<i64> {
        statement::scalar_as(connection, self.plan(), sql, &self.bound()).await
    }

    pub fn bound(&self) -> Bound {
        Bound {
            positions: [self.window.after_lsn, self.window.to_lsn],
            times: [self.window.after_time.clone(), self.latest.to_owned()],
        }
    }

    /// The window's edge, as an expression.
    pub fn after_lsn(&self) -> String {
        self.said("$1", || self.window.after_lsn.to_string())
    }

    /// The window's other edge.
    pub fn to_lsn(&self) -> String {
        self.said("$2", || self.window.to_lsn.to_string())
    }

    /// The system time of the window's edge.
    pub fn after_time(&self) -> String {
        let time = self.said("$3", || quote::literal(&self.window.after_time));
        format!("{time}::timestamptz")
    }

    /// The latest time at which anything stored began or ended.
    pub fn latest(&self) -> String {
        let time = self.said("$4", || quote::literal(self.latest));
        format!("{time}::timestamptz")
    }

    /// A kept plan is told each time, another one is made of it.
    fn said(&self, bound: &str, literal: impl FnOnce() -> String) -> String {
        match self.plan() {
            Plan::Kept => bound.to_owned(),
            Plan::Anew => literal(),
        }
    }
}

/// Brings every silver relation up to what has landed and what was written. Runs inside the caller's
/// transaction, in which [`hold`] came first; returns the relations that changed, in order.
pub async fn apply(
    warehouse: &Warehouse,
    connection: &mut PgConnection,
    report: impl FnMut(&Applied),
) -> Result<Vec<Applied>> {
    apply_in(warehouse, &BTreeSet::new(), &Staging::default(), connection, report).await
}

/// The same, on a session that has done so before; and some relations are recomputed as a whole.
pub async fn apply_in(
    warehouse: &Warehouse,
    whole: &BTreeSet<Name>,
    staging: &Staging,
    connection: &mut PgConnection,
    report: impl FnMut(&Applied),
) -> Result<Vec<Applied>> {
    let asked = Asked { whole, keys: &BTreeMap::new() };
    work_through(warehouse, &asked, staging, connection, report).await
}

/// The same; and some keys are recomputed from all that is known of them: by relation, the table of them.
pub(crate) async fn repair_keys(
    warehouse: &Warehouse,
    keys: &BTreeMap<Name, String>,
    connection: &mut PgConnection,
) -> Result<Vec<Applied>> {
    let asked = Asked { whole: &BTreeSet::new(), keys };
    work_through(warehouse, &asked, &Staging::default(), connection, |_| {}).await
}

/// The same; and some relations are recomputed as a whole, reported whether they changed or not.
pub(crate) async fn rebuild(
    warehouse: &Warehouse,
    whole: &BTreeSet<Name>,
    connection: &mut PgConnection,
    report: impl FnMut(&Applied),
) -> Result<Vec<Applied>> {
    apply_in(warehouse, whole, &Staging::default(), connection, report).await
}

/// What is recomputed although nothing waits.
struct Asked<'a> {
    whole: &'a BTreeSet<Name>,
    keys: &'a BTreeMap<Name, String>,
}

async fn work_through(
    warehouse: &Warehouse,
    all_asked: &Asked<'_>,
    staging: &Staging,
    connection: &mut PgConnection,
    mut report: impl FnMut(&Applied),
) -> Result<Vec<Applied>> {
    let due = Due::read(warehouse, connection).await?;
    if due.is_nothing() && all_asked.whole.is_empty() && all_asked.keys.is_empty() {
        return Ok(Vec::new());
    }
    // What is applied has its own times and hashes, and repairs what has ended: versioning lets it pass, in
    // this transaction.
    statement::execute(connection, "SELECT \"medallion\".\"backfill\"()").await?;
    let late = repair::take_late(warehouse, &due, connection).await?;
    let waiting = due.waiting(warehouse, connection).await?;
    staging.begin(waiting.iter().map(|waiting| waiting.changes).sum(), connection).await?;
    let mut applied: Vec<Applied> = Vec::new();
    let mut changed: BTreeMap<Name, usize> = BTreeMap::new();
    for (number, silver) in warehouse.silver.iter().enumerate() {
        let asked = all_asked.whole.contains(&silver.table);
        let keys = all_asked.keys.get(&silver.table).map(String::as_str);
        let mark = due.mark(silver);
        let lookups = lookup_sources(warehouse, silver, &changed);
        let idle = waiting[number].changes == 0
            && mark.journal_id >= due.journal_id(silver)
            && !late.feeds.contains(&silver.feed.to_string())
            && lookups.iter().all(|source| source.changed.is_none());
        if idle && !asked && keys.is_none() {
            continue;
        }
        let mut step = due.step(warehouse, silver, number, staging);
        step.waiting = waiting[number];
        if asked {
            step.repair = Repair::Everything;
        }
        let started = Instant::now();
        let context =
            Context { warehouse, lookups, keys, has_late: late.feeds.contains(&silver.feed.to_string()) };
        let Outcome { rows, differed, tells, counted } =
            apply_one(&context, &mut step, connection).await.map_err(|error| {
                explained(error, silver).within(format!("cannot apply changes to `{}`", silver.table))
            })?;
        let changes = tells.then(|| step.table("change"));
        let keys = are_keys_asked_for(warehouse, silver).then(|| step.table("changed"));
        let one = Applied {
            relation: silver.table.clone(),
            rows,
            differed,
            changes,
            keys,
            counted,
            elapsed: started.elapsed(),
        };
        if rows > 0 || asked {
            report(&one);
        }
        if rows > 0 {
            changed.insert(silver.table.clone(), number);
            applied.push(one);
        }
    }
    due.move_watermarks(warehouse, late.latest.as_deref(), connection).await?;
    staging.read_on(connection).await?;
    Ok(applied)
}

/// Adds what to do about a value that silver does not take. Bronze has it, whatever the source says later.
fn explained(error: Error, silver: &Silver) -> Error {
    match error.sqlstate().as_deref() {
        Some(state) if state.starts_with("22") && silver.is_composed() => error.remedy(
            "a value cannot be computed, or does not fit its column: let the `expr` say what becomes of such a row \
             (`nullif(…, 0)`, `CASE WHEN … END`), compute it in a `[[staging]]` view, which leaves such a change out, or give \
             the column a type that takes it, in the spec, then `medallion generate` and `medallion migrate up`",
        ),
        Some(state) if state.starts_with("22") || state == "23502" => error.remedy(
            "a landed value does not fit its column: give the column a type that takes it (or `null = true`) \
             in the spec, then `medallion generate` and `medallion migrate up`",
        ),
        _ => error,
    }
}

pub(crate) struct Context<'a> {
    warehouse: &'a Warehouse,
    lookups: Vec<LookupSource<'a>>,
    /// The table of keys that are asked for.
    keys: Option<&'a str>,
    has_late: bool,
}

/// How one relation's apply ended.
struct Outcome {
    /// How many versions came or went, or keys were written to.
    rows: u64,
    /// Of the versions of repaired keys, how many were not as they should be.
    differed: u64,
    /// Whether `change_<n>` tells which rows.
    tells: bool,
    /// Whether it has each of them just once.
    counted: bool,
}

async fn apply_one(
    context: &Context<'_>,
    step: &mut Step<'_>,
    connection: &mut PgConnection,
) -> Result<Outcome> {
    const NOTHING: Outcome = Outcome { rows: 0, differed: 0, tells: true, counted: true };
    let lookups = &context.lookups;
    let versioned = context.warehouse.is_versioned();
    let uncounted = journal::stage_uncounted(step, connection).await?;
    repair::stage(step, context, uncounted > 0, connection).await?;
    let needed = if uncounted > 0 { own::Needed::Always } else { own::Needed::Perhaps };
    let own = own::stage(step, lookups, versioned, needed, connection).await?;
    if matches!(own, Own::Nothing) && uncounted == 0 && step.repair == Repair::Nothing {
        return Ok(NOTHING);
    }
    let query = |own: &String| {
        let states = state::unlooked(step, &format!("(\n{own}\n) AS own"));
        version::versions(step, &states)
    };
    let versions = match &own {
        Own::First(own) if step.is_in_one_table() => {
            return first(context, step, &query(own), connection).await;
        }
        Own::Repaired(own) if step.is_in_one_table() => Versions::Repaired(query(own)),
        Own::First(own) | Own::Repaired(own) => {
            step.fill("version", &query(own), connection).await?;
            Versions::Staged
        }
        Own::Nothing | Own::Staged => compute(step, lookups, connection).await?,
    };
    let differences = match step.repair {
        Repair::Nothing => 0,
        Repair::Keys | Repair::Everything => difference::stage(step, &versions, connection).await?,
    };
    let windowed = match &versions {
        Versions::Staged => version::is_any_windowed(step, connection).await?,
        Versions::Repaired(_) => false,
    };
    if !windowed && differences + uncounted == 0 {
        return Ok(NOTHING);
    }
    let read = is_read_by_changes(context.warehouse, step.silver);
    if read {
        change::stage(step, &versions, uncounted > 0, connection).await?;
    }
    partition::make(step, connection).await?;
    let rows = match &step.silver.kind {
        SilverKind::Dimension { .. } => merge::dimension(step, &versions, connection).await?,
        SilverKind::Fact { .. } => merge::fact(step, connection).await?,
    };
    if read && uncounted > 0 {
        change::add_written(step, connection).await?;
    }
    if are_keys_asked_for(context.warehouse, step.silver) {
        change::stage_keys(step, &versions, uncounted > 0, connection).await?;
    }
    Ok(Outcome {
        rows: rows + uncounted,
        differed: differences,
        tells: read && change::tells_rows(step, uncounted > 0),
        counted: uncounted == 0 && step.repair == Repair::Nothing,
    })
}

/// The first versions of a dimension: what stands afterwards is what has changed.
async fn first(
    context: &Context<'_>,
    step: &Step<'_>,
    versions: &str,
    connection: &mut PgConnection,
) -> Result<Outcome> {
    let rows = merge::first(step, versions, connection).await?;
    // Tests look at all of it: it is all new.
    let read = is_followed_by_marts(context.warehouse, step.silver);
    if read {
        change::stage_standing(step, connection).await?;
    }
    if are_keys_asked_for(context.warehouse, step.silver) {
        change::stage_standing_keys(step, connection).await?;
    }
    Ok(Outcome { rows, differed: 0, tells: read, counted: true })
}

/// From staged own states to staged versions.
pub(crate) async fn compute(
    step: &Step<'_>,
    lookups: &[LookupSource<'_>],
    connection: &mut PgConnection,
) -> Result<Versions> {
    let states = state::stage(step, lookups, connection).await?;
    version::stage(step, &states, connection).await?;
    Ok(Versions::Staged)
}

/// Whether a mart or a test follows the relation's changes, and not only that there are some.
fn is_read_by_changes(warehouse: &Warehouse, silver: &Silver) -> bool {
    let is_tested =
        || warehouse.tests.iter().any(|test| test.follows_changes() && test.reads.contains(&silver.table));
    is_followed_by_marts(warehouse, silver) || is_tested()
}

fn is_followed_by_marts(warehouse: &Warehouse, silver: &Silver) -> bool {
    warehouse.marts.iter().any(|mart| mart.storage.is_table() && mart.reads.contains(&silver.table))
}

/// Whether others look it up, or its versions are tested.
fn are_keys_asked_for(warehouse: &Warehouse, silver: &Silver) -> bool {
    let mut lookups = warehouse.silver.iter().flat_map(|other| &other.lookups);
    lookups.any(|lookup| lookup.relation == silver.table)
        || warehouse.tests.iter().any(|test| test.stored == silver.table && test.is_of_versions(warehouse))
}

/// A lookup with the relation that it reads.
pub(crate) struct LookupSource<'a> {
    pub lookup: &'a crate::descriptor::Lookup,
    pub relation: &'a Silver,
    /// The relation's place in the warehouse.
    pub number: usize,
    /// The number of the relation's step, when it changed in this apply.
    pub changed: Option<usize>,
}

pub(crate) fn lookup_sources<'a>(
    warehouse: &'a Warehouse,
    silver: &'a Silver,
    changed: &BTreeMap<Name, usize>,
) -> Vec<LookupSource<'a>> {
    silver
        .lookups
        .iter()
        .map(|lookup| {
            let (number, relation) = warehouse
                .silver
                .iter()
                .enumerate()
                .find(|(_, relation)| relation.table == lookup.relation)
                .expect("a descriptor's lookups name relations of its warehouse");
            LookupSource { lookup, relation, number, changed: changed.get(&lookup.relation).copied() }
        })
        .collect()
}
