//! Lands the first snapshot table by table, each in a transaction of its own and several at a time: all workers read
//! what one transaction of the source sees, which it exports. What has landed stays when the rest fails or is killed;
//! the tables that are left then join with a snapshot of their own, as those do that come into the spec later. Knows
//! no message of the stream.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::future;
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use tokio::sync::Mutex;

use super::begin::Taken;
use super::position::{self, Lock, Lsn, SourcePosition, State};
use super::preflight::{Ready, SourceTable};
use super::snapshot::{Keys, Landed, Past, Snapshot};
use super::{Captured, Point, Progress, Way, standing};
use crate::connection::{self, Database};
use crate::descriptor::{Gone, Landing};
use crate::error::{During as _, Error, Result};
use crate::land::{self, Place};
use crate::{quote, statement};

/// How many tables land at a time.
const WORKERS: usize = 4;

/// Lands the past of all tables, from the snapshot whose transaction the source's session is in, and ends that. The
/// stream goes on from the slot's start.
pub async fn land(way: &mut Way<'_>, ready: &Ready, slot: &str, start: Lsn, taken: Taken) -> Result<()> {
    let Taken { fence, fence_until, time } = taken;
    // No commit record starts right below the slot's start: the snapshot's place is its own.
    let below = Lsn(start.0 - 1);
    let place = {
        let mut target = way.target.begin().await.during(unwritten)?;
        let locked = position::read(&mut target, slot, Lock::ForUpdate).await?;
        let Some(locked) = locked.filter(|position| position.state != State::Streaming) else {
            return Err(Error::new(format!("another process has begun with slot `{slot}` meanwhile"))
                .remedy("run again"));
        };
        let position = SourcePosition {
            state: State::Streaming,
            site: ready.site.clone(),
            landed_to: start,
            epoch: locked.epoch,
            last_lsn: locked.epoch.place(below),
            last_time: time,
            fence: Some((fence, fence_until)),
        };
        position::write_streaming(&mut target, slot, &position, None).await?;
        target.commit().await.during(unwritten)?;
        Place { lsn: position.last_lsn.0, seq: 0, time: time.0 }
    };
    way.captured.position = start;

    let landings = way.warehouse.captured();
    let extra = WORKERS.min(landings.len()).saturating_sub(1);
    let mut sessions = match way.landing {
        Some(landing) if extra > 0 => sessions(&mut way.source, way.source_url, landing, extra).await?,
        _ => Vec::new(),
    };
    let told = Told { progress: &mut *way.progress, captured: &mut way.captured };
    let work = Work {
        slot,
        start,
        place,
        tables: &ready.tables,
        landings,
        next: AtomicUsize::new(0),
        failed: AtomicBool::new(false),
        told: Mutex::new(told),
    };
    let others = sessions.iter_mut().map(|(source, target)| work.land(source, target));
    let (own, others) = tokio::join!(work.land(&mut way.source, way.target), future::join_all(others));
    own?;
    for other in others {
        other?;
    }
    statement::execute(&mut way.source, "COMMIT").await?;
    way.progress.reached(Point::PastLanded)
}

/// Further sessions, those at the source within the same snapshot; as many as can be had.
async fn sessions(
    source: &mut PgConnection,
    source_url: &str,
    (database, target_url): (Database, &str),
    count: usize,
) -> Result<Vec<(PgConnection, PgConnection)>> {
    let snapshot: String = sqlx::query_scalar("SELECT pg_export_snapshot()")
        .fetch_one(source)
        .await
        .during(|| "cannot export the snapshot of the source".to_owned())?;
    let mut sessions = Vec::new();
    for _ in 0..count {
        let Ok(mut source) = super::connect(source_url).await else { break };
        let Ok(target) = connection::connect(database, target_url).await else { break };
        statement::execute(&mut source, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        let import = format!("SET TRANSACTION SNAPSHOT {}", quote::literal(&snapshot));
        statement::execute(&mut source, &import).await?;
        sessions.push((source, target));
    }
    Ok(sessions)
}

/// Who hears of it.
struct Told<'a> {
    progress: &'a mut dyn Progress,
    captured: &'a mut Captured,
}

/// What the workers share.
struct Work<'a> {
    slot: &'a str,
    start: Lsn,
    place: Place,
    tables: &'a [SourceTable],
    landings: &'a [Landing],
    /// The first table that nobody has taken up.
    next: AtomicUsize,
    /// Whether a worker has failed: the others end what they are at.
    failed: AtomicBool,
    told: Mutex<Told<'a>>,
}

impl Work<'_> {
    /// Lands table after table, as long as there are any.
    async fn land(&self, source: &mut PgConnection, target: &mut PgConnection) -> Result<()> {
        while !self.failed.load(Ordering::Relaxed) {
            let at = self.next.fetch_add(1, Ordering::Relaxed);
            let (Some(table), Some(landing)) = (self.tables.get(at), self.landings.get(at)) else { break };
            if let Err(error) = self.land_table(at, table, landing, source, target).await {
                self.failed.store(true, Ordering::Relaxed);
                return Err(error);
            }
        }
        Ok(())
    }

    async fn land_table(
        &self,
        at: usize,
        table: &SourceTable,
        landing: &Landing,
        source: &mut PgConnection,
        target: &mut PgConnection,
    ) -> Result<()> {
        let mut target = target.begin().await.during(unwritten)?;
        // Nobody streams past what the snapshot saw until all of it has landed.
        let position = position::read(&mut target, self.slot, Lock::ForShare).await?;
        if position.is_none_or(|position| position.landed_to != self.start) {
            return Err(Error::new(format!("another process goes on with slot `{}` already", self.slot))
                .remedy("run again: the tables that are left land with a snapshot of their own"));
        }
        land::late::begin(&mut target).await?;
        let (place, past) = (self.place, Past::None);
        let snapshot = Snapshot {
            table,
            landings: self.landings,
            at,
            place,
            past,
            gone: Gone::Closed,
            keys: Keys::Unique,
        };
        let Landed { rows, findings, .. } = snapshot.land(source, &mut target).await?;
        standing::write(&mut target, landing, &table.identity, Lsn(self.place.lsn), None).await?;
        let before = Place { lsn: -1, seq: 0, time: 0 };
        land::late::note(&mut target, std::slice::from_ref(landing), before).await?;

        let mut told = self.told.lock().await;
        told.progress.copied(&landing.table, rows);
        told.progress.reached(Point::PastCopied)?;
        target.commit().await.during(unwritten)?;
        told.captured.landed(&landing.table, rows);
        for finding in findings {
            told.captured.finding(finding);
        }
        if rows > 0 {
            told.progress.landed(&landing.table, rows);
        }
        told.progress.reached(Point::TableLanded)
    }
}

fn unwritten() -> String {
    "cannot land the past in one transaction of the warehouse".to_owned()
}
