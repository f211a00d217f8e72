//! Capture by watermark, for sources that let nobody read their log: rows whose time of change has passed the
//! watermark are asked for in pages, and what differs from what landed of their key last lands. Each page is a
//! transaction of the warehouse that moves the watermark with what has landed, so that a kill leaves whole pages, and
//! what is read again lands once. Knows no stream and no slot.
//!
//! What it cannot see: of several changes of a row between two polls all but the last; rows whose time of change is
//! set without rising, or so late that the look back does not reach them; deletes, unless keys are compared. Positions
//! in bronze are a count of changes, for the source gives none.

mod deleted;
pub mod extract;
mod page;
pub mod readiness;
pub(super) mod table;

use std::time::{Duration, Instant};

use sqlx::Connection as _;

use super::position::{self, Lock, Lsn, SourcePosition, State, SystemTime};
use super::preflight::{Problems, Site};
use super::standing;
use super::{Point, Way, fit};
use crate::descriptor::{Deletes, Name, Polling};
use crate::error::{During as _, Error, Result};
use crate::land::{self, Place, polled};
use crate::{quote, statement};

use page::{Cursor, From};
use table::Table;

/// How often the source's catalog is asked again.
const ASKS_EVERY: Duration = Duration::from_secs(30);

/// How often a watermark is written down that nothing landed with.
const MOVES_EVERY: Duration = Duration::from_secs(10);

/// A source that is polled, table by table.
pub struct Poller {
    tables: Vec<Table>,
    /// The tables' watermarks, in their order; none where nothing has been read.
    watermarks: Vec<Watermark>,
    /// The table that is read, and where in it.
    at: usize,
    cursor: Option<Cursor>,
    /// Up to which time of change this poll reads.
    upto: SystemTime,
    asked: Instant,
}

/// How far a table has been read.
#[derive(Clone, Copy, Debug)]
struct Watermark {
    /// Up to which time of change all that was there has landed.
    time: Option<SystemTime>,
    /// The time of change that landed last: nothing later is passed over, whatever clock has written it.
    last: Option<SystemTime>,
    /// When keys were last compared.
    compared: Option<SystemTime>,
    /// When it was last written down.
    written: Instant,
}

impl Watermark {
    /// From which time of change on rows are read: so far behind the watermark, or, where that lies later, behind
    /// what landed last.
    fn looking_back(self, time: SystemTime, look_back: Duration) -> SystemTime {
        let back = time.before(look_back);
        self.last.map_or(back, |last| back.min(last.after(Duration::from_micros(1))))
    }
}

/// What is left to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// More pages of this poll.
    Pages,
    /// Nothing, until the next poll.
    Nothing,
}

impl Poller {
    /// Asks the source for its tables, and the warehouse how far it has got with them.
    pub async fn begin(way: &mut Way<'_>) -> Result<Self> {
        stand(way).await?;
        let tables = ask(way).await?;
        let known = standing::known(way.target).await?;
        for table in &tables {
            let landing = table.landing(way.warehouse)?.table.to_string();
            if known.get(&landing).is_some_and(|known| !known.identity.membership.is_empty()) {
                deleted::take_over(way, table).await?;
            }
        }
        let watermarks = watermarks(way, &tables).await?;
        Ok(Self { tables, watermarks, at: 0, cursor: None, upto: SystemTime(0), asked: Instant::now() })
    }

    /// Reads the next page, and lands what is new in it.
    pub async fn step(&mut self, way: &mut Way<'_>, polling: &Polling) -> Result<Left> {
        if self.at == 0 && self.cursor.is_none() {
            if self.asked.elapsed() >= ASKS_EVERY {
                self.tables = ask(way).await?;
                self.asked = Instant::now();
            }
            self.upto = table::now(&mut way.source).await?.before(polling.margin);
        }
        let (Some(table), Some(watermark)) =
            (self.tables.get(self.at), self.watermarks.get(self.at).copied())
        else {
            return Ok(Left::Nothing);
        };
        let from = match (self.cursor.take(), watermark.time) {
            (Some(cursor), _) => From::Behind(cursor),
            (None, Some(time)) => From::Time(watermark.looking_back(time, polling.look_back)),
            (None, None) => From::Beginning,
        };
        let asked = page::Asked { table, from, upto: self.upto, most: polling.page };
        let read = land_page(way, &asked, watermark).await?;
        let watermark = &mut self.watermarks[self.at];
        watermark.time = Some(read.watermark);
        watermark.last = watermark.last.max(read.last);
        if read.written {
            watermark.written = Instant::now();
        }
        if let Some(cursor) = read.more {
            self.cursor = Some(cursor);
            return Ok(Left::Pages);
        }
        let is_due = |at: SystemTime| self.upto >= at.after(polling.compare_every);
        if table.deletes == Deletes::Compared && watermark.compared.is_none_or(is_due) {
            deleted::land(way, table, self.upto).await?;
            watermark.compared = Some(self.upto);
        }
        self.at += 1;
        if self.at < self.tables.len() {
            return Ok(Left::Pages);
        }
        self.at = 0;
        Ok(Left::Nothing)
    }
}

/// Sees to it that the source is the one that was asked so far, or whose log was read: what it has lands above that.
pub(super) async fn stand(way: &mut Way<'_>) -> Result<()> {
    let site = table::site(&mut way.source).await?;
    let slot = way.slot().to_owned();
    match position::read(way.target, &slot, Lock::None).await? {
        None => position::announce(way.target, &slot, State::Streaming, &site).await?,
        Some(known)
            if known.site.system_identifier == site.system_identifier
                && known.site.database == site.database =>
        {
            if known.site != site || known.state != State::Streaming {
                position::announce(way.target, &slot, State::Streaming, &site).await?;
            }
        }
        Some(known) => {
            return Err(Error::new(format!(
                "the source is database `{}` of system {}, and what landed so far is of database `{}` of system {}",
                site.database, site.system_identifier, known.site.database, known.site.system_identifier
            ))
            .remedy(
                "correct SOURCE_DATABASE_URL; or, to follow this one: `medallion source resnapshot` lands what \
                 differs and goes on from there, all history kept",
            ));
        }
    }
    if let Some(finding) = left_behind(&mut way.source, &slot).await? {
        way.captured.finding(finding);
    }
    Ok(())
}

/// A slot that nobody reads any more, and that keeps the source's log for ever.
pub(super) async fn left_behind(source: &mut sqlx::PgConnection, slot: &str) -> Result<Option<String>> {
    let is_there: bool = sqlx::query_scalar(
        "SELECT EXISTS (
            SELECT FROM pg_replication_slots WHERE slot_name = $1 AND database = current_database()
        )",
    )
    .bind(slot)
    .fetch_one(source)
    .await
    .during(|| "cannot ask the source for replication slots".to_owned())?;
    Ok(is_there.then(|| {
        format!(
            "replication slot `{slot}` is read no longer, and keeps the source's log until its disk is full; \
             `medallion source drop --yes` drops it"
        )
    }))
}

/// Polls once.
pub async fn poll(way: &mut Way<'_>, polling: &Polling) -> Result<()> {
    let mut poller = Poller::begin(way).await?;
    while poller.step(way, polling).await? == Left::Pages {}
    Ok(())
}

/// What a page brought.
struct Read {
    /// Up to which time of change all that was there has landed.
    watermark: SystemTime,
    /// Whether that was written down.
    written: bool,
    /// The last time of change in it.
    last: Option<SystemTime>,
    /// Where the next page begins, where this one was full.
    more: Option<Cursor>,
}

/// Lands a page. Where `jsonb` refuses one of its rows, it is read once more, and each row is looked at.
async fn land_page(way: &mut Way<'_>, asked: &page::Asked<'_>, watermark: Watermark) -> Result<Read> {
    match land_page_in(way, asked, watermark, polled::Care::Usual).await {
        Err(error) if land::is_of_data(&error) => {
            land_page_in(way, asked, watermark, polled::Care::EachRow).await
        }
        landed => landed,
    }
}

async fn land_page_in(
    way: &mut Way<'_>,
    asked: &page::Asked<'_>,
    watermark: Watermark,
    care: polled::Care,
) -> Result<Read> {
    let landing = asked.table.landing(way.warehouse)?;
    let mut open = Open::begin(way).await?;
    let page = page::stage(open.source, &mut open.target, asked, open.base).await?;
    let landed = match page.rows {
        0 => polled::Landed::default(),
        _ => polled::finish(&mut open.target, landing, asked.table.at, care).await?,
    };
    // A page that is not full is the last one: there was no more.
    let time = match &page.last {
        Some(cursor) if page.rows >= u64::from(asked.most) => cursor.time,
        _ => asked.upto,
    };
    let time = watermark.time.map_or(time, |before| before.max(time));
    let last = page.last.as_ref().map(|cursor| cursor.time);
    let more = page.last.filter(|_| page.rows >= u64::from(asked.most));
    let written = landed.rows > 0
        || !landed.findings.is_empty()
        || watermark.time.is_none()
        || watermark.written.elapsed() >= MOVES_EVERY;
    if !written {
        open.forget().await?;
        return Ok(Read { watermark: time, written, last, more });
    }
    standing::write_watermark(&mut open.target, landing, asked.table.oid, time).await?;
    open.commit(asked.table.at, &landed).await?;
    Ok(Read { watermark: time, written, last, more })
}

/// A transaction of the warehouse that lands something polled, above all that has landed.
struct Open<'w, 'a> {
    source: &'w mut sqlx::PgConnection,
    target: sqlx::Transaction<'w, sqlx::Postgres>,
    warehouse: &'a crate::descriptor::Warehouse,
    progress: &'w mut (dyn super::Progress + 'a),
    captured: &'w mut super::Captured,
    /// How far had landed before it.
    position: SourcePosition,
    /// Nothing in bronze is above it.
    base: Lsn,
    /// Nothing in bronze is later.
    last_time: SystemTime,
}

impl<'w, 'a> Open<'w, 'a> {
    /// Begins it: nobody else lands until it ends.
    async fn begin(way: &'w mut Way<'a>) -> Result<Self> {
        let warehouse = way.warehouse;
        let slot = warehouse.source.slot.as_str();
        let mut target = way.target.begin().await.during(unlanded)?;
        let position = position::read(&mut target, slot, Lock::ForUpdate)
            .await?
            .ok_or_else(|| Error::new(format!("the position `{slot}` is gone")).remedy("run again"))?;
        land::late::begin(&mut target).await?;
        let (base, last_time) = position::landed(&mut target, &warehouse.landings).await?;
        Ok(Self {
            source: &mut way.source,
            target,
            warehouse,
            progress: &mut *way.progress,
            captured: &mut way.captured,
            position,
            base: base.max(Lsn(0)),
            last_time,
        })
    }

    /// Leaves all as it was.
    async fn forget(self) -> Result<()> {
        self.target.rollback().await.during(unlanded)
    }

    /// Moves the position with what has landed, for good.
    async fn commit(mut self, at: usize, landed: &polled::Landed) -> Result<()> {
        let landings = &self.warehouse.landings;
        if let Some((last, first_time, last_time)) = landed.span {
            self.position.last_lsn = Lsn(last);
            self.position.last_time = self.position.last_time.max(SystemTime(last_time));
            position::write_landed(&mut self.target, &self.warehouse.source.slot, &self.position).await?;
            // What was applied meanwhile may be later than what comes now.
            let before = Place { lsn: self.base.0, seq: 0, time: first_time.saturating_sub(1) };
            land::late::note(&mut self.target, &landings[at..=at], before).await?;
        }
        self.progress.reached(Point::BatchCopied)?;
        self.target.commit().await.during(unlanded)?;
        for finding in &landed.findings {
            self.captured.finding(finding.clone());
        }
        if let (Some(landing), true) = (landings.get(at), landed.rows > 0) {
            self.captured.landed(&landing.table, landed.rows);
            self.progress.landed(&landing.table, landed.rows);
        }
        self.progress.reached(Point::BatchLanded)
    }
}

fn unlanded() -> String {
    "cannot land a page in one transaction of the warehouse".to_owned()
}

/// Asks the source for its tables, and refuses it where one cannot be polled.
async fn ask(way: &mut Way<'_>) -> Result<Vec<Table>> {
    let mut problems = Problems::default();
    let looked = table::look(&mut way.source, way.warehouse, &mut problems).await?;
    problems.refuse()?;
    let tables: Vec<_> = looked.iter().map(Table::as_captured).collect();
    let fit =
        fit::look(&mut way.source, way.target, way.warehouse, way.warehouse.captured(), &tables).await?;
    let mut problems = Problems::default();
    for misfit in fit.misfits {
        problems.add(misfit.what, misfit.remedy);
    }
    problems.refuse()?;
    for warning in fit.warnings {
        way.captured.finding(warning);
    }
    Ok(looked)
}

async fn watermarks(way: &mut Way<'_>, tables: &[Table]) -> Result<Vec<Watermark>> {
    let known = standing::watermarks(way.target).await?;
    let mut watermarks = Vec::new();
    for table in tables {
        let landing = &table.landing(way.warehouse)?.table;
        let (time, compared) = known.get(&landing.to_string()).copied().unwrap_or_default();
        let last = last_landed(way.target, landing).await?;
        watermarks.push(Watermark { time, last, compared, written: Instant::now() });
    }
    Ok(watermarks)
}

/// The time of change that landed last.
async fn last_landed(target: &mut sqlx::PgConnection, landing: &Name) -> Result<Option<SystemTime>> {
    let sql = format!(
        "SELECT {} FROM {} WHERE isfinite(commit_ts) ORDER BY lsn DESC, seq DESC LIMIT 1",
        SystemTime::of_sql("commit_ts"),
        quote::name(landing)
    );
    let last = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_optional(target).await;
    Ok(last.during(|| format!("cannot read what landed last in `{landing}`"))?.map(SystemTime))
}

/// Polls once, and compares keys whatever the spec says: what was missed lands.
pub async fn poll_all(way: &mut Way<'_>, polling: &Polling) -> Result<()> {
    let mut poller = Poller::begin(way).await?;
    for table in &mut poller.tables {
        table.deletes = Deletes::Compared;
    }
    while poller.step(way, polling).await? == Left::Pages {}
    Ok(())
}

/// Forgets how far tables have been read. Gives where the source is, which is the one that is followed from now on.
pub async fn begin_again(way: &mut Way<'_>) -> Result<Site> {
    let site = table::site(&mut way.source).await?;
    let slot = way.slot().to_owned();
    let mut target = way.target.begin().await.during(unlanded)?;
    position::announce(&mut target, &slot, State::Streaming, &site).await?;
    statement::execute(
        &mut target,
        "UPDATE medallion.captured_table SET watermark = NULL, compared_at = NULL, updated_at = now()",
    )
    .await?;
    target.commit().await.during(unlanded)?;
    Ok(site)
}
