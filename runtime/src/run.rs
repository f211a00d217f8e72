//! One run of the pipeline: capture to now, land, apply, refresh, then a row of metadata. Landing commits
//! batch by batch; what follows is one transaction, so that readers see all of it or nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use chrono::Utc;
use serde_json::json;
use sqlx::PgConnection;

use crate::apply::Applied;
use crate::capture;
use crate::connection::{self, Database};
use crate::data_test::{self, Status, Tested};
use crate::descriptor::{Name, Warehouse};
use crate::error::{Error, Result};
use crate::lineage::{Ended, Teller};
use crate::place::Place;
use crate::progress::{Progress, Step, count};
use crate::refresh::Refreshed;
use crate::retain::{self, Retained};
use crate::round::{self, Published, Round, Waits};
use crate::staging::Staging;
use crate::{apart, files, forget, lock, migrate, record};

/// What a run did.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Rows landed by landing table.
    pub landed: BTreeMap<Name, u64>,
    /// Silver relations that changed.
    pub applied: Vec<Applied>,
    /// Stored marts that were refreshed.
    pub refreshed: Vec<Refreshed>,
    /// What was tested of what changed.
    pub tested: Vec<Tested>,
    /// What was folded because it was older than the spec keeps, where the horizon moved.
    pub retained: Option<Retained>,
    /// The system time up to which the warehouse is true; none before anything landed.
    pub system_time: Option<String>,
}

impl Outcome {
    /// Whether a test refused what was to be published, so that silver and gold are as they were.
    pub fn is_held(&self) -> bool {
        self.tested.iter().any(|one| one.status.holds_back())
    }

    /// Whether the run found nothing to do.
    pub fn is_empty(&self) -> bool {
        let nothing_landed = self.landed.values().all(|rows| *rows == 0);
        nothing_landed && self.applied.is_empty() && self.refreshed.is_empty() && !self.is_held()
    }
}

/// For how long a run waits for a server that went away under it, or for room on a disk.
pub const PATIENCE: Duration = Duration::from_secs(medallion_verbs::run::PATIENCE);

/// Pauses before something that failed is tried again: the first and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));

/// Runs the pipeline once.
pub async fn run(warehouse: &Warehouse, place: &Place, progress: &mut dyn Progress) -> Result<Outcome> {
    run_patiently(warehouse, place, PATIENCE, progress).await
}

/// The same, with another patience: what passes by itself is tried again, for so long in all.
pub async fn run_patiently(
    warehouse: &Warehouse,
    place: &Place,
    patience: Duration,
    progress: &mut dyn Progress,
) -> Result<Outcome> {
    run_anew(warehouse, place, patience, &BTreeSet::new(), progress).await
}

/// The same; and some relations are computed anew from all that has landed and was written. Readers see them as they
/// were until all of it is published together.
pub async fn run_anew(
    warehouse: &Warehouse,
    place: &Place,
    patience: Duration,
    whole: &BTreeSet<Name>,
    progress: &mut dyn Progress,
) -> Result<Outcome> {
    let teller = Teller::from_environment(warehouse, place)?;
    let began = Utc::now();
    let outcome = attempts(warehouse, place, patience, whole, progress).await;
    match &outcome {
        Ok(outcome) if outcome.is_held() => {
            let refused = outcome.tested.iter().filter(|one| one.status.holds_back()).map(data_test::finding);
            let why = Ended::Badly(refused.collect::<Vec<_>>().join("\n"));
            teller.tell(began, why, &changes(outcome));
        }
        Ok(outcome) => teller.tell(began, Ended::Well, &changes(outcome)),
        Err(error) => teller.tell(began, Ended::Badly(error.what().to_owned()), &[]),
    }
    outcome
}

/// The relations that have changed, with how many rows.
fn changes(outcome: &Outcome) -> Vec<(Name, u64)> {
    let landed = outcome.landed.iter().map(|(name, rows)| (name.clone(), *rows));
    let applied = outcome.applied.iter().map(|one| (one.relation.clone(), one.rows));
    let refreshed = outcome.refreshed.iter().map(|one| (one.mart.clone(), one.rows));
    landed.filter(|(_, rows)| *rows > 0).chain(applied).chain(refreshed).collect()
}

async fn attempts(
    warehouse: &Warehouse,
    place: &Place,
    patience: Duration,
    whole: &BTreeSet<Name>,
    progress: &mut dyn Progress,
) -> Result<Outcome> {
    let mut begun = Begun::default();
    let (mut left, mut pause) = (patience, PAUSES.0);
    let mut said = String::new();
    loop {
        let error = match attempt(warehouse, place, whole, &mut begun, progress).await {
            Err(error) if begun.passes(&error) && !left.is_zero() => error,
            outcome => return outcome,
        };
        if said != error.what() {
            error.what().clone_into(&mut said);
            let seconds = left.as_secs();
            progress.note(&format!("waiting, for {seconds}s at most, and trying again: {error}"));
        }
        let sleep = pause.min(left);
        tokio::time::sleep(sleep).await;
        left = left.saturating_sub(sleep);
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// What the attempts of a run have done so far.
#[derive(Default)]
struct Begun {
    /// Whether one got as far as the pipeline, by way of both databases: what was reached once is there.
    reached: bool,
    /// Rows that landed, by landing table, and stay whatever becomes of the rest.
    landed: BTreeMap<Name, u64>,
}

impl Begun {
    /// Sees that the source is there as well, the first time: its URL may be wrong like the other one.
    async fn reach(&mut self, warehouse: &Warehouse, place: &Place) -> Result<()> {
        if !self.reached && warehouse.has_source() {
            drop(connection::connect(Database::Source, &place.source).await?);
        }
        self.reached = true;
        Ok(())
    }

    /// Whether it is worth waiting. Who could not even begin may have named the wrong server, unless that is just
    /// starting; a session that may not write, or a statement that somebody has cancelled, means what it says.
    fn passes(&self, error: &Error) -> bool {
        match error.sqlstate().as_deref() {
            Some("57P03") => true,
            Some("25006" | "57014") => false,
            _ => self.reached && error.is_passing(),
        }
    }
}

async fn attempt(
    warehouse: &Warehouse,
    place: &Place,
    whole: &BTreeSet<Name>,
    begun: &mut Begun,
    progress: &mut dyn Progress,
) -> Result<Outcome> {
    let mut target = connection::connect(Database::Warehouse, &place.warehouse).await?;
    round::prepare_session(&mut target).await?;
    // Whoever had the lock may have migrated.
    lock::take(&mut target).await?;
    migrate::check(warehouse, &mut target).await?;
    let mut bronze = apart::open(warehouse, place, &mut target).await?;
    if let Some(bronze) = &mut bronze {
        retain::refuse_older(warehouse, &mut target, bronze).await?;
        forget::finish(warehouse, &mut target, bronze).await?;
        if apart::meet(warehouse, &mut target, bronze).await? {
            progress.note(apart::OLDER);
        }
    }
    let record = record::begin(warehouse, &mut target).await?;
    let sessions = Sessions { target: &mut target, bronze: bronze.as_mut() };
    let outcome = match begun.reach(warehouse, place).await {
        Ok(()) => pipeline(warehouse, place, whole, sessions, &mut begun.landed, progress).await,
        Err(error) => Err(error),
    };
    match &outcome {
        Ok(outcome) => {
            data_test::keep(&outcome.tested, record, &mut target).await?;
            match outcome.is_held() {
                true => record.held(&mut target, &metrics(outcome)).await?,
                false => record.succeeded(&mut target, &metrics(outcome)).await?,
            }
        }
        Err(error) => record.failed(&mut target, error).await,
    }
    outcome
}

/// Where changes land, if that is another database, and where the rest is.
struct Sessions<'a> {
    target: &'a mut PgConnection,
    bronze: Option<&'a mut PgConnection>,
}

async fn pipeline(
    warehouse: &Warehouse,
    place: &Place,
    whole: &BTreeSet<Name>,
    Sessions { target, mut bronze }: Sessions<'_>,
    landed: &mut BTreeMap<Name, u64>,
    progress: &mut dyn Progress,
) -> Result<Outcome> {
    let started = Instant::now();
    let lands = match &mut bronze {
        Some(bronze) => &mut **bronze,
        None => &mut *target,
    };
    let mut landing = Landing { progress: &mut *progress, landed: &mut *landed };
    let mut captured = capture::capture_at(warehouse, place, lands, &mut landing).await?;
    if warehouse.has_feeds() {
        let storage = files::Storage::from_environment(warehouse.name)?;
        files::land(warehouse, storage, lands, &mut landing, &mut captured).await?;
    }
    captured.landed.clone_from(landed);
    for finding in &captured.findings {
        progress.warn(finding);
    }
    let mut telling = Telling::new(warehouse, &captured.landed, started.elapsed(), progress);
    if captured.rows() > 0 {
        telling.landed();
    }

    let tell = |relation: &Name, rows: u64, elapsed: Duration| telling.done(relation, rows, elapsed);
    let round = match whole.is_empty() {
        true => round::publish(warehouse, Waits::Perhaps, &Staging::default(), target, tell).await?,
        false => round::publish_anew(warehouse, whole, target, tell).await?,
    };
    let Published { applied, refreshed, tested, system_time, findings } = match round {
        Round::Published(published) => published,
        Round::Held(tested) => {
            telling.held(&tested);
            let system_time = round::system_time(target).await?;
            return Ok(Outcome { landed: captured.landed, tested, system_time, ..Outcome::default() });
        }
    };
    telling.end(&tested);
    for finding in &findings {
        progress.warn(finding);
    }
    let retained = retain::retain(warehouse, target, bronze).await?;
    if let Some(retained) = &retained {
        let rows = count(retained.rows(), "row");
        progress.note(&format!("folded what is older than {}: {rows} went", retained.horizon));
    }
    Ok(Outcome { landed: captured.landed, applied, refreshed, tested, retained, system_time })
}

/// Capture's words, in the run's voice; what landed is told when all of it has.
struct Landing<'a> {
    progress: &'a mut dyn Progress,
    landed: &'a mut BTreeMap<Name, u64>,
}

impl capture::Progress for Landing<'_> {
    fn landed(&mut self, landing: &Name, rows: u64) {
        *self.landed.entry(landing.clone()).or_default() += rows;
    }

    fn note(&mut self, text: &str) {
        self.progress.note(text);
    }
}

/// Tells what is done, a line a relation, reference data summed up. Relations without changes are told as
/// those after them are reached.
struct Telling<'a> {
    progress: &'a mut dyn Progress,
    /// Rows by landing table.
    landings: &'a BTreeMap<Name, u64>,
    landing_time: Duration,
    /// Every step, in the order in which it is done.
    steps: Vec<(&'static str, &'a Name)>,
    told: usize,
    /// Whether there was anything to tell.
    begun: bool,
}

impl<'a> Telling<'a> {
    fn new(
        warehouse: &'a Warehouse,
        landings: &'a BTreeMap<Name, u64>,
        landing_time: Duration,
        progress: &'a mut dyn Progress,
    ) -> Self {
        let landing_tables = warehouse.landings.iter().map(|landing| ("landed", &landing.table));
        let silver = warehouse.silver.iter().map(|silver| ("applied", &silver.table));
        let stored = warehouse.marts.iter().filter(|mart| mart.storage.is_kept());
        let marts = stored.map(|mart| ("refreshed", &mart.table));
        let steps = landing_tables.chain(silver).chain(marts).filter(|(_, name)| own(name)).collect();
        Self { progress, landings, landing_time, steps, told: 0, begun: false }
    }

    /// What landed, which is there to stay.
    fn landed(&mut self) {
        if self.begun {
            return;
        }
        self.begun = true;
        let all = count(self.landings.values().sum(), "change");
        self.progress.note(&format!("landed {all} in {:.2}s", self.landing_time.as_secs_f64()));
        let reference: Vec<u64> =
            self.landings.iter().filter(|(name, _)| !own(name)).map(|(_, rows)| *rows).collect();
        if !reference.is_empty() {
            let (rows, tables) = (reference.iter().sum(), reference.len() as u64);
            let (rows, tables) = (count(rows, "change"), count(tables, "table"));
            self.progress.note(&format!("of these {rows} of reference data ({tables})"));
        }
        while let Some(("landed", name)) = self.steps.get(self.told).copied() {
            self.tell(self.landings.get(name).copied().unwrap_or_default(), None);
        }
    }

    /// A relation has its changes, which readers see when the run is done.
    fn done(&mut self, relation: &Name, rows: u64, elapsed: Duration) {
        self.landed();
        let place = self.steps.iter().rposition(|(_, name)| *name == relation);
        // What had been done before a round began again has been told.
        if let Some(place) = place.filter(|place| self.told <= *place) {
            while self.told < place {
                self.tell(0, Some(Duration::ZERO));
            }
            self.tell(rows, Some(elapsed));
        }
    }

    fn tell(&mut self, rows: u64, elapsed: Option<Duration>) {
        let Some((verb, name)) = self.steps.get(self.told).copied() else { return };
        self.told += 1;
        let (number, of) = (self.told, self.steps.len());
        self.progress.step(&Step { number, of, verb, object: &name.to_string(), rows, elapsed });
    }

    /// A test has refused it, and all but what landed is undone.
    fn held(self, tested: &[Tested]) {
        tell_tests(tested, self.progress);
        self.progress.note(data_test::WRONG);
        self.progress.note("not published: silver and gold are as they were");
    }

    /// Everything is committed.
    fn end(mut self, tested: &[Tested]) {
        if !self.begun {
            self.progress.note("nothing new at the source");
            return;
        }
        while self.told < self.steps.len() {
            self.tell(0, Some(Duration::ZERO));
        }
        tell_tests(tested, self.progress);
        self.progress.note("published silver and gold together");
    }
}

/// Tells how tests ended: those that found something, and how many there were.
pub(crate) fn tell_tests(tested: &[Tested], progress: &mut dyn Progress) {
    if tested.is_empty() {
        return;
    }
    for one in tested.iter().filter(|one| !matches!(one.status, Status::Proved | Status::Passed)) {
        match one.status.holds_back() {
            true => progress.fail(&data_test::finding(one)),
            false => progress.warn(&data_test::finding(one)),
        }
    }
    let passed = tested.iter().filter(|one| matches!(one.status, Status::Proved | Status::Passed)).count();
    let all = count(tested.len() as u64, "test");
    progress.note(&format!("{passed} of {all} of what changed passed"));
}

/// Whether a relation is one that the spec asks for by itself, and not reference data.
fn own(name: &Name) -> bool {
    name.schema != "medallion"
}

fn metrics(outcome: &Outcome) -> serde_json::Value {
    let landed: BTreeMap<String, u64> =
        outcome.landed.iter().map(|(name, rows)| (name.to_string(), *rows)).collect();
    let step = |rows: u64, elapsed: Duration| json!({ "rows": rows, "seconds": elapsed.as_secs_f64() });
    let applied: BTreeMap<String, serde_json::Value> =
        outcome.applied.iter().map(|one| (one.relation.to_string(), step(one.rows, one.elapsed))).collect();
    let refreshed: BTreeMap<String, serde_json::Value> =
        outcome.refreshed.iter().map(|one| (one.mart.to_string(), step(one.rows, one.elapsed))).collect();
    let retained = outcome.retained.as_ref().map(|one| json!({ "horizon": one.horizon, "gone": one.gone }));
    let refused = outcome.tested.iter().find(|one| one.status.holds_back()).map(data_test::finding);
    json!({
        "refused": refused,
        "retained": retained,
        "landed": landed,
        "applied": applied,
        "refreshed": refreshed,
        "tests": data_test::counted(&outcome.tested),
        "system_time": outcome.system_time,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was told of steps.
    #[derive(Default)]
    struct Told(Vec<String>);

    impl Progress for Told {
        fn step(&mut self, step: &Step<'_>) {
            self.0.push(format!("{} of {}: {} {}", step.number, step.of, step.object, step.rows));
        }
        fn note(&mut self, _: &str) {}
        fn warn(&mut self, _: &str) {}
    }

    #[test]
    fn a_round_that_begins_again_tells_each_relation_once() {
        let names = ["one", "two", "three"].map(|name| Name::new("silver", name));
        let steps = names.iter().map(|name| ("applied", name)).collect();
        let (mut told, landings) = (Told::default(), BTreeMap::new());
        let landing_time = Duration::ZERO;
        let mut telling =
            Telling { progress: &mut told, landings: &landings, landing_time, steps, told: 0, begun: true };
        for (place, rows) in [(1, 5), (1, 5), (2, 7)] {
            telling.done(&names[place], rows, Duration::ZERO);
        }
        telling.end(&[]);
        assert_eq!(told.0, ["1 of 3: silver.one 0", "2 of 3: silver.two 5", "3 of 3: silver.three 7"]);
    }
}
