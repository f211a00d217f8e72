//! Tables that join what is captured already: added to the spec later, made anew under their name, or published
//! anew. Each has a snapshot of its own, of which what differs lands above all that landed, while the others
//! stream on; and a fence of its own, for what the snapshot saw comes by the stream too. Knows no message of it.

use std::time::{Duration, Instant};

use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

use super::begin::{self, Taken};
use super::position::{self, Lock, Lsn, State};
use super::preflight::{Ready, SourceTable};
use super::resnapshot::Differences;
use super::snapshot::{Keys, Landed, Past, Snapshot};
use super::standing::{self, Brings, Standing};
use super::{Point, Way};
use crate::descriptor::Gone;
use crate::error::{During as _, Error, Result};
use crate::land::{self, Place};
use crate::progress::count;
use crate::{quote, statement};

/// How long writers of a table may take to end their transactions. The others are not kept waiting any longer: it
/// is tried again the next time.
const PATIENCE: Duration = Duration::from_secs(5);

/// Takes in the tables that join, as far as nobody keeps them from it; says whether any did. What is ready then
/// says so.
pub async fn join(way: &mut Way<'_>, ready: &mut Ready) -> Result<bool> {
    let mut joining = Vec::new();
    for (at, table) in ready.tables.iter().enumerate() {
        if !matches!(table.standing, Standing::Joins | Standing::Lacks | Standing::Gains) {
            continue;
        }
        if outwait_writers(&mut way.source, table).await? {
            joining.push(at);
        } else {
            let waits = match table.standing {
                Standing::Lacks => "has lost partitions, whose rows are not deleted yet",
                Standing::Gains => "has got partitions, whose rows have not landed yet",
                _ => "is not captured yet",
            };
            way.captured.finding(format!(
                "`{}` {waits}: a transaction that has written to it stays open; it is tried again with the next run",
                table.name
            ));
        }
    }
    if joining.is_empty() {
        return Ok(false);
    }
    let tables: Vec<&SourceTable> = joining.iter().filter_map(|at| ready.tables.get(*at)).collect();
    let taken = begin::take_snapshot(way, &tables).await?;
    way.progress.reached(Point::SnapshotTaken)?;
    land(way, ready, &joining, &taken).await?;
    statement::execute(&mut way.source, "COMMIT").await?;
    way.progress.reached(Point::PastLanded)?;
    for at in joining {
        if let Some(table) = ready.tables.get_mut(at) {
            table.standing = Standing::Captured;
            let fence = Some((taken.fence.clone(), taken.fence_until));
            table.brings = Some(Brings { oid: table.identity.oid, fence });
        }
    }
    Ok(true)
}

async fn land(way: &mut Way<'_>, ready: &Ready, joining: &[usize], taken: &Taken) -> Result<()> {
    let failed = || "cannot land a snapshot in one transaction of the warehouse".to_owned();
    let slot = way.warehouse.source.slot.as_str();
    let landings = way.warehouse.captured();
    let mut target = way.target.begin().await.during(failed)?;
    let mut position = position::read(&mut target, slot, Lock::ForUpdate)
        .await?
        .filter(|position| position.state == State::Streaming)
        .ok_or_else(|| Error::new(format!("nothing has landed from slot `{slot}`")).remedy("run again"))?;
    land::late::begin(&mut target).await?;

    // Nothing that still comes commits below what has landed.
    let below = Lsn(position.landed_to.0 - 1);
    let (last_lsn, last_time) = position::landed(&mut target, &way.warehouse.landings).await?;
    position.epoch = position.epoch.above(last_lsn, below);
    position.last_lsn = position.epoch.place(below);
    position.last_time = taken.time.max(last_time.next());
    let place = Place { lsn: position.last_lsn.0, seq: 0, time: position.last_time.0 };
    let fence = (taken.fence.clone(), taken.fence_until);
    let known = standing::known(&mut target).await?;

    let mut landed = vec![0; landings.len()];
    let mut findings = Vec::new();
    for at in joining {
        let (Some(table), Some(landing)) = (ready.tables.get(*at), landings.get(*at)) else { continue };
        let snapshot = Snapshot {
            table,
            landings,
            at: *at,
            place,
            past: Past::Landed,
            gone: if table.standing == Standing::Gains { Gone::Kept } else { Gone::Closed },
            keys: Keys::Unique,
        };
        let Landed { rows, findings: quarantined, .. } = snapshot.land(&mut way.source, &mut target).await?;
        standing::write(&mut target, landing, &table.identity, position.last_lsn, Some(&fence)).await?;
        let differences = Differences::at(&mut target, landing, position.last_lsn).await?;
        findings.push(match known.get(&landing.table.to_string()) {
            None => Said::Note(format!(
                "`{}` is captured from now on: its snapshot has {}",
                table.name,
                count(rows, "row")
            )),
            Some(known) => Said::Finding(again(table, known.identity.oid, &differences)),
        });
        findings.extend(quarantined.into_iter().map(Said::Finding));
        landed[*at] = rows;
        way.progress.copied(&landing.table, rows);
    }
    position::write_joined(&mut target, slot, &position).await?;
    let before = Place { lsn: last_lsn.0, seq: 0, time: last_time.0 };
    land::late::note(&mut target, landings, before).await?;
    way.progress.reached(Point::PastCopied)?;
    target.commit().await.during(failed)?;
    for said in findings {
        match said {
            Said::Note(note) => way.progress.note(&note),
            Said::Finding(finding) => way.captured.finding(finding),
        }
    }
    for (landing, rows) in landings.iter().zip(&landed) {
        way.captured.landed(&landing.table, *rows);
    }
    way.tell(&landed);
    Ok(())
}

/// How something is told when it is there to stay.
enum Said {
    Note(String),
    Finding(String),
}

/// What happened to a table that was captured before.
fn again(table: &SourceTable, oid: i64, differences: &Differences) -> String {
    let name = &table.name;
    let Differences { new, changed, gone } = differences;
    let what = match table.standing {
        Standing::Lacks => {
            format!("partitions of `{name}` were truncated, detached or dropped: what it lacks by now")
        }
        Standing::Gains => format!("partitions of `{name}` were attached: what it has with them"),
        _ if table.identity.oid == oid => {
            format!("what may have been left out of `{name}` while its name or its publication was another")
        }
        _ => format!("`{name}` was made anew at the source: what differs from what it was"),
    };
    format!("{what} has landed as one step: {new} new, {changed} changed, {gone} gone")
}

/// Waits until those who were writing to a table have ended: changes that they made before it was published are
/// not told, and have to be seen by the snapshot; and so has what the stream has passed by, which a transaction
/// that is just ending may not show yet. Who writes keeps a lock until others see it.
async fn outwait_writers(source: &mut PgConnection, table: &SourceTable) -> Result<bool> {
    let started = Instant::now();
    let mut pause = Duration::from_millis(2);
    let mut waited_for: Option<Vec<String>> = None;
    loop {
        let now = writers(source, table).await?;
        let left = match waited_for {
            None => now,
            Some(before) => before.into_iter().filter(|writer| now.contains(writer)).collect(),
        };
        if left.is_empty() {
            return Ok(true);
        }
        if started.elapsed() > PATIENCE {
            return Ok(false);
        }
        waited_for = Some(left);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(200));
    }
}

/// The transactions that may have written to a table or a partition of it.
async fn writers(source: &mut PgConnection, table: &SourceTable) -> Result<Vec<String>> {
    sqlx::query_scalar(
        "SELECT DISTINCT virtualtransaction
        FROM pg_locks
        WHERE locktype = 'relation'
        AND granted
        AND mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
        AND pid IS DISTINCT FROM pg_backend_pid()
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND relation IN (
            SELECT to_regclass($1)::oid
            UNION ALL
            SELECT relid FROM pg_partition_tree(to_regclass($1))
        )",
    )
    .bind(quote::name(&table.name))
    .fetch_all(source)
    .await
    .during(|| format!("cannot ask the source who writes to `{}`", table.name))
}
