//! The stream in batches: read whole transactions, copy what has not landed, move the position in the
//! same transaction, commit, and only then advance the slot. A kill anywhere leaves whole batches, and what
//! was read and landed already is dropped the next time.

use sqlx::postgres::{PgConnection, Postgres};
use sqlx::{Connection as _, Transaction};
use tokio::sync::mpsc::{Receiver, Sender};

use super::ahead::{self, Ahead};
use super::decoder::Care;
use super::feed::{Consuming, SlotFeed};
use super::position::{self, Lock, Lsn, SourcePosition, State};
use super::reading::{self, Outlet, Read, Reading, WayOn};
use super::slot::{self, Busy, Slot};
use super::standing;
use super::{Captured, Point, Progress, Way, hold, tell};
use crate::descriptor::{Landing, Warehouse};
use crate::error::{During as _, Error, Result};
use crate::land::{self, Chunk, Place, staged};
use crate::statement;

/// How much of the source's log, in bytes, is asked for at a time: the source puts what it decodes on its disk.
pub(super) const STRETCH: i64 = 1 << 30;

/// Lands batch after batch until everything that commits below the goal is there; one batch at least, so
/// that an idle slot moves on.
pub async fn catch_up(way: &mut Way<'_>, reading: &mut Reading, goal: Lsn) -> Result<()> {
    loop {
        if ahead::catch_up(way, reading, goal).await? == Ahead::Level {
            return Ok(());
        }
        let batch = next(way, reading, Empty::Moves).await?;
        if batch.landed_to >= goal {
            return Ok(());
        }
    }
}

/// What is done about a batch that has no rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Empty {
    /// The position moves, so that the source can forget what it has kept.
    Moves,
    /// Nothing: it costs a commit, and what comes next can move it as well.
    Stays,
}

/// A batch that has landed.
#[derive(Clone, Copy, Debug)]
pub struct Batch {
    /// Everything that commits below it has landed.
    pub landed_to: Lsn,
    /// How many rows.
    pub rows: u64,
    /// Whether it had as much as is asked for: more is waiting.
    pub is_full: bool,
}

/// Lands one batch, waiting for a slot that is in use, and advances the slot.
pub async fn next(way: &mut Way<'_>, reading: &mut Reading, empty: Empty) -> Result<Batch> {
    let mut busy = Busy::default();
    let mut care = Care::Usual;
    let missed = reading.missed().clone();
    let batch = loop {
        let landed = land_batch(way, reading, care, empty).await;
        if landed.is_err() {
            reading.again(missed.clone());
        }
        match landed {
            Ok(batch) => break batch,
            // One of its rows cannot be landed; which one shows when each is looked at.
            Err(error) if care == Care::Usual && land::is_of_data(&error) => care = Care::EachRow,
            Err(error) => busy.wait(error, way.progress).await?,
        }
    };
    way.captured.position = batch.landed_to;
    if batch.rows > 0 || empty == Empty::Moves {
        advance(way, batch.landed_to).await?;
    }
    Ok(batch)
}

/// Lands one batch.
async fn land_batch(way: &mut Way<'_>, reading: &mut Reading, care: Care, empty: Empty) -> Result<Batch> {
    let warehouse = way.warehouse;
    let mut transaction = Open::begin(warehouse, way.target).await?;
    let position = transaction.position.clone();
    let flushed = stand(&mut way.source, warehouse, &position, way.progress).await?;
    let upto = flushed.min(Lsn(position.landed_to.0.saturating_add(STRETCH)));
    let known = position.landed_to;

    let (mut way_on, give_back) = WayOn::new();
    let (send, chunks) = WayOn::of_a_batch();
    let mut feed = feed(&mut way.source, warehouse, Consuming::Nothing);
    let read = async {
        let mut outlet = Outlet::Whole(send);
        let batch = reading::Batch { position, upto, most: reading::BATCH, care, outlet: &mut outlet };
        reading.batch(&mut feed, warehouse.captured(), batch, &mut way_on).await
    };
    // Both end by themselves where either fails: the channel between them closes.
    let (read, copied) = tokio::join!(read, transaction.copy(None, chunks, give_back));
    let mut copied = copied?;
    let read = read?;
    transaction.finish(&mut copied, care).await?;

    let rows = copied.landed.iter().sum();
    if rows == 0 && empty == Empty::Stays && !read.is_full && read.missed.is_empty() {
        return Ok(Batch { landed_to: known, rows, is_full: false });
    }
    let (landed_to, is_full) = (read.position.landed_to, read.is_full || upto < flushed);
    transaction.commit(copied, read, &mut way.captured, way.progress).await?;
    Ok(Batch { landed_to, rows, is_full })
}

/// The slot that is read, as a feed.
fn feed<'a>(source: &'a mut PgConnection, warehouse: &'a Warehouse, reading: Consuming) -> SlotFeed<'a> {
    SlotFeed { source, slot: &warehouse.source.slot, warehouse, reading }
}

/// Sees to it that the slot goes on from where has landed, and refuses one that does not; gives up to where the
/// source's log is safe.
pub(super) async fn stand(
    source: &mut PgConnection,
    warehouse: &Warehouse,
    position: &SourcePosition,
    progress: &mut dyn Progress,
) -> Result<Lsn> {
    let (name, plugin) = (warehouse.source.slot.as_str(), warehouse.source.plugin);
    let mut found = slot::find(source, name).await?;
    let is_good = found.as_ref().is_some_and(|found| found.check(name, position, plugin).is_ok());
    if !is_good && hold::heal(source, &warehouse.source, position, found.as_ref(), progress).await? {
        found = slot::find(source, name).await?;
    }
    let slot = found.ok_or_else(|| slot::gone(name))?;
    slot.check(name, position, plugin)?;
    let flushed = slot::flushed(source).await?;
    Slot::check_reached(flushed, position)?;
    if slot.confirmed < position.landed_to {
        // The last advance was not made, or the source crashed and forgot it.
        slot::advance(source, name, position.landed_to).await?;
    }
    Ok(flushed)
}

/// Lets the source forget what has landed.
pub(super) async fn advance(way: &mut Way<'_>, to: Lsn) -> Result<()> {
    let mut busy = Busy::default();
    let name = way.warehouse.source.slot.as_str();
    loop {
        match slot::advance(&mut way.source, name, to).await {
            Ok(()) => return way.progress.reached(Point::SlotAdvanced),
            Err(error) => busy.wait(error, way.progress).await?,
        }
    }
}

/// A transaction of the warehouse that lands a batch.
pub(super) struct Open<'a> {
    target: Transaction<'a, Postgres>,
    warehouse: &'a Warehouse,
    /// How far had landed before it.
    position: SourcePosition,
}

/// What a batch has copied.
pub(super) struct Copied {
    landed: Vec<u64>,
    staged: u64,
    quarantined: Vec<String>,
}

impl Copied {
    /// Whether some of it takes values from what has landed before.
    pub fn is_any_staged(&self) -> bool {
        self.staged > 0
    }
}

impl<'a> Open<'a> {
    /// Begins it: nobody else lands until it ends.
    async fn begin(warehouse: &'a Warehouse, target: &'a mut PgConnection) -> Result<Self> {
        let mut target = target.begin().await.during(unlanded)?;
        let position = where_it_stands(&mut target, warehouse, Lock::ForUpdate).await?;
        land::late::begin(&mut target).await?;
        Ok(Self { target, warehouse, position })
    }

    /// Begins it while another one may still be landing what comes before: it sees that when it has ended.
    pub async fn begin_beside(warehouse: &'a Warehouse, target: &'a mut PgConnection) -> Result<Self> {
        let mut target = target.begin().await.during(unlanded)?;
        statement::set(&mut target, "SET TRANSACTION ISOLATION LEVEL READ COMMITTED").await?;
        let position = where_it_stands(&mut target, warehouse, Lock::None).await?;
        land::late::begin(&mut target).await?;
        Ok(Self { target, warehouse, position })
    }

    /// From here on nobody else lands until it ends; gives how far has landed by now.
    pub async fn stand(&mut self) -> Result<Lsn> {
        self.position = where_it_stands(&mut self.target, self.warehouse, Lock::ForUpdate).await?;
        Ok(self.position.landed_to)
    }

    /// Copies a batch's rows as they come.
    pub async fn copy(
        &mut self,
        first: Option<Chunk>,
        chunks: Receiver<Chunk>,
        give_back: Sender<Vec<u8>>,
    ) -> Result<Copied> {
        let landings = &self.warehouse.landings;
        let land::Copied { landed, staged } =
            land::land(&mut self.target, landings, first, chunks, give_back).await?;
        Ok(Copied { landed, staged, quarantined: Vec::new() })
    }

    /// Lands what is on the stage.
    pub async fn finish(&mut self, copied: &mut Copied, care: Care) -> Result<()> {
        if copied.staged > 0 {
            let (landings, each) = (&self.warehouse.landings, care == Care::EachRow);
            copied.quarantined = staged::finish(&mut self.target, landings, each, &mut copied.landed).await?;
            copied.staged = 0;
        }
        Ok(())
    }

    /// Moves the position with what was copied, for good.
    pub async fn commit(
        mut self,
        copied: Copied,
        read: Read,
        captured: &mut Captured,
        progress: &mut dyn Progress,
    ) -> Result<()> {
        let landings: &[Landing] = &self.warehouse.landings;
        position::write_landed(&mut self.target, &self.warehouse.source.slot, &read.position).await?;
        if copied.landed.iter().any(|rows| *rows > 0) {
            let SourcePosition { last_lsn, last_time, .. } = self.position;
            let before = Place { lsn: last_lsn.0, seq: 0, time: last_time.0 };
            land::late::note(&mut self.target, landings, before).await?;
        }
        for landing in read.missed.iter().filter_map(|at| self.warehouse.captured().get(*at)) {
            standing::forget(&mut self.target, landing).await?;
        }
        progress.reached(Point::BatchCopied)?;
        self.target.commit().await.during(unlanded)?;

        for (landing, rows) in landings.iter().zip(&copied.landed) {
            captured.landed(&landing.table, *rows);
        }
        captured.transactions += read.transactions;
        for finding in read.findings.into_iter().chain(copied.quarantined) {
            captured.finding(finding);
        }
        for landing in read.missed.iter().filter_map(|at| self.warehouse.captured().get(*at)) {
            captured.finding(format!(
                "`{}` was changed while it, or its key, was called otherwise: what it is then lands when the name is back",
                landing.source
            ));
        }
        tell(self.warehouse, progress, &copied.landed);
        progress.reached(Point::BatchLanded)
    }
}

async fn where_it_stands(
    target: &mut PgConnection,
    warehouse: &Warehouse,
    lock: Lock,
) -> Result<SourcePosition> {
    let name = warehouse.source.slot.as_str();
    let position = position::read(target, name, lock).await?;
    position
        .filter(|position| position.state == State::Streaming)
        .ok_or_else(|| Error::new(format!("nothing has landed from slot `{name}`")).remedy("run again"))
}

fn unlanded() -> String {
    "cannot land a batch in one transaction of the warehouse".to_owned()
}
