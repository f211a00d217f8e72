//! Reads on while a batch lands, where much is waiting. The slot itself cannot go on before what it gave has landed;
//! a copy of it can, one that lives no longer than its session and that nobody misses. So the source decodes the
//! next batch while the warehouse takes in this one, and a kill leaves what it leaves without: whole batches, and a
//! slot that stands below what has landed.

use std::sync::atomic::{AtomicI64, Ordering};

use sqlx::Row as _;
use sqlx::postgres::PgConnection;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::oneshot;

use super::decoder::Care;
use super::feed::{Consuming, SlotFeed};
use super::position::{self, Lock, Lsn, SourcePosition, State};
use super::reading::{self, Read, Reading, WayOn};
use super::stream::{self, Open};
use super::{Captured, Progress, Way, slot};
use crate::descriptor::Warehouse;
use crate::error::{During as _, Error, Result};
use crate::land::{self, Chunk};

/// How much of the source's log a batch has at least, in bytes: less than that is landed at once.
const STRETCH: i64 = 32 << 20;

/// How much has landed, in bytes of the source's log, when the source may forget it, though more is coming.
const FORGETS: i64 = 256 << 20;

/// How far it was brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ahead {
    /// Everything below the goal has landed.
    Level,
    /// One batch after the other is the way: little is waiting, or the source has no slot left to spare, or there is
    /// a row that has to be looked at.
    NotNow,
}

/// Lands everything that commits below the goal, reading ahead.
pub async fn catch_up(way: &mut Way<'_>, reading: &mut Reading, goal: Lsn) -> Result<Ahead> {
    let warehouse = way.warehouse;
    let name = warehouse.source.slot.as_str();
    let position = position::read(way.target, name, Lock::None).await?;
    let Some(position) = position.filter(|position| position.state == State::Streaming) else {
        return Ok(Ahead::NotNow);
    };
    if goal.0 - position.landed_to.0 < STRETCH {
        return Ok(Ahead::NotNow);
    }
    let begun = match stream::stand(&mut way.source, warehouse, &position, way.progress).await {
        Ok(_) => begin(&mut way.source, name).await,
        Err(error) => Err(error),
    };
    let copy = match begun {
        Ok(copy) => copy,
        Err(error) if matches!(error.sqlstate().as_deref(), Some(slot::IN_USE | slot::NONE_LEFT)) => {
            return Ok(Ahead::NotNow);
        }
        Err(error) => return Err(error),
    };

    let landed = AtomicI64::new(position.landed_to.0);
    let (send, batches) = mpsc::channel(1);
    let (way_on, give_back) = WayOn::new();
    let reader = Reader { source: &mut way.source, warehouse, reading, copy: &copy, goal, landed: &landed };
    let lander = Lander {
        warehouse,
        target: way.target,
        progress: way.progress,
        captured: &mut way.captured,
        landed: &landed,
    };
    // Both end by themselves where either fails: the channel between them closes.
    let (read, landed) = tokio::join!(reader.read(position, send, way_on), lander.land(batches, give_back));
    match landed.and(read) {
        Ok(()) => {}
        Err(error) if land::is_of_data(&error) => {
            slot::drop(&mut way.source, &copy).await?;
            return Ok(Ahead::NotNow);
        }
        Err(error) => return Err(error),
    }
    slot::drop(&mut way.source, &copy).await?;
    let position = position::read(way.target, name, Lock::None).await?;
    let landed_to = position.map_or(Lsn::default(), |position| position.landed_to);
    way.captured.position = landed_to;
    stream::advance(way, landed_to).await?;
    Ok(Ahead::Level)
}

/// Makes the copy of the slot that is read ahead; gives its name, the session's own.
async fn begin(source: &mut PgConnection, name: &str) -> Result<String> {
    sqlx::query_scalar(
        "SELECT slot_name::text
        FROM (SELECT concat('medallion_ahead_', pg_backend_pid()) AS name) AS copy,
            pg_copy_logical_replication_slot($1, name, true)",
    )
    .bind(name)
    .fetch_one(source)
    .await
    .during(|| format!("cannot copy replication slot `{name}` to read ahead"))
}

/// A batch on its way.
struct Coming {
    chunks: Receiver<Chunk>,
    /// Comes when it has been read to its end; never, where the reader failed.
    read: oneshot::Receiver<Read>,
}

/// Reads batch after batch.
struct Reader<'a> {
    source: &'a mut PgConnection,
    warehouse: &'a Warehouse,
    reading: &'a mut Reading,
    copy: &'a str,
    goal: Lsn,
    landed: &'a AtomicI64,
}

impl Reader<'_> {
    async fn read(
        self,
        mut position: SourcePosition,
        batches: Sender<Coming>,
        mut way_on: WayOn,
    ) -> Result<()> {
        let mut forgotten = position.landed_to.0;
        while position.landed_to < self.goal {
            let landed = self.landed.load(Ordering::Relaxed);
            if landed - forgotten >= FORGETS {
                slot::advance(self.source, &self.warehouse.source.slot, Lsn(landed)).await?;
                forgotten = landed;
            }
            let upto = upto(self.source, self.copy, position.landed_to).await?;
            let (send, chunks) = WayOn::of_a_batch();
            let (tell, read) = oneshot::channel();
            if batches.send(Coming { chunks, read }).await.is_err() {
                return Ok(());
            }
            let mut feed = SlotFeed {
                source: self.source,
                slot: self.copy,
                warehouse: self.warehouse,
                reading: Consuming::AllRead,
            };
            let batch = reading::Batch { position, upto, care: Care::Usual, send };
            let read = self.reading.batch(&mut feed, &self.warehouse.landings, batch, &mut way_on).await?;
            position = read.position.clone();
            if tell.send(read).is_err() {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Up to where the next batch goes. The source decodes each time from where the slot's oldest transaction began: the
/// further back that lies, the more is read at a time.
async fn upto(source: &mut PgConnection, copy: &str, read_to: Lsn) -> Result<Lsn> {
    let unasked = || format!("cannot ask the source for replication slot `{copy}`");
    let row = sqlx::query(
        "SELECT
            (restart_lsn - '0/0'::pg_lsn)::bigint AS restart,
            (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint AS flushed
        FROM pg_replication_slots
        WHERE slot_name = $1",
    )
    .bind(copy)
    .fetch_one(source)
    .await
    .during(unasked)?;
    let restart: i64 = row.try_get("restart").during(unasked)?;
    let flushed: i64 = row.try_get("flushed").during(unasked)?;
    let stretch = ((read_to.0 - restart) / 2).clamp(STRETCH, stream::STRETCH);
    Ok(Lsn(flushed.min(read_to.0.saturating_add(stretch))))
}

/// Lands batch after batch.
struct Lander<'a> {
    warehouse: &'a Warehouse,
    target: &'a mut PgConnection,
    progress: &'a mut dyn Progress,
    captured: &'a mut Captured,
    landed: &'a AtomicI64,
}

impl Lander<'_> {
    /// Ends without a word where the reader failed: that says why.
    async fn land(mut self, mut batches: Receiver<Coming>, give_back: Sender<Vec<u8>>) -> Result<()> {
        let mut passed = None;
        while let Some(Coming { mut chunks, read }) = batches.recv().await {
            // No transaction is kept waiting for the source.
            match chunks.recv().await {
                None => passed = read.await.ok(),
                first => {
                    passed = None;
                    self.land_batch(Coming { chunks, read }, first, give_back.clone()).await?;
                }
            }
        }
        // What had no rows moves the position once, at the end.
        let Some(read) = passed else { return Ok(()) };
        let (send, none) = mpsc::channel(1);
        drop(send);
        let (tell, end) = oneshot::channel();
        let _ = tell.send(read);
        self.land_batch(Coming { chunks: none, read: end }, None, give_back).await
    }

    async fn land_batch(
        &mut self,
        coming: Coming,
        first: Option<Chunk>,
        give_back: Sender<Vec<u8>>,
    ) -> Result<()> {
        let mut transaction = Open::begin(self.warehouse, self.target).await?;
        if transaction.position.landed_to.0 != self.landed.load(Ordering::Relaxed) {
            return Err(Error::new(format!(
                "another process lands from slot `{}` too",
                self.warehouse.source.slot
            ))
            .remedy("run again"));
        }
        let copied = transaction.copy(first, coming.chunks, give_back, Care::Usual).await?;
        let Ok(read) = coming.read.await else { return Ok(()) };
        let landed_to = read.position.landed_to.0;
        transaction.commit(copied, read, self.captured, self.progress).await?;
        self.landed.store(landed_to, Ordering::Relaxed);
        Ok(())
    }
}
