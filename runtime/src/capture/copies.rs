//! Landing tables that are fed by snapshots: whole copies of their source tables, all that are due as one transaction
//! of the source sees them, are staged and compared with what has landed of each key last, and what differs lands at
//! the time of the copy, in one transaction of the warehouse, above all that had landed. Killed anywhere, all of it
//! lands or nothing. Beside a log or beside polls, or alone. Knows no message and no page.
//!
//! What it cannot see: of several changes of a row between two snapshots all but the last, and when it was.

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

use super::position::{self, CLOCK_AHEAD, Lock, Lsn, SystemTime};
use super::preflight::{Problems, SourceTable};
use super::readiness::Readiness;
use super::resnapshot::Differences;
use super::snapshot::{Keys, Landed, Past, Snapshot};
use super::standing::{self, Identity, Standing};
use super::{Point, Way, begin, fit, poll, unique};
use crate::descriptor::{Gone, Landing, Name, Warehouse};
use crate::error::{During as _, Error, Result};
use crate::land::{self, Place};
use crate::progress::count;
use crate::{quote, statement};

/// Between two snapshots of `watch`, where the spec says nothing.
const USUAL: Duration = Duration::from_secs(3_600);

/// Which snapshots are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Those that a run takes: each, or as often as the spec says.
    ByRun,
    /// Those that `watch` takes.
    ByWatch,
    /// All of them, whenever there was one before.
    All,
}

/// A table that is copied.
struct Copied {
    /// Its landing table's place in the list.
    at: usize,
    table: SourceTable,
    /// Whether it can be locked, and truncated.
    is_table: bool,
    keys: Keys,
}

/// Takes the snapshots that are due, and lands what differs.
pub async fn take(way: &mut Way<'_>, wanted: Wanted) -> Result<()> {
    let due = due(way, wanted).await?;
    if due.is_empty() {
        return Ok(());
    }
    if !way.warehouse.reads_log() {
        poll::stand(way).await?;
    }
    let copies = look(way, &due).await?;
    let locked: Vec<&SourceTable> =
        copies.iter().filter(|copy| copy.is_table).map(|copy| &copy.table).collect();
    begin::begin_snapshot(&mut way.source, &locked, way.progress).await?;
    let time = time(way).await?;
    way.progress.reached(Point::SnapshotTaken)?;
    land(way, &copies, time).await?;
    statement::execute(&mut way.source, "COMMIT").await?;
    way.progress.reached(Point::PastLanded)
}

/// What all snapshots would land, each compared with what has landed; nothing stays of it.
pub(super) async fn rehearse(way: &mut Way<'_>) -> Result<BTreeMap<Name, Differences>> {
    let mut differences = BTreeMap::new();
    let all: Vec<usize> = of(way.warehouse).into_iter().map(|(at, _)| at).collect();
    if all.is_empty() {
        return Ok(differences);
    }
    let failed = || "cannot compare the source with bronze".to_owned();
    let copies = look(way, &all).await?;
    let tables: Vec<&SourceTable> =
        copies.iter().filter(|copy| copy.is_table).map(|copy| &copy.table).collect();
    begin::begin_snapshot(&mut way.source, &tables, way.progress).await?;
    let landings = &way.warehouse.landings;
    let mut target = way.target.begin().await.during(failed)?;
    let (last, time) = position::landed(&mut target, landings).await?;
    let place = Place { lsn: last.0.max(0) + 1, seq: 0, time: time.next().0 };
    for copy in &copies {
        let landing = &landings[copy.at];
        let gone = landing.snapshots().map(|snapshots| snapshots.gone).unwrap_or_default();
        let (table, at, keys) = (&copy.table, copy.at, copy.keys);
        let snapshot = Snapshot { table, landings, at, place, past: Past::Landed, gone, keys };
        let landed = snapshot.land(&mut way.source, &mut target).await?;
        for finding in landed.findings {
            way.captured.finding(finding);
        }
        let found = Differences::at(&mut target, landing, Lsn(place.lsn)).await?;
        differences.insert(landing.table.clone(), found);
    }
    target.rollback().await.during(failed)?;
    statement::execute(&mut way.source, "ROLLBACK").await?;
    Ok(differences)
}

/// The places of the landing tables whose snapshots are due. One that was fed otherwise before is due at once.
async fn due(way: &mut Way<'_>, wanted: Wanted) -> Result<Vec<usize>> {
    let fed = of(way.warehouse);
    if fed.is_empty() {
        return Ok(Vec::new());
    }
    let (copied, now) = (standing::copied(way.target).await?, SystemTime::now());
    let is_due = |landing: &Landing| {
        let Some(last) = copied.get(&landing.table.to_string()) else { return true };
        let every = landing.snapshots().and_then(|snapshots| snapshots.every);
        let every = match wanted {
            Wanted::All => None,
            Wanted::ByRun => every,
            Wanted::ByWatch => Some(every.unwrap_or(USUAL)),
        };
        every.is_none_or(|every| now >= last.after(every))
    };
    Ok(fed.into_iter().filter(|(_, landing)| is_due(landing)).map(|(at, _)| at).collect())
}

/// The landing tables that are fed by snapshots, with their places.
pub(super) fn of(warehouse: &Warehouse) -> Vec<(usize, &Landing)> {
    warehouse.landings.iter().enumerate().filter(|(_, landing)| landing.snapshots().is_some()).collect()
}

/// Looks at the source's tables, and refuses the source where one cannot be copied.
async fn look(way: &mut Way<'_>, due: &[usize]) -> Result<Vec<Copied>> {
    let mut problems = Problems::default();
    let landings: Vec<Landing> = due.iter().map(|at| way.warehouse.landings[*at].clone()).collect();
    let copies = tables(&mut way.source, &landings, due, &mut problems).await?;
    problems.refuse()?;
    let tables: Vec<SourceTable> = copies.iter().map(|copy| copy.table.clone()).collect();
    let fit = fit::look_at_columns(&mut way.source, way.target, way.warehouse, &landings, &tables).await?;
    let mut problems = Problems::default();
    for misfit in fit.misfits {
        problems.add(misfit.what, misfit.remedy);
    }
    problems.refuse()?;
    for warning in fit.warnings {
        way.captured.finding(warning);
    }
    Ok(copies)
}

/// The tables of the source; what keeps one from being copied is a problem, and it is left out.
async fn tables(
    source: &mut PgConnection,
    landings: &[Landing],
    places: &[usize],
    problems: &mut Problems,
) -> Result<Vec<Copied>> {
    let mut copies = Vec::new();
    for (landing, at) in landings.iter().zip(places) {
        let Some(found) = poll::table::find(source, &landing.source, problems).await? else { continue };
        let columns = poll::table::columns(source, found.oid, "").await?;
        let columns: Vec<String> = columns.into_iter().map(|column| column.name).collect();
        for name in landing.key.iter().filter(|name| !columns.contains(name)) {
            problems.add(
                format!(
                    "`{}` has no column `{name}`, which is of the key of `{}`",
                    landing.source, landing.table
                ),
                "correct the key in the spec and run `medallion generate`",
            );
        }
        let keys = match unique::look(source, &[landing]).await?.as_slice() {
            [] => Keys::Unique,
            _ => Keys::Unproven,
        };
        let table = SourceTable {
            name: landing.source.clone(),
            layout: found.layout,
            columns,
            identity: Identity { oid: found.oid, membership: String::new() },
            standing: Standing::Captured,
            brings: None,
        };
        copies.push(Copied { at: *at, table, is_table: found.is_table, keys });
    }
    Ok(copies)
}

/// When the snapshot was taken, as far as the source's clock is believed.
async fn time(way: &mut Way<'_>) -> Result<SystemTime> {
    let sql = format!("SELECT {}", SystemTime::of_sql("now()"));
    let now = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&mut way.source).await;
    let time = SystemTime(now.during(|| "cannot ask the source for its clock".to_owned())?);
    match time.capped() {
        None => Ok(time),
        Some(capped) => {
            way.captured.finding(CLOCK_AHEAD.to_owned());
            Ok(capped)
        }
    }
}

/// Lands what differs, above all that has landed and later than all of it.
async fn land(way: &mut Way<'_>, copies: &[Copied], taken: SystemTime) -> Result<()> {
    let failed = || "cannot land snapshots in one transaction of the warehouse".to_owned();
    let (slot, landings) = (way.warehouse.source.slot.as_str(), &way.warehouse.landings);
    let mut target = way.target.begin().await.during(failed)?;
    let mut position = position::read(&mut target, slot, Lock::ForUpdate)
        .await?
        .ok_or_else(|| Error::new(format!("the position `{slot}` is gone")).remedy("run again"))?;
    land::late::begin(&mut target).await?;
    let (last_lsn, last_time) = position::landed(&mut target, landings).await?;
    if way.warehouse.reads_log() {
        // Nothing that still comes of the log commits below what has landed of it.
        let below = Lsn(position.landed_to.0 - 1);
        position.epoch = position.epoch.above(last_lsn, below);
        position.last_lsn = position.epoch.place(below);
    } else {
        position.last_lsn = Lsn(last_lsn.0.max(0) + 1);
    }
    position.last_time = taken.max(last_time.next());
    let place = Place { lsn: position.last_lsn.0, seq: 0, time: position.last_time.0 };

    let (mut landed, mut findings, mut notes) = (vec![0; landings.len()], Vec::new(), Vec::new());
    for copy in copies {
        let landing = &landings[copy.at];
        let past = match copy.keys {
            Keys::Unique if is_empty(&mut target, landing).await? => Past::None,
            _ => Past::Landed,
        };
        let gone = landing.snapshots().map(|snapshots| snapshots.gone).unwrap_or_default();
        let (table, at, keys) = (&copy.table, copy.at, copy.keys);
        let snapshot = Snapshot { table, landings, at, place, past, gone, keys };
        let Landed { rows, gone: lacking, findings: found } =
            snapshot.land(&mut way.source, &mut target).await?;
        let (oid, at_place) = (copy.table.identity.oid, Lsn(place.lsn));
        standing::write_copied(&mut target, landing, oid, at_place, taken).await?;
        if gone == Gone::Kept && lacking > 0 {
            let kept = count(lacking, "row");
            notes.push(format!("`{}` keeps {kept} that `{}` has no longer", landing.table, landing.source));
        }
        findings.extend(found);
        landed[copy.at] = rows;
        way.progress.copied(&landing.table, rows);
    }
    if landed.iter().any(|rows| *rows > 0) {
        position::write_joined(&mut target, slot, &position).await?;
        let before = Place { lsn: last_lsn.0, seq: 0, time: position.last_time.0 - 1 };
        land::late::note(&mut target, landings, before).await?;
    }
    way.progress.reached(Point::PastCopied)?;
    target.commit().await.during(failed)?;
    for finding in findings {
        way.captured.finding(finding);
    }
    for note in notes {
        way.progress.note(&note);
    }
    for (landing, rows) in landings.iter().zip(&landed) {
        way.captured.landed(&landing.table, *rows);
    }
    way.tell(&landed);
    Ok(())
}

async fn is_empty(target: &mut PgConnection, landing: &Landing) -> Result<bool> {
    let sql = format!("SELECT NOT EXISTS (SELECT FROM {})", quote::name(&landing.table));
    let empty = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(target).await;
    empty.during(|| format!("cannot read `{}`", landing.table))
}

/// What keeps tables from being copied, and what is dear.
pub(super) async fn check(
    warehouse: &Warehouse,
    source: &mut PgConnection,
    target: Option<&mut PgConnection>,
    problems: &mut Problems,
    readiness: &mut Readiness,
) -> Result<()> {
    let (places, landings): (Vec<usize>, Vec<Landing>) =
        of(warehouse).into_iter().map(|(at, landing)| (at, landing.clone())).unzip();
    if landings.is_empty() {
        return Ok(());
    }
    let copies = tables(source, &landings, &places, problems).await?;
    if let (true, Some(target)) = (copies.len() == landings.len(), target) {
        let tables: Vec<SourceTable> = copies.iter().map(|copy| copy.table.clone()).collect();
        let fit = fit::look_at_columns(source, target, warehouse, &landings, &tables).await?;
        for misfit in fit.misfits {
            problems.add(misfit.what, misfit.remedy);
        }
        for warning in fit.warnings {
            let (what, remedy) = warning.rsplit_once("; ").unwrap_or((&warning, "see to it"));
            readiness.warns(what, remedy);
        }
    }
    for copy in &copies {
        let landing = &warehouse.landings[copy.at];
        let every = match landing.snapshots().and_then(|snapshots| snapshots.every) {
            Some(every) => format!("every {} s at most", every.as_secs()),
            None => "with every run".to_owned(),
        };
        readiness.facts.push(format!("snapshots of `{}` feed `{}`, {every}", landing.source, landing.table));
        if copy.keys == Keys::Unproven {
            let shown: Vec<String> = landing.key.iter().map(|column| format!("`{column}`")).collect();
            readiness.warns(
                format!(
                    "nothing at the source keeps two rows of `{}` from having the same {}: each snapshot is looked at, \
                     and refused where two do",
                    landing.source,
                    shown.join(", ")
                ),
                "a unique index over columns that are NOT NULL makes that needless",
            );
        }
    }
    Ok(())
}
