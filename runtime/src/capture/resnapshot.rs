//! Goes on where the stream has broken off: a slot that was lost or read by others, another server or database
//! behind the same URL, a warehouse that was restored. A new slot, and of one snapshot only what differs from
//! what bronze says is live: new rows, changed ones, a delete for each that is gone. It lands above all that
//! landed before, so that the past stays as it was. Knows no message of the stream.

use std::collections::BTreeMap;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Row as _};

use super::begin::{self, Wanted};
use super::position::{self, Former, Lock, Lsn, SourcePosition, State};
use super::preflight::Site;
use super::snapshot::{Keys, Past, Snapshot};
use super::{ASKED, Before, Captured, Progress, Ready, Trace, Way, copies, hold, poll};
use crate::descriptor::{Gone, Landing, Name, Warehouse};
use crate::error::{During as _, Error, Result};
use crate::land::Place;
use crate::{quote, statement};

/// How a landing table differs from its source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// Rows that it does not know.
    pub new: i64,
    /// Rows that it knows otherwise.
    pub changed: i64,
    /// Rows that it takes for live, and that are gone.
    pub gone: i64,
}

/// What a resnapshot does, or would do.
#[derive(Clone, Debug)]
pub struct Resnapshot {
    /// The slot that is made; none where no log is read.
    pub slot: Option<String>,
    /// Whether one of that name is dropped.
    pub drops_slot: bool,
    /// Where the source is: its system identifier, database and timeline.
    pub site: (String, String, i32),
    /// What stays where another source was followed before.
    pub left: Option<Left>,
    /// What differs, by landing table.
    pub differences: BTreeMap<Name, Differences>,
    /// What somebody should look at.
    pub findings: Vec<String>,
}

/// What stays at a source that is followed no longer. It is not asked: it may be gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// The server's system identifier.
    pub system_identifier: String,
    /// The database.
    pub database: String,
    /// The slots: none where it is the same server, on which the new one takes the place of the old.
    pub slots: Vec<String>,
    /// The publication.
    pub publication: String,
}

/// Says what a resnapshot would land, and changes nothing on either side.
pub async fn rehearse(
    warehouse: &Warehouse,
    source_url: &str,
    target: &mut PgConnection,
    progress: &mut dyn Progress,
) -> Result<Resnapshot> {
    if warehouse.source.polling.is_some() {
        return Err(Error::new("what a source has and bronze lacks is told as it lands, where it is polled")
            .remedy("`medallion source resnapshot --yes` reads all of it, and lands what differs"));
    }
    let mut way = Way::to(warehouse, source_url, target, progress).await?;
    if !warehouse.reads_log() {
        let site = poll::table::site(&mut way.source).await?;
        let differences = copies::rehearse(&mut way).await?;
        return Ok(without_log(site, differences, way.captured.findings));
    }
    let Looked { ready, drops_slot, left } = look(&mut way, Trace::Undone).await?;
    let taken = begin::take_snapshot(&mut way, &ready.tables.iter().collect::<Vec<_>>()).await?;

    let failed = || "cannot compare the source with bronze".to_owned();
    let mut target = way.target.begin().await.during(failed)?;
    let (last, time) = position::landed(&mut target, &warehouse.landings).await?;
    let place = Place { lsn: last.0 + 1, seq: 0, time: taken.time.max(time.next()).0 };
    let mut findings = std::mem::take(&mut way.captured.findings);
    for (at, table) in ready.tables.iter().enumerate() {
        let (landings, past) = (&warehouse.landings, Past::Landed);
        let snapshot = Snapshot { table, landings, at, place, past, gone: Gone::Closed, keys: Keys::Unique };
        findings.extend(snapshot.land(&mut way.source, &mut target).await?.findings);
    }
    let mut differences = differences(&mut target, warehouse.captured(), Lsn(place.lsn)).await?;
    target.rollback().await.during(failed)?;
    statement::execute(&mut way.source, "ROLLBACK").await?;
    differences.extend(copies::rehearse(&mut way).await?);
    findings.append(&mut way.captured.findings);
    Ok(Resnapshot { left, ..told(warehouse, &ready, drops_slot, differences, findings) })
}

/// Lands what differs, and leaves the new slot for the stream to go on from. Killed anywhere, it is finished by
/// the next run.
pub async fn resnapshot(
    warehouse: &Warehouse,
    source_url: &str,
    target: &mut PgConnection,
    progress: &mut dyn Progress,
) -> Result<Resnapshot> {
    let mut way = Way::to(warehouse, source_url, target, progress).await?;
    if !warehouse.reads_log() {
        return ask_again(&mut way).await;
    }
    let Looked { ready, drops_slot, left } = look(&mut way, Trace::Kept).await?;
    let (before, _) = position::landed(way.target, &warehouse.landings).await?;
    begin::begin(&mut way, &ready, Wanted::Resnapshot).await?;
    copies::take(&mut way, copies::Wanted::All).await?;
    let differences = differences_above(way.target, &warehouse.landings, before).await?;
    let Captured { findings, .. } = way.captured;
    Ok(Resnapshot { left, ..told(warehouse, &ready, drops_slot, differences, findings) })
}

/// Reads every row of a source whose log is not read, and compares all keys.
async fn ask_again(way: &mut Way<'_>) -> Result<Resnapshot> {
    let landings = &way.warehouse.landings;
    let (before, _) = position::landed(way.target, landings).await?;
    let site = poll::begin_again(way).await?;
    if let Some(polling) = &way.warehouse.source.polling {
        poll::poll_all(way, polling).await?;
    }
    copies::take(way, copies::Wanted::All).await?;
    let differences = differences_above(way.target, landings, before).await?;
    Ok(without_log(site, differences, std::mem::take(&mut way.captured).findings))
}

fn without_log(site: Site, differences: BTreeMap<Name, Differences>, findings: Vec<String>) -> Resnapshot {
    let site = (site.system_identifier, site.database, site.timeline);
    Resnapshot { slot: None, drops_slot: false, site, left: None, differences, findings }
}

/// What is found before anything is done.
struct Looked {
    ready: Ready,
    drops_slot: bool,
    left: Option<Left>,
}

/// Asks the source as before a first capture; and refuses where there is nothing to go on from, or a slot that
/// is another's.
async fn look(way: &mut Way<'_>, trace: Trace) -> Result<Looked> {
    let (last, _) = position::landed(way.target, &way.warehouse.landings).await?;
    if last <= Lsn::default() {
        return Err(Error::new("nothing has landed yet that could be gone on from")
            .remedy("`medallion run` begins with a snapshot"));
    }
    let name = way.slot().to_owned();
    let before = position::read(way.target, &name, Lock::None).await?;
    let ready = super::ask(way, &Before::Broken, trace).await?;
    let drops_slot = begin::refuse_others(way, before.as_ref(), &ready.site).await?.is_some();
    let left = left(way, before.as_ref(), &ready.site).await?;
    Ok(Looked { ready, drops_slot, left })
}

/// What stays at the source that was followed last, where it was another one: before an attempt that did not come to
/// its end, too.
async fn left(way: &mut Way<'_>, before: Option<&SourcePosition>, site: &Site) -> Result<Option<Left>> {
    let slot = way.slot().to_owned();
    let Some(before) = before else { return Ok(None) };
    let last = match before.state {
        State::Resnapshotting if before.site.is_same_database(site) => {
            position::former(way.target, &slot).await?.pop()
        }
        _ => Some(Former::of(before)),
    };
    let is_elsewhere = |last: &Former| {
        last.timeline != ASKED
            && (&last.system_identifier, &last.database) != (&site.system_identifier, &site.database)
    };
    Ok(last.filter(is_elsewhere).map(|last| {
        let mut slots = Vec::new();
        if last.system_identifier != site.system_identifier {
            slots.extend(way.warehouse.source.keep_log.map(|_| hold::slot_name(&slot)));
            slots.insert(0, slot);
        }
        Left {
            system_identifier: last.system_identifier,
            database: last.database,
            slots,
            publication: way.warehouse.source.publication.clone(),
        }
    }))
}

/// What landed above a place, by kind.
async fn differences_above(
    target: &mut PgConnection,
    landings: &[Landing],
    place: Lsn,
) -> Result<BTreeMap<Name, Differences>> {
    let mut all = BTreeMap::new();
    // Files are asked by no resnapshot.
    for landing in landings.iter().filter(|landing| landing.feed().is_none()) {
        all.insert(landing.table.clone(), Differences::above(target, landing, place).await?);
    }
    Ok(all)
}

/// What landed at a place, by kind.
async fn differences(
    target: &mut PgConnection,
    landings: &[Landing],
    place: Lsn,
) -> Result<BTreeMap<Name, Differences>> {
    let mut all = BTreeMap::new();
    for landing in landings {
        all.insert(landing.table.clone(), Differences::at(target, landing, place).await?);
    }
    Ok(all)
}

impl Differences {
    /// What landed at a place.
    pub(super) async fn at(target: &mut PgConnection, landing: &Landing, place: Lsn) -> Result<Self> {
        Self::where_it_landed(target, landing, "lsn = $1", place).await
    }

    /// What landed above a place.
    async fn above(target: &mut PgConnection, landing: &Landing, place: Lsn) -> Result<Self> {
        Self::where_it_landed(target, landing, "lsn > $1", place).await
    }

    async fn where_it_landed(
        target: &mut PgConnection,
        landing: &Landing,
        condition: &str,
        place: Lsn,
    ) -> Result<Self> {
        let uncounted = || format!("cannot count what differs in `{}`", landing.table);
        let sql = format!(
            "SELECT
                count(*) FILTER (WHERE op = 'I') AS new,
                count(*) FILTER (WHERE op = 'U') AS changed,
                count(*) FILTER (WHERE op = 'D') AS gone
            FROM {}
            WHERE {condition}",
            quote::name(&landing.table)
        );
        let row = sqlx::query(AssertSqlSafe(sql))
            .persistent(false)
            .bind(place.0)
            .fetch_one(&mut *target)
            .await
            .during(uncounted)?;
        Ok(Self {
            new: row.try_get("new").during(uncounted)?,
            changed: row.try_get("changed").during(uncounted)?,
            gone: row.try_get("gone").during(uncounted)?,
        })
    }
}

fn told(
    warehouse: &Warehouse,
    ready: &Ready,
    drops_slot: bool,
    differences: BTreeMap<Name, Differences>,
    findings: Vec<String>,
) -> Resnapshot {
    let site = &ready.site;
    Resnapshot {
        slot: Some(warehouse.source.slot.clone()),
        drops_slot,
        site: (site.system_identifier.clone(), site.database.clone(), site.timeline),
        left: None,
        differences,
        findings,
    }
}
