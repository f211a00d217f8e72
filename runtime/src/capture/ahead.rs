//! Reads on while what was read lands, where much is waiting. The slot itself cannot go on before what it gave has
//! landed; a copy of it can, one that lives no longer than its session and that nobody misses. So the source decodes
//! what comes next while the warehouse takes in what came before, piece by piece, in two sessions where it may: one
//! copies while the other does, and they commit in turn. A kill leaves what it leaves without: whole transactions in
//! their order, and a slot that stands below what has landed.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use sqlx::postgres::PgConnection;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::{Mutex, oneshot};

use super::decoder::Care;
use super::feed::{Consuming, Feed, SlotFeed, Taker};
use super::pgoutput::Message;
use super::position::{self, Lock, Lsn, SourcePosition, State};
use super::reading::{self, Coming, Outlet, Pieces, Read, Reading, WayOn};
use super::stream::{self, Copied, Open};
use super::{Captured, Progress, Way, slot};
use crate::connection;
use crate::descriptor::Warehouse;
use crate::error::{During as _, Error, Result};
use crate::land;

/// How much of the source's log a batch has at least, in bytes: less than that is landed at once.
pub(super) const STRETCH: i64 = 32 << 20;

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

    let mut beside = None;
    if goal.0 - position.landed_to.0 >= 2 * STRETCH {
        beside = self::beside(way.source_url, name).await;
    }
    let mut other = match way.landing {
        Some((database, url)) if !reading.alone => connection::connect(database, url).await.ok(),
        _ => None,
    };
    let landed = AtomicI64::new(position.landed_to.0);
    let (send, batches) = mpsc::channel(1);
    let (way_on, give_back) = WayOn::new();
    let (first, turn) = oneshot::channel();
    let begins = Turn {
        landed: position.landed_to,
        passed: None,
        captured: &mut way.captured,
        progress: &mut *way.progress,
    };
    let _ = first.send(begins);
    let lander = Lander {
        warehouse,
        queue: Mutex::new(Queue { batches, turn }),
        give_back,
        landed: &landed,
        is_one_of_two: other.is_some(),
        needs_to_be_alone: AtomicBool::new(false),
    };
    let (first, turn) = oneshot::channel();
    let missed = reading.missed().clone();
    let read_to = position.landed_to;
    let _ = first.send(Relay { reading: &mut *reading, way_on, position });
    let plan = Plan { read_to, forgotten: read_to, turn };
    let reader = Reader { warehouse, goal, landed: &landed, plan: Mutex::new(plan) };
    let read = async {
        match &mut beside {
            None => reader.read(&mut way.source, &copy, send).await,
            Some((source, beside)) => {
                let both = tokio::join!(
                    reader.read(&mut way.source, &copy, send.clone()),
                    reader.read(source, beside, send)
                );
                both.0.and(both.1)
            }
        }
    };
    // All end by themselves where one fails: the channels between them close.
    let (read, landed) = tokio::join!(read, async {
        match &mut other {
            None => lander.land(way.target).await,
            Some(other) => {
                let both = tokio::join!(lander.land(way.target), lander.land(other));
                both.0.and(both.1)
            }
        }
    });
    let needs_to_be_alone = landed.is_ok() && lander.needs_to_be_alone.load(Ordering::Relaxed);
    let ended = match landed.and(read) {
        Ok(()) => lander.end(way.target).await,
        Err(error) => Err(error),
    };
    // What has been copied and not committed goes with its session.
    drop((reader, lander, other));
    if needs_to_be_alone || ended.is_err() {
        reading.again(missed);
    }
    if needs_to_be_alone {
        reading.alone = true;
        let_go(&mut way.source, &copy, beside).await?;
        return Box::pin(catch_up(way, reading, goal)).await;
    }
    match ended {
        Ok(()) => {}
        Err(error) if land::is_of_data(&error) => {
            let_go(&mut way.source, &copy, beside).await?;
            return Ok(Ahead::NotNow);
        }
        Err(error) => return Err(error),
    }
    let_go(&mut way.source, &copy, beside).await?;
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

/// Another session of the source with a copy of its own; none where there is no room for it.
async fn beside(source_url: &str, name: &str) -> Option<(PgConnection, String)> {
    let mut source = super::connect(source_url).await.ok()?;
    let copy = begin(&mut source, name).await.ok()?;
    Some((source, copy))
}

/// Drops the copies: a session's end would, a moment later.
async fn let_go(source: &mut PgConnection, copy: &str, beside: Option<(PgConnection, String)>) -> Result<()> {
    if let Some((mut source, copy)) = beside {
        slot::drop(&mut source, &copy).await?;
    }
    slot::drop(source, copy).await
}

/// Reads stretch after stretch of the log, in one session of the source or in two at once: one decodes while what the
/// other has decoded is landing.
struct Reader<'a> {
    warehouse: &'a Warehouse,
    goal: Lsn,
    landed: &'a AtomicI64,
    plan: Mutex<Plan<'a>>,
}

/// Who reads what.
struct Plan<'a> {
    /// Up to here the stretches have been taken up.
    read_to: Lsn,
    /// Up to here the source was allowed to forget.
    forgotten: Lsn,
    /// Comes when those before have been read.
    turn: oneshot::Receiver<Relay<'a>>,
}

/// What goes from one stretch to the next.
struct Relay<'a> {
    reading: &'a mut Reading,
    way_on: WayOn,
    position: SourcePosition,
}

/// A stretch of the log.
struct Stretch<'a> {
    from: Lsn,
    upto: Lsn,
    turn: oneshot::Receiver<Relay<'a>>,
    next: oneshot::Sender<Relay<'a>>,
}

impl<'a> Reader<'a> {
    /// Ends without a word where the lander or the other session failed: that says why.
    async fn read(&self, source: &mut PgConnection, copy: &str, batches: Sender<Coming>) -> Result<()> {
        while let Some(Stretch { from, upto, turn, next }) = self.take_up(source, copy).await? {
            slot::pass_over(source, copy, from).await?;
            let mut feed =
                SlotFeed { source, slot: copy, warehouse: self.warehouse, reading: Consuming::AllRead };
            let mut opened = feed.open(upto, reading::ALL).await?;
            let read = self.hand_on(&mut opened, upto, turn, &batches).await;
            if let Ok(Some(relay)) = read {
                // Nobody waits for it behind the last one.
                let _ = next.send(relay);
                continue;
            }
            // The session is asked for more only when it has given all of it; what ends it comes up then as well.
            let _ = opened.read(upto, reading::ALL, &mut Nobody).await;
            return read.map(drop);
        }
        Ok(())
    }

    /// Hands on what is ready, in its turn; none where nobody takes it any more.
    async fn hand_on(
        &self,
        opened: &mut impl Feed,
        upto: Lsn,
        turn: oneshot::Receiver<Relay<'a>>,
        batches: &Sender<Coming>,
    ) -> Result<Option<Relay<'a>>> {
        let Ok(Relay { reading, mut way_on, position }) = turn.await else { return Ok(None) };
        let Some(pieces) = Pieces::begin(batches.clone()).await else { return Ok(None) };
        let mut outlet = Outlet::Pieces(pieces);
        let (most, care) = (reading::ALL, Care::Usual);
        let batch = reading::Batch { position, upto, most, care, outlet: &mut outlet };
        let read = reading.batch(opened, self.warehouse.captured(), batch, &mut way_on).await?;
        let position = read.position.clone();
        if let Outlet::Pieces(pieces) = outlet {
            pieces.end(read);
        }
        Ok(Some(Relay { reading, way_on, position }))
    }

    /// The next stretch; none where all have been taken up.
    async fn take_up(&self, source: &mut PgConnection, copy: &str) -> Result<Option<Stretch<'a>>> {
        let mut plan = self.plan.lock().await;
        let from = plan.read_to;
        if from >= self.goal {
            return Ok(None);
        }
        let landed = Lsn(self.landed.load(Ordering::Relaxed));
        if landed.0 - plan.forgotten.0 >= FORGETS {
            slot::advance(source, &self.warehouse.source.slot, landed).await?;
            plan.forgotten = landed;
        }
        let upto = upto(source, copy, from, self.goal).await?;
        let (next, after) = oneshot::channel();
        plan.read_to = upto;
        Ok(Some(Stretch { from, upto, turn: std::mem::replace(&mut plan.turn, after), next }))
    }
}

/// Takes what is not wanted any more.
struct Nobody;

impl Taker for Nobody {
    async fn take(&mut self, _: Message<'_>) -> Result<()> {
        Ok(())
    }
}

/// Up to where a stretch goes. The source decodes each time from where the slot's oldest transaction began, so that
/// each further stretch costs it what lies before once more: what waits is read in halves as long as that is little,
/// and then as a whole.
async fn upto(source: &mut PgConnection, copy: &str, from: Lsn, goal: Lsn) -> Result<Lsn> {
    let restart: i64 = sqlx::query_scalar(
        "SELECT (restart_lsn - '0/0'::pg_lsn)::bigint FROM pg_replication_slots WHERE slot_name = $1",
    )
    .bind(copy)
    .fetch_one(source)
    .await
    .during(|| format!("cannot ask the source for replication slot `{copy}`"))?;
    let (again, waiting) = (from.0 - restart, goal.0 - from.0);
    let stretch = if again < waiting / 3 { waiting / 2 } else { waiting };
    Ok(Lsn(goal.0.min(from.0 + stretch.clamp(STRETCH, stream::STRETCH))))
}

/// What whoever lands next goes on from.
struct Turn<'a> {
    /// Everything below it has landed.
    landed: Lsn,
    /// What was read since and had no rows.
    passed: Option<Read>,
    captured: &'a mut Captured,
    progress: &'a mut dyn Progress,
}

impl Turn<'_> {
    /// What was read had no rows.
    fn passes(mut self, read: Read) -> Self {
        self.passed = Some(match self.passed.take() {
            Some(before) => read.after(before),
            None => read,
        });
        self
    }
}

/// The pieces, in their order.
struct Queue<'a> {
    batches: Receiver<Coming>,
    /// Comes when all that were taken up have landed.
    turn: oneshot::Receiver<Turn<'a>>,
}

/// Lands piece after piece, in one session or in two at once.
struct Lander<'a> {
    warehouse: &'a Warehouse,
    queue: Mutex<Queue<'a>>,
    give_back: Sender<Vec<u8>>,
    landed: &'a AtomicI64,
    is_one_of_two: bool,
    /// Whether a row came that takes values from the version before.
    needs_to_be_alone: AtomicBool,
}

impl<'a> Lander<'a> {
    /// Ends without a word where the reader or the other session failed: that says why. Whoever ends takes nothing
    /// more, so that nobody waits for it.
    async fn land(&self, target: &mut PgConnection) -> Result<()> {
        let ended = self.land_all(target).await;
        let mut queue = self.queue.lock().await;
        queue.batches.close();
        while queue.batches.try_recv().is_ok() {}
        ended
    }

    async fn land_all(&self, target: &mut PgConnection) -> Result<()> {
        while let Some((Coming { mut chunks, read }, turn, next)) = self.take_up().await {
            // No transaction is kept waiting for the source.
            let Some(first) = chunks.recv().await else {
                let (Ok(read), Ok(turn)) = (read.await, turn.await) else { return Ok(()) };
                let _ = next.send(turn.passes(read));
                continue;
            };
            let mut open = Open::begin_beside(self.warehouse, target).await?;
            let copied = open.copy(Some(first), chunks, self.give_back.clone()).await;
            let copied = copied.map_err(|error| self.explained(error))?;
            if self.is_one_of_two && copied.is_any_staged() {
                self.needs_to_be_alone.store(true, Ordering::Relaxed);
                return Ok(());
            }
            let (Ok(read), Ok(turn)) = (read.await, turn.await) else { return Ok(()) };
            let _ = next.send(self.commit(open, copied, read, turn).await?);
        }
        Ok(())
    }

    /// The next piece, when it is its turn, and whom to tell then.
    async fn take_up(&self) -> Option<(Coming, oneshot::Receiver<Turn<'a>>, oneshot::Sender<Turn<'a>>)> {
        let mut queue = self.queue.lock().await;
        let coming = queue.batches.recv().await?;
        let (next, after) = oneshot::channel();
        Some((coming, std::mem::replace(&mut queue.turn, after), next))
    }

    async fn commit(
        &self,
        mut open: Open<'_>,
        mut copied: Copied,
        read: Read,
        turn: Turn<'a>,
    ) -> Result<Turn<'a>> {
        if open.stand().await? != turn.landed {
            return Err(self.another());
        }
        open.finish(&mut copied, Care::Usual).await?;
        let landed = read.position.landed_to;
        let read = match turn.passed {
            Some(passed) => read.after(passed),
            None => read,
        };
        open.commit(copied, read, turn.captured, turn.progress).await?;
        self.landed.store(landed.0, Ordering::Relaxed);
        Ok(Turn { landed, passed: None, ..turn })
    }

    /// What had no rows moves the position once, at the end.
    async fn end(&self, target: &mut PgConnection) -> Result<()> {
        let mut queue = self.queue.lock().await;
        let Ok(mut turn) = queue.turn.try_recv() else { return Ok(()) };
        let Some(read) = turn.passed.take() else { return Ok(()) };
        let mut open = Open::begin_beside(self.warehouse, target).await?;
        let (nothing, none) = WayOn::of_a_batch();
        drop(nothing);
        let copied = open.copy(None, none, self.give_back.clone()).await?;
        self.commit(open, copied, read, turn).await.map(drop)
    }

    /// Where a change is there already, somebody else has landed it.
    fn explained(&self, error: Error) -> Error {
        match error.sqlstate().as_deref() {
            Some("23505") => self.another(),
            _ => error,
        }
    }

    fn another(&self) -> Error {
        Error::new(format!("another process lands from slot `{}` too", self.warehouse.source.slot))
            .remedy("run again")
    }
}
