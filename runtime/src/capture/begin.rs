//! The first time, and again where the stream has broken off: the slot, then the past, table by table (`past`); where
//! tables have one already, in one warehouse transaction: recorded log and snapshot, or what differs from what landed
//! before, of which a kill leaves either nothing or all. Knows no message of the stream.

use std::time::{Duration, Instant};

use sqlx::Connection as _;
use sqlx::Row as _;
use sqlx::postgres::PgConnection;

use super::position::{self, CLOCK_AHEAD, Fence, Former, Lock, Lsn, SourcePosition, State, SystemTime};
use super::preflight::{Ready, Site, SourceTable};
use super::recorded_log;
use super::slot::{self, Slot};
use super::snapshot::{Keys, Landed, Past, Snapshot};
use super::standing;
use super::{Point, Progress, Way, hold};
use crate::descriptor::Gone;
use crate::error::{During as _, Error, Result};
use crate::land::{self, Place};
use crate::{quote, statement};

/// What somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A beginning, or the end of one that was left half done.
    Beginning,
    /// To go on above all that landed, whatever slot and source there were before.
    Resnapshot,
}

/// Lands the past and writes down where the stream goes on, unless another process has just done so.
pub async fn begin(way: &mut Way<'_>, ready: &Ready, wanted: Wanted) -> Result<()> {
    refuse_in_transaction(way.target).await?;
    let slot = way.slot().to_owned();
    lock(way.target, &slot).await?;
    let begun = begin_alone(way, ready, &slot, wanted).await;
    let unlocked = unlock(way.target, &slot).await;
    begun.and(unlocked)
}

async fn begin_alone(way: &mut Way<'_>, ready: &Ready, slot: &str, wanted: Wanted) -> Result<()> {
    let before = position::read(way.target, slot, Lock::None).await?;
    let state = match (wanted, before.as_ref().map(|position| position.state)) {
        (Wanted::Beginning, Some(State::Streaming)) => return Ok(()),
        (Wanted::Beginning, None | Some(State::Creating)) => State::Creating,
        (Wanted::Resnapshot, _) | (_, Some(State::Resnapshotting)) => State::Resnapshotting,
    };
    let past = match state {
        State::Resnapshotting => Past::Landed,
        State::Creating | State::Streaming => {
            refuse_rows(way).await?;
            Past::None
        }
    };
    let found = refuse_others(way, before.as_ref(), &ready.site).await?;
    // Told before anything is done: whoever comes next finishes it.
    position::announce(way.target, slot, state, &ready.site).await?;
    let found = found.map(|found| found.failover);
    let failover = position::keep_failover(way.target, slot, found).await?;
    way.progress.reached(Point::SlotAnnounced)?;
    // What is held back belongs to the stream before.
    for name in [slot, &hold::slot_name(slot)] {
        hold::drop_if_there(&mut way.source, name, way.progress).await?;
    }
    let plugin = way.warehouse.source.plugin;
    let start = slot::create(&mut way.source, slot, plugin, failover, way.progress).await?;
    slot::settle(&mut way.source, way.progress).await?;
    way.progress.reached(Point::SlotCreated)?;
    land_past(way, ready, slot, start, past).await
}

/// Refuses to take the place of slots that are not this warehouse's own. Gives the one of the first name.
pub async fn refuse_others(
    way: &mut Way<'_>,
    before: Option<&SourcePosition>,
    site: &Site,
) -> Result<Option<Slot>> {
    let slot = way.slot().to_owned();
    let former = position::former(way.target, &slot).await?;
    let found = slot::find(&mut way.source, &slot).await?;
    if let Some(found) = &found {
        refuse_other(&slot, found, before, &former, site)?;
    }
    let behind = hold::slot_name(&slot);
    if let Some(behind_it) = slot::find(&mut way.source, &behind).await? {
        refuse_other(&behind, &behind_it, before, &former, site)?;
    }
    Ok(found)
}

/// Refuses a slot that this warehouse does not have from a start that did not come to its end, a stream that broke
/// off, or the time when it followed this source before.
pub fn refuse_other(
    name: &str,
    found: &Slot,
    before: Option<&SourcePosition>,
    former: &[Former],
    site: &Site,
) -> Result<()> {
    let last = before.map(Former::of);
    if former.iter().chain(&last).any(|former| found.is_left_by(former, site)) {
        return Ok(());
    }
    if before.is_some_and(|before| before.site.is_same_database(site)) {
        return found.check_owner(name, site);
    }
    let was_here = |former: &Former| former.system_identifier == site.system_identifier;
    Err(match former.iter().chain(&last).any(was_here) {
        true => another_since(name),
        false => not_ours(name),
    })
}

/// Refuses a slot that this warehouse has not made, before anything is changed at the source.
pub async fn refuse_foreign(way: &mut Way<'_>) -> Result<()> {
    let slot = way.slot().to_owned();
    match slot::find(&mut way.source, &slot).await? {
        Some(_) => Err(not_ours(&slot)),
        None => Ok(()),
    }
}

fn not_ours(slot: &str) -> Error {
    Error::new(format!("replication slot `{slot}` exists at the source, and this warehouse has not made it"))
        .remedy(not_needed(slot))
}

fn another_since(slot: &str) -> Error {
    Error::new(format!(
        "replication slot `{slot}` is not as this warehouse left it at the source: others have made or read it since"
    ))
    .remedy(not_needed(slot))
}

fn not_needed(slot: &str) -> String {
    format!(
        "name another slot in the spec; or, if nobody needs it: SELECT pg_drop_replication_slot({});",
        quote::literal(slot)
    )
}

/// One transaction at the source sees the recorded log and every table as of one moment; one transaction at
/// the warehouse takes it all.
async fn land_past(way: &mut Way<'_>, ready: &Ready, slot: &str, start: Lsn, past: Past) -> Result<()> {
    let taken = take_snapshot(way, &ready.tables.iter().collect::<Vec<_>>()).await?;
    way.progress.reached(Point::SnapshotTaken)?;
    if past == Past::None && !recorded_log::holds_anything(&mut way.source, way.warehouse).await? {
        return super::past::land(way, ready, slot, start, taken).await;
    }
    let Taken { fence, fence_until, time: taken_at } = taken;
    let source = &mut way.source;

    let unwritten = || "cannot land the past in one transaction of the warehouse".to_owned();
    let mut target = way.target.begin().await.during(unwritten)?;
    let locked = position::read(&mut target, slot, Lock::ForUpdate).await?;
    let Some(locked) = locked.filter(|position| position.state != State::Streaming) else {
        return Err(Error::new(format!("another process has landed the past of slot `{slot}` meanwhile"))
            .remedy("run again"));
    };

    land::late::begin(&mut target).await?;

    // No commit record starts right below the slot's start: the snapshot's place is its own.
    let below = Lsn(start.0 - 1);
    let landings = &way.warehouse.landings;
    let (last_lsn, last_time) = position::landed(&mut target, landings).await?;
    let (epoch, recorded, time, noted_from) = match past {
        Past::None => {
            let recorded = recorded_log::land(
                source,
                &mut target,
                way.warehouse,
                below,
                &mut way.captured,
                way.progress,
            )
            .await?;
            let time = recorded.map_or(taken_at, |recorded| taken_at.max(recorded.time.next()));
            (locked.epoch, recorded, time, Place { lsn: -1, seq: 0, time: 0 })
        }
        Past::Landed => {
            let epoch = locked.epoch_at(last_lsn, below);
            let from = Place { lsn: last_lsn.0, seq: 0, time: last_time.0 };
            (epoch, None, taken_at.max(last_time.next()), from)
        }
    };
    let place = epoch.place(below);
    for (at, (table, landing)) in ready.tables.iter().zip(landings).enumerate() {
        let past = match way.captured.landed.get(&landing.table) {
            Some(_) => Past::Landed,
            None => past,
        };
        let place = Place { lsn: place.0, seq: 0, time: time.0 };
        let snapshot = Snapshot { table, landings, at, place, past, gone: Gone::Closed, keys: Keys::Unique };
        let Landed { rows, findings, .. } = snapshot.land(source, &mut target).await?;
        standing::write(&mut target, landing, &table.identity, Lsn(place.lsn), None).await?;
        for finding in findings {
            way.captured.finding(finding);
        }
        way.captured.landed(&landing.table, rows);
        way.progress.copied(&landing.table, rows);
    }

    let position = SourcePosition {
        state: State::Streaming,
        site: ready.site.clone(),
        landed_to: start,
        epoch,
        last_lsn: place,
        last_time: time,
        fence: Some((fence, fence_until)),
    };
    let recorded = recorded.map(|recorded| recorded.position.0);
    position::write_streaming(&mut target, slot, &position, recorded).await?;
    land::late::note(&mut target, landings, noted_from).await?;
    way.progress.reached(Point::PastCopied)?;
    target.commit().await.during(unwritten)?;
    statement::execute(source, "COMMIT").await?;
    way.captured.position = start;

    let landed: Vec<u64> = way
        .warehouse
        .landings
        .iter()
        .map(|landing| way.captured.landed.get(&landing.table).copied().unwrap_or(0))
        .collect();
    way.tell(&landed);
    way.progress.reached(Point::PastLanded)
}

/// A moment of the source.
pub struct Taken {
    /// Which transactions were over.
    pub fence: Fence,
    /// The position below which that matters.
    pub fence_until: Lsn,
    /// When it was, as far as the source's clock is believed.
    pub time: SystemTime,
}

/// Begins the transaction that reads the past.
pub async fn take_snapshot(way: &mut Way<'_>, tables: &[&SourceTable]) -> Result<Taken> {
    let failed = || "cannot take a snapshot of the source".to_owned();
    let source = &mut way.source;
    begin_snapshot(source, tables, way.progress).await?;
    let fence = slot::snapshot(source).await?;
    let sql = format!("SELECT {}", SystemTime::of_sql("now()"));
    let now = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&mut *source).await.during(failed)?;
    let mut time = SystemTime(now);
    if let Some(capped) = time.capped() {
        time = capped;
        way.captured.finding(CLOCK_AHEAD.to_owned());
    }
    Ok(Taken { fence, fence_until: slot::inserted(source).await?, time })
}

/// Begins the transaction that reads the past, with the tables held against TRUNCATE: a table that is
/// truncated after the snapshot and before it is read would look empty. Waits without standing in a queue,
/// so that nobody at the source can get into a deadlock with us.
pub async fn begin_snapshot(
    source: &mut PgConnection,
    tables: &[&SourceTable],
    progress: &mut dyn Progress,
) -> Result<()> {
    const LOCK_NOT_AVAILABLE: &str = "55P03";
    const PATIENCE: Duration = Duration::from_secs(2);
    let tables: Vec<String> = tables.iter().map(|table| table.table_sql()).collect();
    let lock = match tables.as_slice() {
        [] => "SELECT".to_owned(),
        tables => format!("LOCK TABLE {} IN ACCESS SHARE MODE NOWAIT", tables.join(", ")),
    };
    let started = Instant::now();
    let mut told = false;
    loop {
        statement::execute(source, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        match statement::execute(source, &lock).await {
            Err(error) if error.sqlstate().as_deref() == Some(LOCK_NOT_AVAILABLE) => {}
            outcome => return outcome.map(drop),
        }
        statement::execute(source, "ROLLBACK").await?;
        if !told && started.elapsed() > PATIENCE {
            told = true;
            progress.note("waiting for tables at the source that others have locked");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Rows without a position that they belong to: what follows them cannot be known.
async fn refuse_rows(way: &mut Way<'_>) -> Result<()> {
    for landing in way.warehouse.captured() {
        let sql = format!("SELECT EXISTS (SELECT FROM {})", quote::name(&landing.table));
        let row = sqlx::query(sqlx::AssertSqlSafe(sql))
            .fetch_one(&mut *way.target)
            .await
            .during(|| format!("cannot read `{}`", landing.table))?;
        if row.try_get::<bool, _>(0).during(|| format!("cannot read `{}`", landing.table))? {
            return Err(Error::new(format!(
                "`{}` holds changes, but not how far slot `{}` had come with them",
                landing.table,
                way.slot()
            ))
            .remedy(super::RESNAPSHOT));
        }
    }
    Ok(())
}

/// A slot waits for every transaction that writes: one of our own, on the same server, would be waited for
/// for ever.
async fn refuse_in_transaction(target: &mut PgConnection) -> Result<()> {
    let writing: bool = sqlx::query_scalar("SELECT pg_current_xact_id_if_assigned() IS NOT NULL")
        .fetch_one(target)
        .await
        .during(|| "cannot ask the warehouse for its transaction".to_owned())?;
    if writing {
        return Err(Error::new("a capture cannot begin within a transaction of the warehouse"));
    }
    Ok(())
}

/// Two processes that begin at once: the second waits, and then finds it done. Held by the session, because
/// a row's lock would need a transaction, and the slot would wait for that.
async fn lock(target: &mut PgConnection, slot: &str) -> Result<()> {
    sqlx::query("SELECT pg_advisory_lock(hashtextextended('medallion.source_position ' || $1, 0))")
        .bind(slot)
        .execute(target)
        .await
        .during(|| format!("cannot lock slot `{slot}` in the warehouse"))?;
    Ok(())
}

async fn unlock(target: &mut PgConnection, slot: &str) -> Result<()> {
    sqlx::query("SELECT pg_advisory_unlock(hashtextextended('medallion.source_position ' || $1, 0))")
        .bind(slot)
        .execute(target)
        .await
        .during(|| format!("cannot unlock slot `{slot}` in the warehouse"))?;
    Ok(())
}
