//! A capture that goes on: what is asked once is asked once, then batch after batch lands as it commits, or page after
//! page as the source is polled. A round without anything new costs the source a question; the slot of an idle source
//! moves on all the same.

use std::time::{Duration, Instant};

use sqlx::postgres::PgConnection;

use super::ahead::{self, Ahead};
use super::copies::{self, Wanted};
use super::poll::{Left, Poller};
use super::position::{self, Lock, Lsn};
use super::reading::Reading;
use super::standing::Standing;
use super::stream::{self, Empty};
use super::{Captured, Progress, Way, hold, join, slot};
use crate::descriptor::{Polling, Warehouse};
use crate::error::Result;
use crate::place::Place;

/// How often a position that only others' log moves is written down.
const MOVES_EVERY: Duration = Duration::from_secs(1);

/// How often the source is asked again whether it can be captured: tables and publications change.
const ASKS_EVERY: Duration = Duration::from_secs(30);

/// How often it is asked whether snapshots are due.
const COPIES_EVERY: Duration = Duration::from_secs(1);

/// How much of the source's log is read ahead before it is looked at anything else, in bytes.
const AT_ONCE: i64 = 128 << 20;

/// A capture under way.
pub struct Follower<'a> {
    way: Way<'a>,
    by: By<'a>,
    /// When it was last asked whether snapshots are due.
    copied: Instant,
}

/// By what changes are found.
enum By<'a> {
    Log(Box<Log>),
    Polls(Box<Polls<'a>>),
    /// Snapshots alone.
    Nothing,
}

/// The source's log.
struct Log {
    reading: Reading,
    /// Up to here the source was asked for changes.
    asked_to: Lsn,
    /// Everything below it has landed.
    landed_to: Lsn,
    moved: Instant,
    asked: Instant,
    /// When the slot that stays behind was last looked at.
    held: Option<Instant>,
}

/// Its tables, asked again and again.
struct Polls<'a> {
    poller: Poller,
    polling: &'a Polling,
    /// When the last poll began, and whether it has ended.
    begun: Option<Instant>,
    left: Left,
}

/// What one look at the source brought.
#[derive(Clone, Debug)]
pub struct Round {
    /// What landed.
    pub captured: Captured,
    /// Whether more is waiting.
    pub is_full: bool,
    /// How much of the source's log has been written since what has landed.
    pub behind: u64,
}

impl<'a> Follower<'a> {
    /// Begins, or goes on where the capture before has ended. Lands the past, the first time.
    pub async fn begin(
        warehouse: &'a Warehouse,
        place: &'a Place,
        target: &'a mut PgConnection,
        progress: &'a mut dyn Progress,
    ) -> Result<Self> {
        let mut way = Way::to(warehouse, &place.source, target, progress).await?;
        way.landing = Some(place.landing());
        if let Some(polling) = &warehouse.source.polling {
            let poller = Poller::begin(&mut way).await?;
            let polls = Polls { poller, polling, begun: None, left: Left::Nothing };
            let mut follower = Self { way, by: By::Polls(Box::new(polls)), copied: Instant::now() };
            // What is there already is the past: nothing is to be applied before all of it has landed.
            copies::take(&mut follower.way, Wanted::ByWatch).await?;
            while !super::has_begun(warehouse, follower.way.target).await? {
                follower.poll().await?;
            }
            return Ok(follower);
        }
        if !warehouse.reads_log() {
            copies::take(&mut way, Wanted::ByWatch).await?;
            return Ok(Self { way, by: By::Nothing, copied: Instant::now() });
        }
        let (mut ready, goal) = super::set_out(&mut way).await?;
        if ready.tables.iter().any(|table| table.standing == Standing::Joins) {
            let mut reading = Reading::of(&place.source, &ready);
            stream::catch_up(&mut way, &mut reading, goal).await?;
            join::join(&mut way, &mut ready).await?;
        }
        super::look_at_partitions(&mut way, &mut ready).await?;
        copies::take(&mut way, Wanted::ByWatch).await?;
        let (reading, now) = (Reading::of(way.source_url, &ready), Instant::now());
        let position = position::read(way.target, &warehouse.source.slot, Lock::None).await?;
        let landed_to = position.map_or(Lsn::default(), |position| position.landed_to);
        let log = Log { reading, asked_to: Lsn::default(), landed_to, moved: now, asked: now, held: None };
        Ok(Self { way, by: By::Log(Box::new(log)), copied: now })
    }

    /// Lands the next batch, if there is one. Not to be dropped on its way, but for good.
    pub async fn next(&mut self) -> Result<Round> {
        if self.copied.elapsed() >= COPIES_EVERY {
            copies::take(&mut self.way, Wanted::ByWatch).await?;
            self.copied = Instant::now();
        }
        match &mut self.by {
            By::Log(log) => log.next(&mut self.way).await,
            By::Polls(_) => self.poll().await,
            By::Nothing => {
                let captured = std::mem::take(&mut self.way.captured);
                Ok(Round { captured, is_full: false, behind: 0 })
            }
        }
    }

    /// Lands the next page, where a poll is under way or due.
    async fn poll(&mut self) -> Result<Round> {
        let By::Polls(polls) = &mut self.by else {
            return Ok(Round { captured: Captured::default(), is_full: false, behind: 0 });
        };
        let is_due = polls.begun.is_none_or(|at| at.elapsed() >= polls.polling.every);
        if polls.left == Left::Pages || is_due {
            if polls.left == Left::Nothing {
                polls.begun = Some(Instant::now());
            }
            polls.left = polls.poller.step(&mut self.way, polls.polling).await?;
        }
        let is_full = polls.left == Left::Pages;
        Ok(Round { captured: std::mem::take(&mut self.way.captured), is_full, behind: 0 })
    }

    /// The warehouse's session, between two batches.
    pub fn target(&mut self) -> &mut PgConnection {
        self.way.target
    }
}

impl Log {
    /// Lands the next batch, if there is one.
    async fn next(&mut self, way: &mut Way<'_>) -> Result<Round> {
        if self.asked.elapsed() >= ASKS_EVERY {
            let before = super::before(way).await?.unwrap_or(super::Before::Nothing);
            let mut ready = super::ask(way, &before, super::Trace::Kept).await?;
            join::join(way, &mut ready).await?;
            super::look_at_partitions(way, &mut ready).await?;
            self.reading.is_now(&ready);
            self.asked = Instant::now();
        }
        let upto = slot::flushed(&mut way.source).await?;
        let mut is_full = false;
        if self.reads_ahead(way, upto).await? {
            is_full = self.landed_to < upto;
        } else if upto > self.asked_to {
            let empty = if self.moved.elapsed() >= MOVES_EVERY { Empty::Moves } else { Empty::Stays };
            let batch = stream::next(way, &mut self.reading, empty).await?;
            if batch.rows > 0 || empty == Empty::Moves {
                self.moved = Instant::now();
            }
            self.landed_to = batch.landed_to;
            // What stays is asked for again, until it has been moved past.
            if batch.landed_to >= upto {
                self.asked_to = upto;
            }
            is_full = batch.is_full;
        }
        let step = way.warehouse.source.keep_log.map(hold::step);
        if self.held.is_none_or(|at| step.is_some_and(|step| at.elapsed() >= step)) {
            hold::follow(way).await?;
            self.held = Some(Instant::now());
        }
        let captured = std::mem::take(&mut way.captured);
        let position = captured.position.max(self.asked_to);
        Ok(Round { captured, is_full, behind: u64::try_from(upto.0 - position.0).unwrap_or(0) })
    }

    /// Lands a good part of what waits by reading ahead, where that is much.
    async fn reads_ahead(&mut self, way: &mut Way<'_>, upto: Lsn) -> Result<bool> {
        if upto.0 - self.landed_to.0 < ahead::STRETCH {
            return Ok(false);
        }
        let goal = upto.min(Lsn(self.landed_to.0.saturating_add(AT_ONCE)));
        if ahead::catch_up(way, &mut self.reading, goal).await? == Ahead::NotNow {
            return Ok(false);
        }
        self.landed_to = way.captured.position;
        self.moved = Instant::now();
        Ok(true)
    }
}
