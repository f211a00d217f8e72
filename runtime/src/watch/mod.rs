//! The pipeline, continuously. Two things go on beside each other, each on a session of its own: landing, batch by
//! batch as the source commits, and publishing (apply and refresh) of what has landed. Landing never waits for
//! publishing, so that a value which silver refuses holds back silver and not the source's log.
//!
//! ```text
//! source ─▶ land ─▶ bronze ─▶ publish ─▶ silver and gold      stop ─▶ both end what they are at
//!                     └── tells ──┘                            another run waits ─▶ both end, make way, go on
//! ```
//!
//! A lost server is waited for. Whoever else wants the warehouse gets it between two rounds; where it has another
//! shape afterwards, the watch leaves.

mod land;
mod pulse;
pub mod serve;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::Utc;
use sqlx::{Connection as _, PgConnection};
use tokio::sync::watch as signal;

pub use pulse::Pulse;

use crate::apart;
use crate::capture;
use crate::connection::{self, Database};
use crate::descriptor::{Name, Warehouse};
use crate::error::{Error, Result};
use crate::lineage::{Ended, Teller};
use crate::place::Place;
use crate::progress::{Progress, count};
use crate::round::{Round, Waits};
use crate::staging::Staging;
use crate::{alert, data_test, forget, lock, migrate, record, retain, round};
use land::Lander;

/// How a watch paces itself.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Between two looks at a source that has just had something.
    pub busy: Duration,
    /// Between two looks at one that has had nothing for a while.
    pub idle: Duration,
    /// Between two words on how things stand.
    pub tell: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            busy: Duration::from_millis(10),
            idle: Duration::from_millis(200),
            tell: Duration::from_secs(10),
        }
    }
}

/// How long the rounds at hand may take to end when the watch is stopped; then they are rolled back.
const GRACE: Duration = Duration::from_secs(5);

/// How long the watch's last words may take after that: who does not answer is not waited for.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How often it is looked whether somebody else wants the warehouse.
const MAKES_WAY_EVERY: Duration = Duration::from_millis(250);

/// How often silver is published without anything that landed: others write there too.
const PUBLISHES_EVERY: Duration = Duration::from_secs(1);

/// How often the bookkeeping is brought up to date.
const RECORDS_EVERY: Duration = Duration::from_secs(10);

/// How often what the spec watches is measured.
const MEASURES_EVERY: Duration = Duration::from_secs(5);

/// How often what is older than the spec keeps is folded.
const RETAINS_EVERY: Duration = Duration::from_secs(3_600);

/// Pauses before something that failed is tried again: the first and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));

/// Tells a watch to stop; and what it shows to whoever asks.
#[derive(Clone, Debug)]
pub struct Stop(signal::Sender<bool>);

impl Default for Stop {
    fn default() -> Self {
        Self(signal::Sender::new(false))
    }
}

impl Stop {
    /// Stops it, once what it is at has ended.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }

    /// Waits until it is stopped.
    pub async fn stopped(&self) {
        let mut stopped = self.0.subscribe();
        // The sender is ours and lives as long as we do.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    }

    fn is_stopped(&self) -> bool {
        *self.0.borrow()
    }
}

/// Watches until it is stopped, or something needs a hand.
pub async fn watch(
    warehouse: &Warehouse,
    place: &Place,
    pace: Pace,
    stop: &Stop,
    pulse: &Pulse,
    progress: &mut dyn Progress,
) -> Result<()> {
    let teller = Teller::from_environment(warehouse, place)?;
    let watch = Watch { warehouse, place, pace, stop, pulse, teller, voice: Voice(Mutex::new(progress)) };
    let telling = watch.tell();
    tokio::select! {
        done = watch.go_on() => done,
        () = telling => unreachable!("it tells for ever"),
    }
}

struct Watch<'a> {
    warehouse: &'a Warehouse,
    place: &'a Place,
    pace: Pace,
    stop: &'a Stop,
    pulse: &'a Pulse,
    teller: Teller<'a>,
    voice: Voice<'a>,
}

/// Why a stretch ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// It was told to.
    Stopped,
    /// Somebody else wants the warehouse.
    MadeWay,
}

impl Watch<'_> {
    /// Stretch after stretch, waiting for what passes.
    async fn go_on(&self) -> Result<()> {
        let mut pause = PAUSES.0;
        let mut said = String::new();
        let mut seen = self.pulse.counts();
        loop {
            let ended = tokio::select! {
                ended = self.stretch() => ended,
                () = self.overdue() => return Ok(()),
            };
            let error = match ended {
                Ok(()) => return Ok(()),
                Err(error) if error.is_passing() => error,
                Err(error) => return Err(error),
            };
            if self.pulse.counts() != seen {
                seen = self.pulse.counts();
                pause = PAUSES.0;
                said.clear();
            }
            self.pulse.retried("connect");
            self.pulse.waiting(error.what());
            if said != error.what() {
                error.what().clone_into(&mut said);
                self.voice.note(&format!("waiting, and trying again: {error}"));
            }
            if self.sleeps(pause).await == Woken::Stopped {
                return Ok(());
            }
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// Waits until it should have stopped. A peer that has vanished says nothing, and the system would wait for it for
    /// hours.
    async fn overdue(&self) {
        self.stop.stopped().await;
        tokio::time::sleep(GRACE + LAST_WORDS).await;
    }

    /// On sessions of its own: watches, makes way, watches again.
    async fn stretch(&self) -> Result<()> {
        let mut own = self.session().await?;
        let mut publishing = self.session().await?;
        lock::watch_alone(&mut publishing).await?;
        loop {
            tokio::select! {
                taken = lock::wait(&mut publishing, |text| self.voice.note(text)) => taken?,
                () = self.stop.stopped() => return Ok(()),
            }
            // Whoever had it may have migrated.
            migrate::check(self.warehouse, &mut publishing).await?;
            // Where bronze stands apart, nobody else lands there meanwhile; who wants the warehouse is seen here.
            let mut bronze = apart::open(self.warehouse, self.place, &mut publishing).await?;
            let mut waits = false;
            let (landing, asking) = match &mut bronze {
                None => (&mut own, None),
                Some(bronze) => {
                    retain::refuse_older(self.warehouse, &mut publishing, bronze).await?;
                    forget::finish(self.warehouse, &mut publishing, bronze).await?;
                    waits = apart::meet(self.warehouse, &mut publishing, bronze).await?;
                    if waits {
                        self.voice.note(apart::OLDER);
                    }
                    (bronze, Some(&mut own))
                }
            };
            let record = record::begin(self.warehouse, &mut publishing).await?;
            match self.both(landing, asking, (&mut publishing, waits), record).await {
                Ok(left) => {
                    record.succeeded(&mut publishing, &self.metrics()).await?;
                    if left == Left::Stopped {
                        // The lock is free when the program has ended, not some time after.
                        let _ = publishing.close().await;
                        return Ok(());
                    }
                    self.voice.note("making way for another run or migration");
                    lock::release(&mut publishing).await?;
                }
                Err(error) => {
                    record.failed(&mut publishing, &error).await;
                    return Err(error);
                }
            }
        }
    }

    async fn session(&self) -> Result<PgConnection> {
        let mut session = connection::connect(Database::Warehouse, &self.place.warehouse).await?;
        round::prepare_session(&mut session).await?;
        Ok(session)
    }

    /// Lands and publishes until both have left. Where one fails, the other ends what it is at. Where it waits, nothing
    /// is published of what an older bronze says before that can land again.
    async fn both(
        &self,
        landing: &mut PgConnection,
        asking: Option<&mut PgConnection>,
        (publishing, waits): (&mut PgConnection, bool),
        record: record::Record,
    ) -> Result<Left> {
        let leave = Stop::default();
        let (landed, mut landed_too) = signal::channel(0_u64);
        let work = async {
            let ended = tokio::join!(
                async {
                    let ended = self.land(landing, asking, &landed, &leave).await;
                    leave.stop();
                    ended
                },
                async {
                    if waits {
                        self.wait_for_landing(&mut landed_too, &leave).await;
                    }
                    let ended = self.publish(publishing, landed_too, &leave, record).await;
                    leave.stop();
                    ended
                },
                async {
                    tokio::select! {
                        () = self.stop.stopped() => leave.stop(),
                        () = leave.stopped() => {}
                    }
                }
            );
            ended.0.and(ended.1)
        };
        let grace = async {
            self.stop.stopped().await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            ended = work => ended?,
            // Their transactions roll back with their sessions.
            () = grace => {}
        }
        Ok(if self.stop.is_stopped() { Left::Stopped } else { Left::MadeWay })
    }

    async fn land(
        &self,
        target: &mut PgConnection,
        mut asking: Option<&mut PgConnection>,
        landed: &signal::Sender<u64>,
        leave: &Stop,
    ) -> Result<()> {
        let (mut voice, mut other) = (Landing(self), Landing(self));
        let mut lander = Lander::begin(self.warehouse, self.place, target, &mut voice, &mut other).await?;
        landed.send_modify(|batch| *batch += 1);
        let mut warned = BTreeSet::new();
        let mut looked = Instant::now();
        let mut pause = self.pace.busy;
        while !leave.is_stopped() {
            let asked = Instant::now();
            let round = lander.next().await?;
            for finding in round.captured.findings {
                if warned.insert(finding.clone()) {
                    self.voice.warn(&finding);
                }
            }
            let rows: u64 = round.captured.landed.values().sum();
            self.pulse.asked(asked, round.behind);
            landed.send_modify(|batch| *batch += u64::from(rows > 0));
            if looked.elapsed() >= MAKES_WAY_EVERY {
                looked = Instant::now();
                let asked = match &mut asking {
                    Some(asking) => &mut **asking,
                    None => lander.target(),
                };
                if lock::is_wanted(asked).await? {
                    return Ok(());
                }
            }
            if round.is_full {
                continue;
            }
            pause = if rows > 0 { self.pace.busy } else { (pause * 2).min(self.pace.idle) };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = leave.stopped() => {}
            }
        }
        Ok(())
    }

    async fn publish(
        &self,
        target: &mut PgConnection,
        mut landed: signal::Receiver<u64>,
        leave: &Stop,
        record: record::Record,
    ) -> Result<()> {
        let mut pause = PAUSES.0;
        let mut said = String::new();
        let mut recorded = Instant::now();
        let mut retained: Option<Instant> = None;
        let mut measured: Option<Instant> = None;
        let mut told = BTreeMap::new();
        let staging = Staging::default();
        let mut waits = Waits::Perhaps;
        // Half a beginning would have its other half come late.
        if !capture::has_begun(self.warehouse, target).await? {
            self.wait_for_landing(&mut landed, leave).await;
        }
        while !leave.is_stopped() {
            let is_due = measured.is_none_or(|at| at.elapsed() >= MEASURES_EVERY);
            if is_due && !self.warehouse.alerts.is_empty() {
                measured = Some(Instant::now());
                let all = alert::measure(self.warehouse, self.pulse.known(), target).await?;
                self.pulse.measured(&all);
            }
            let level = self.pulse.level();
            let began = Utc::now();
            landed.mark_unchanged();
            match round::publish(self.warehouse, waits, &staging, target, |_, _, _| {}).await {
                Ok(Round::Held(tested)) => {
                    let refused: Vec<String> =
                        tested.iter().filter(|one| one.status.holds_back()).map(data_test::finding).collect();
                    let text = refused.join("\n  ");
                    self.pulse.refused("a test of the data failed");
                    if said != text {
                        data_test::keep(&tested, record, target).await?;
                        self.voice
                            .warn(&format!("silver and gold stay as they are, landing goes on: {text}"));
                        self.teller.tell(began, Ended::Badly(text.clone()), &[]);
                        said = text;
                    }
                    self.wait(pause, leave).await;
                    pause = (pause * 2).min(PAUSES.1);
                    continue;
                }
                Ok(Round::Published(published)) => {
                    for finding in &published.findings {
                        self.voice.warn(finding);
                    }
                    if !said.is_empty() {
                        said.clear();
                        self.voice.note("silver and gold move on again");
                    }
                    pause = PAUSES.0;
                    let applied = published.applied.iter().map(|one| (one.relation.to_string(), one.rows));
                    let marts = published.refreshed.iter().map(|one| (one.mart.to_string(), one.rows));
                    let changed: Vec<(String, u64)> = applied.chain(marts).collect();
                    if !changed.is_empty() {
                        let applied = published.applied.iter().map(|one| (one.relation.clone(), one.rows));
                        let marts = published.refreshed.iter().map(|one| (one.mart.clone(), one.rows));
                        let all: Vec<(Name, u64)> =
                            self.landed_since(&mut told).into_iter().chain(applied).chain(marts).collect();
                        self.teller.tell(began, Ended::Well, &all);
                        self.pulse.changed(changed);
                    }
                    self.pulse.published(level, published.system_time);
                }
                Err(error) if error.is_of_connection() => return Err(error),
                Err(error) => {
                    let text = error.to_string();
                    self.pulse.refused(error.what());
                    if said != text && !error.is_passing() {
                        self.voice
                            .warn(&format!("silver and gold stay as they are, landing goes on: {text}"));
                        said = text;
                    }
                    self.wait(pause, leave).await;
                    pause = (pause * 2).min(PAUSES.1);
                    continue;
                }
            }
            if retained.is_none_or(|at| at.elapsed() >= RETAINS_EVERY) {
                retained = Some(Instant::now());
                self.retain(target).await?;
            }
            if recorded.elapsed() >= RECORDS_EVERY {
                recorded = Instant::now();
                record.update(target, &self.metrics()).await?;
            }
            waits = tokio::select! {
                changed = landed.changed() => match changed {
                    Ok(()) => Waits::Surely,
                    Err(_) => break,
                },
                () = tokio::time::sleep(PUBLISHES_EVERY) => Waits::Perhaps,
                () = leave.stopped() => Waits::Perhaps,
            };
        }
        staging.clear(target).await
    }

    async fn wait_for_landing(&self, landed: &mut signal::Receiver<u64>, leave: &Stop) {
        tokio::select! {
            _ = landed.changed() => {}
            () = leave.stopped() => {}
        }
    }

    /// What has landed since this was asked the last time.
    fn landed_since(&self, told: &mut BTreeMap<Name, u64>) -> Vec<(Name, u64)> {
        let mut since = Vec::new();
        for landing in self.landings() {
            let now = self.pulse.rows([landing.clone()]);
            let before = told.insert(landing.clone(), now).unwrap_or_default();
            if now > before {
                since.push((landing, now - before));
            }
        }
        since
    }

    /// Folding can wait; where it fails, it is told and tried again the next time.
    async fn retain(&self, target: &mut PgConnection) -> Result<()> {
        let folded = async {
            // What lands goes on beside it.
            let mut bronze = apart::look(self.warehouse, self.place, target).await?;
            retain::retain(self.warehouse, target, bronze.as_mut()).await
        };
        match folded.await {
            Ok(None) => {}
            Ok(Some(retained)) => {
                let rows = count(retained.rows(), "row");
                self.voice.note(&format!("folded what is older than {}: {rows} went", retained.horizon));
            }
            Err(error) if error.is_of_connection() => return Err(error),
            Err(error) => self.voice.warn(&error.to_string()),
        }
        Ok(())
    }

    async fn wait(&self, pause: Duration, leave: &Stop) {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = leave.stopped() => {}
        }
    }

    async fn sleeps(&self, pause: Duration) -> Woken {
        tokio::select! {
            () = tokio::time::sleep(pause) => Woken::InTime,
            () = self.stop.stopped() => Woken::Stopped,
        }
    }

    /// Says how things stand, when something has happened since.
    async fn tell(&self) {
        let mut before = self.pulse.counts();
        loop {
            tokio::time::sleep(self.pace.tell).await;
            let now = self.pulse.counts();
            if now == before {
                continue;
            }
            let rounds = count(now.1 - before.1, "round");
            before = now;
            let lag = self.pulse.lag().map_or("not yet level".to_owned(), |lag| {
                format!("at most {:.1}s behind the source", lag.as_secs_f64())
            });
            let time = self.pulse.system_time().unwrap_or("nothing yet".to_owned());
            let rows = count(self.pulse.rows(self.landings()), "change");
            self.voice.state(&format!("true as of {time}, {lag}; {rows} landed, {rounds} since"));
        }
    }

    fn metrics(&self) -> serde_json::Value {
        self.pulse.metrics(self.landings())
    }

    fn landings(&self) -> impl Iterator<Item = Name> {
        self.warehouse.landings.iter().map(|landing| landing.table.clone())
    }
}

/// How a pause ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Woken {
    InTime,
    Stopped,
}

/// What both sides of a watch speak through.
struct Voice<'a>(Mutex<&'a mut dyn Progress>);

impl Voice<'_> {
    fn note(&self, text: &str) {
        self.with(|progress| progress.note(text));
    }

    fn warn(&self, text: &str) {
        self.with(|progress| progress.warn(text));
    }

    fn state(&self, text: &str) {
        self.with(|progress| progress.state(text));
    }

    fn with(&self, speak: impl FnOnce(&mut dyn Progress)) {
        let mut progress = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        speak(&mut **progress);
    }
}

/// Capture's words, in the watch's voice; a batch counts when it is there to stay.
struct Landing<'a, 'w>(&'a Watch<'w>);

impl capture::Progress for Landing<'_, '_> {
    fn landed(&mut self, landing: &Name, rows: u64) {
        self.0.pulse.landed(&[(landing.clone(), rows)].into());
    }

    fn note(&mut self, text: &str) {
        self.0.voice.note(text);
    }
}

/// Reads milliseconds of a pause.
pub fn pause(milliseconds: u64, what: &str) -> Result<Duration> {
    match milliseconds {
        1..=60_000 => Ok(Duration::from_millis(milliseconds)),
        _ => Err(Error::new(format!("`{milliseconds}` is no pause for {what}"))
            .remedy("give milliseconds, 1 to 60000")),
    }
}
