//! Brings bronze up to where the source stands: preflight, then, once, the recorded log and a snapshot,
//! then the stream in batches of whole transactions. Every committed change lands exactly once, in commit
//! order, wherever it is killed; a gap is refused. Knows of silver only what it reads, and nothing of gold.
//!
//! The way, a module a step: `preflight`, `identity` and `publication` ask whether the source can be captured, `fit`
//! whether silver can take what comes (`column`, `unique`), `begin` lands the past (`past`, `recorded_log`,
//! `snapshot`) and `resnapshot` goes over what was missed, `join` takes in tables that come later (`standing`
//! tells them), `stream` goes on from there batch by batch, and where much is waiting `ahead`, `reading` takes a
//! batch from a `feed`, `decoder` turns messages (`pgoutput`, into which `wal2json` is put) into rows (`json`, by `source_type`), `position` keeps how far it got, `slot` is the source's end of the same,
//! `hold` another that stays behind, `switchover` tells whether a standby that took over has all that landed. A source whose log is not to be read is asked by `poll`.

mod ahead;
mod begin;
pub(crate) mod beside;
mod column;
mod copies;
mod decoder;
mod feed;
mod fit;
pub mod follow;
#[doc(hidden)]
pub mod fuzzed;
pub(crate) mod going_on;
pub(crate) mod hold;
mod identity;
mod join;
mod json;
mod partition;
mod past;
mod pgoutput;
mod poll;
mod position;
mod preflight;
pub mod prepare;
mod publication;
pub mod readiness;
mod reading;
mod recorded_log;
pub mod resnapshot;
mod slot;
mod snapshot;
mod source_type;
mod standing;
mod stream;
mod switchover;
mod unique;
mod wal2json;

use std::collections::BTreeMap;

use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

pub use poll::extract;
pub use position::{Lsn, SystemTime};

use crate::connection::{self, Database};
use crate::descriptor::{Name, Warehouse};
use crate::error::{During as _, Result};
use crate::place::Place;
use begin::Wanted;
use position::{Lock, State};
use preflight::{Before, Problems, Ready};
use reading::Reading;
use standing::Standing;

/// What is told on the way. Every method may be called any number of times.
pub trait Progress: Send {
    /// Rows of a landing table have been committed.
    fn landed(&mut self, landing: &Name, rows: u64);

    /// Rows of a landing table are on their way, in a transaction that has not been committed.
    fn copied(&mut self, _landing: &Name, _rows: u64) {}

    /// Something that a reader wants to know: what is waited for, what comes next.
    fn note(&mut self, text: &str);

    /// A point of the way is reached. An error stops there, as if the process had been killed.
    fn reached(&mut self, _point: Point) -> Result<()> {
        Ok(())
    }
}

/// The points at which a capture can be stopped with nothing lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Point {
    /// It is written down that the slot is about to be created.
    SlotAnnounced,
    /// The slot stands.
    SlotCreated,
    /// The source's snapshot has been taken, and nothing read.
    SnapshotTaken,
    /// The past, or that of one table, has been copied and not committed.
    PastCopied,
    /// The past of one table has been committed, where each lands by itself.
    TableLanded,
    /// The past has been committed.
    PastLanded,
    /// A batch has been copied and not committed.
    BatchCopied,
    /// A batch has been committed, and the slot not yet advanced.
    BatchLanded,
    /// The slot has been advanced.
    SlotAdvanced,
}

impl Point {
    /// All of them, in the order in which they are reached.
    pub const ALL: [Self; 9] = [
        Self::SlotAnnounced,
        Self::SlotCreated,
        Self::SnapshotTaken,
        Self::PastCopied,
        Self::TableLanded,
        Self::PastLanded,
        Self::BatchCopied,
        Self::BatchLanded,
        Self::SlotAdvanced,
    ];
}

/// What a capture brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captured {
    /// Rows landed, by landing table; those without are left out.
    pub landed: BTreeMap<Name, u64>,
    /// How many transactions they are of; the snapshot counts as none.
    pub transactions: u64,
    /// Everything that commits at the source below this position has landed.
    pub position: Lsn,
    /// What somebody should look at, each once.
    pub findings: Vec<String>,
}

impl Captured {
    /// The rows landed in all.
    pub fn rows(&self) -> u64 {
        self.landed.values().sum()
    }

    pub(crate) fn landed(&mut self, landing: &Name, rows: u64) {
        if rows > 0 {
            *self.landed.entry(landing.clone()).or_default() += rows;
        }
    }

    pub(crate) fn finding(&mut self, finding: String) {
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }
}

/// The timeline of a source whose log is not read: a standby, or a server that has taken over, is as good to ask.
pub(crate) const ASKED: i32 = 0;

/// The way out when changes are gone.
pub(crate) const RESNAPSHOT: &str =
    "`medallion source resnapshot` lands what differs by now and goes on from there, all history kept";

/// What the steps work with.
struct Way<'a> {
    warehouse: &'a Warehouse,
    source: PgConnection,
    source_url: &'a str,
    /// Where further sessions are to be had that land, if they may be.
    landing: Option<(Database, &'a str)>,
    target: &'a mut PgConnection,
    progress: &'a mut dyn Progress,
    captured: Captured,
}

impl<'a> Way<'a> {
    /// Connects to the source.
    async fn to(
        warehouse: &'a Warehouse,
        source_url: &'a str,
        target: &'a mut PgConnection,
        progress: &'a mut dyn Progress,
    ) -> Result<Self> {
        let source = connect(source_url).await?;
        let captured = Captured::default();
        Ok(Self { warehouse, source, source_url, landing: None, target, progress, captured })
    }

    /// The replication slot's name.
    fn slot(&self) -> &str {
        &self.warehouse.source.slot
    }

    /// Tells of rows that are there to stay.
    fn tell(&mut self, landed: &[u64]) {
        tell(self.warehouse, self.progress, landed);
    }
}

/// Tells of rows that are there to stay.
fn tell(warehouse: &Warehouse, progress: &mut dyn Progress, landed: &[u64]) {
    for (landing, rows) in warehouse.landings.iter().zip(landed) {
        if *rows > 0 {
            progress.landed(&landing.table, *rows);
        }
    }
}

/// Brings bronze up to the position at which the source stands now. The warehouse's connection must not be
/// in a transaction: the first time, a slot waits for the transactions of its server, this one included.
pub async fn capture(
    warehouse: &Warehouse,
    source_url: &str,
    target: &mut PgConnection,
    progress: &mut dyn Progress,
) -> Result<Captured> {
    let way = Way::to(warehouse, source_url, target, progress).await?;
    capture_by(way).await
}

/// The same; the past lands in several sessions of the warehouse at once.
pub async fn capture_at(
    warehouse: &Warehouse,
    place: &Place,
    target: &mut PgConnection,
    progress: &mut dyn Progress,
) -> Result<Captured> {
    if !warehouse.has_source() {
        return Ok(Captured::default());
    }
    let mut way = Way::to(warehouse, &place.source, target, progress).await?;
    way.landing = Some(place.landing());
    capture_by(way).await
}

async fn capture_by(mut way: Way<'_>) -> Result<Captured> {
    if let Some(polling) = &way.warehouse.source.polling {
        poll::poll(&mut way, polling).await?;
    } else if way.warehouse.reads_log() {
        follow_log(&mut way).await?;
    }
    copies::take(&mut way, copies::Wanted::ByRun).await?;
    Ok(way.captured)
}

/// Brings bronze up to the position at which the source's log stands now.
async fn follow_log(way: &mut Way<'_>) -> Result<()> {
    let (mut ready, goal) = set_out(way).await?;
    let mut reading = Reading::of(way.source_url, &ready);
    stream::catch_up(way, &mut reading, goal).await?;
    look_for_missed(way, &mut ready).await?;
    if join::join(way, &mut ready).await? {
        reading.is_now(&ready);
        let goal = slot::flushed(&mut way.source).await?;
        stream::catch_up(way, &mut reading, goal).await?;
    }
    look_at_partitions(way, &mut ready).await?;
    hold::follow(way).await
}

/// A table of which the stream has missed something on the way joins anew.
async fn look_for_missed(way: &mut Way<'_>, ready: &mut Ready) -> Result<()> {
    let known = standing::known(way.target).await?;
    for (landing, table) in way.warehouse.captured().iter().zip(&mut ready.tables) {
        let known = known.get(&landing.table.to_string());
        if table.standing == Standing::Captured && known.is_some_and(|known| known.identity != table.identity)
        {
            (table.standing, table.brings) = standing::stands(known, Some(&table.identity));
        }
    }
    Ok(())
}

/// Goes as far as the stream; gives how the source is, and the position at which it stood on the way.
async fn set_out(way: &mut Way<'_>) -> Result<(Ready, Lsn)> {
    go_over_to_log(way).await?;
    go_over_to_standby(way).await?;
    let before = before(way).await?;
    if before.is_none() {
        begin::refuse_foreign(way).await?;
    }
    let before = before.unwrap_or(Before::Nothing);
    let ready = ask(way, &before, Trace::Kept).await?;
    let goal = slot::flushed(&mut way.source).await?;
    if !before.goes_on() {
        begin::begin(way, &ready, Wanted::Beginning).await?;
    }
    Ok((ready, goal))
}

/// Where the source was asked so far, and its log was not read: what differs by the time that a slot stands lands first.
async fn go_over_to_log(way: &mut Way<'_>) -> Result<()> {
    let slot = way.slot().to_owned();
    let Some(position) = position::read(way.target, &slot, Lock::None).await? else { return Ok(()) };
    if position.state == State::Streaming && position.site.timeline == ASKED {
        position::announce(way.target, &slot, State::Resnapshotting, &position.site).await?;
    }
    Ok(())
}

/// Where the source was switched over to its standby, and that has all that landed: the stream goes on there.
async fn go_over_to_standby(way: &mut Way<'_>) -> Result<()> {
    let slot = way.slot().to_owned();
    let Some(position) = position::read(way.target, &slot, Lock::None).await? else { return Ok(()) };
    if let Some(after) = switchover::go_over(&mut way.source, way.target, &slot, &position).await? {
        way.progress.note(&format!(
            "the source was switched over (timeline {}, before {}), slot and all: going on from {}",
            after.site.timeline, position.site.timeline, after.landed_to
        ));
    }
    Ok(())
}

/// Tells of partitions whose rows went without a word; or lands what the table lacks by now, where the spec says so. What
/// came with one that was attached lands in any case.
async fn look_at_partitions(way: &mut Way<'_>, ready: &mut Ready) -> Result<()> {
    let found = partition::look(&mut way.source, way.target, way.warehouse, ready).await?;
    for finding in found.findings {
        way.captured.finding(finding);
    }
    if found.due.is_empty() {
        return Ok(());
    }
    for (at, standing) in found.due {
        if let Some(table) = ready.tables.get_mut(at) {
            table.standing = standing;
        }
    }
    if join::join(way, ready).await? {
        // What is there now is written down.
        partition::look(&mut way.source, way.target, way.warehouse, ready).await?;
    }
    for table in &mut ready.tables {
        if matches!(table.standing, Standing::Lacks | Standing::Gains) {
            table.standing = Standing::Captured;
        }
    }
    Ok(())
}

/// Whether the past of every landing table has landed.
pub async fn has_begun(warehouse: &Warehouse, target: &mut PgConnection) -> Result<bool> {
    let known = standing::known(target).await?;
    let mut asked = warehouse.landings.iter().filter(|landing| landing.feed().is_none());
    Ok(asked.all(|landing| known.contains_key(&landing.table.to_string())))
}

/// What has been captured before; none where not even the slot was announced.
async fn before(way: &mut Way<'_>) -> Result<Option<Before>> {
    let position = position::read(way.target, &way.warehouse.source.slot, Lock::None).await?;
    Ok(match position {
        None => None,
        Some(position) => Some(match position.state {
            State::Streaming => Before::Something(position.site, standing::known(way.target).await?),
            State::Creating => Before::Nothing,
            State::Resnapshotting => Before::Broken,
        }),
    })
}

/// Whether what asking makes at the source, a publication, stays there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trace {
    Kept,
    Undone,
}

/// Asks the source whether it can be captured; where it cannot, it is left as it was.
async fn ask(way: &mut Way<'_>, before: &Before, trace: Trace) -> Result<Ready> {
    let failed = || "cannot ask the source in one transaction".to_owned();
    let mut transaction = way.source.begin().await.during(failed)?;
    let ready = preflight::check(&mut transaction, way.warehouse, before).await?;
    let fit = fit::look(&mut transaction, way.target, way.warehouse, way.warehouse.captured(), &ready.tables)
        .await?;
    let mut problems = Problems::default();
    let mut warnings = fit.warnings;
    for misfit in fit.misfits {
        match before {
            // Its log would pile up for what holds back a part of silver.
            Before::Something(..) if misfit.is_safe => warnings.push(misfit.warning()),
            _ => problems.add(misfit.what, misfit.remedy),
        }
    }
    problems.refuse()?;
    match trace {
        Trace::Kept => transaction.commit().await.during(failed)?,
        Trace::Undone => transaction.rollback().await.during(failed)?,
    }
    for finding in ready.findings.iter().chain(&warnings) {
        way.captured.finding(finding.clone());
    }
    Ok(ready)
}

/// A connection to the source on which no row is hidden.
async fn connect(source_url: &str) -> Result<PgConnection> {
    let mut source = connection::connect(Database::Source, source_url).await?;
    sqlx::raw_sql(
        "SET row_security = off;
        -- A transaction that does not fit is put on the source's disk first, which doubles what reading it takes.
        SELECT set_config('logical_decoding_work_mem', '256MB', false)
        WHERE pg_size_bytes(current_setting('logical_decoding_work_mem')) < pg_size_bytes('256MB')",
    )
    .execute(&mut source)
    .await
    .during(|| "cannot prepare the session at the source".to_owned())?;
    Ok(source)
}
