//! Holds the source's log back, where the spec says so: beside the slot that moves on with what has landed stands
//! another, which follows it some time behind. A warehouse that was restored from a backup no older than that, or
//! that has lost its slot, goes on from there by itself. Knows no message and no row.

use std::time::Duration;

use sqlx::Row as _;
use sqlx::postgres::PgConnection;

use super::position::SourcePosition;
use super::slot::{self, Slot};
use super::{Lsn, Progress, Way};
use crate::descriptor::Source;
use crate::error::{During as _, Result};
use crate::quote;

/// Positions that had landed at earlier times, in seconds since 1970 by the warehouse's clock.
type Held = Vec<(i64, i64)>;

/// How many steps a stretch is followed in.
const STEPS: u64 = 32;

/// The name of the slot that stays behind; names of slots have 63 letters at most.
pub fn slot_name(slot: &str) -> String {
    const SUFFIX: &str = "_held";
    let kept: String = slot.chars().take(63 - SUFFIX.len()).collect();
    kept + SUFFIX
}

/// How often the slot that stays behind may be worth a look.
pub fn step(keep: Duration) -> Duration {
    Duration::from_secs((keep.as_secs() / STEPS).max(1))
}

/// Lets the slot behind follow, or makes it; lets go of it where the spec no longer asks for it.
pub(super) async fn follow(way: &mut Way<'_>) -> Result<()> {
    let main = way.slot().to_owned();
    let behind = slot_name(&main);
    let (mut held, now, landed_to) = read(way.target, &main).await?;
    let Some(keep) = way.warehouse.source.keep_log else {
        if !held.is_empty() {
            drop_if_there(&mut way.source, &behind, way.progress).await?;
            write(way.target, &main, &Held::new()).await?;
        }
        return Ok(());
    };
    let (keep, step) = (seconds(keep), seconds(step(keep)));
    let found = slot::find(&mut way.source, &behind).await?;
    if found.is_some() && held.last().is_some_and(|(at, _)| now - at < step) {
        return Ok(());
    }
    match found {
        Some(found) if !found.is_lost() => {}
        lost => {
            if lost.is_some() {
                way.captured.finding(format!(
                    "replication slot `{behind}`, which holds the log back, was invalidated: it begins anew; raise \
                     `max_slot_wal_keep_size` at the source, or keep less"
                ));
                drop_if_there(&mut way.source, &behind, way.progress).await?;
            }
            held.clear();
            slot::copy(&mut way.source, &main, &behind).await?;
        }
    }
    held.push((now, landed_to));
    if let Some(last) = held.iter().rposition(|(at, _)| now - at >= keep) {
        let to = Lsn(held[last].1);
        slot::advance(&mut way.source, &behind, to).await?;
        held.drain(..=last);
    }
    write(way.target, &main, &held).await
}

/// Puts the slot back to where the log is still held, if what has landed goes on from there; the slot then is as if
/// nothing had been read since.
pub async fn heal(
    source: &mut PgConnection,
    read: &Source,
    position: &SourcePosition,
    found: Option<&Slot>,
    progress: &mut dyn Progress,
) -> Result<bool> {
    let name = read.slot.as_str();
    let behind = slot_name(name);
    let Some(held) = slot::find(source, &behind).await? else {
        return Ok(false);
    };
    let is_ours = found.is_none_or(|found| found.check_owner(name, &position.site).is_ok());
    if !is_ours || held.check(&behind, position, read.plugin).is_err() {
        return Ok(false);
    }
    drop_if_there(source, name, progress).await?;
    slot::copy(source, &behind, name).await?;
    progress.note(&format!(
        "slot `{name}` was lost, or past what this warehouse has: going on from where `{behind}` holds the log"
    ));
    if found.is_some_and(|found| found.failover) {
        // A copy does not have it, and no function gives it.
        progress.note(&format!(
            "standbys of the source keep slot `{name}` no longer: ALTER_REPLICATION_SLOT {} (FAILOVER); says so again, \
             in psql with replication=database",
            quote::identifier(name)
        ));
    }
    Ok(true)
}

/// Drops a slot, if there is one of that name, as soon as nobody reads it.
pub async fn drop_if_there(source: &mut PgConnection, name: &str, progress: &mut dyn Progress) -> Result<()> {
    let mut busy = slot::Busy::default();
    while slot::find(source, name).await?.is_some() {
        match slot::drop(source, name).await {
            Ok(()) => return Ok(()),
            Err(error) => busy.wait(error, progress).await?,
        }
    }
    Ok(())
}

fn seconds(stretch: Duration) -> i64 {
    i64::try_from(stretch.as_secs()).unwrap_or(i64::MAX)
}

async fn read(target: &mut PgConnection, slot: &str) -> Result<(Held, i64, i64)> {
    let unread = || "cannot read `medallion.source_position` of the warehouse".to_owned();
    let row = sqlx::query(
        "SELECT held::text AS held, extract(epoch FROM clock_timestamp())::bigint AS now,
            coalesce(landed_to, 0) AS landed_to
        FROM medallion.source_position
        WHERE slot = $1",
    )
    .bind(slot)
    .fetch_one(target)
    .await
    .during(unread)?;
    let held: String = row.try_get("held").during(unread)?;
    let held = serde_json::from_str(&held).during(unread)?;
    Ok((held, row.try_get("now").during(unread)?, row.try_get("landed_to").during(unread)?))
}

async fn write(target: &mut PgConnection, slot: &str, held: &Held) -> Result<()> {
    let unwritten = || "cannot write `medallion.source_position` of the warehouse".to_owned();
    let text = serde_json::to_string(held).during(unwritten)?;
    sqlx::query("UPDATE medallion.source_position SET held = $2::jsonb WHERE slot = $1")
        .bind(slot)
        .bind(text)
        .execute(target)
        .await
        .map(drop)
        .during(unwritten)
}
