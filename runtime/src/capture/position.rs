//! Where a source stands and how far it has landed: positions, system times, the fence of the snapshot, and
//! the row of `medallion.source_position` that keeps them. Knows neither messages nor rows.

use std::fmt;
use std::time::{Duration, SystemTime as Clock, UNIX_EPOCH};

use sqlx::Row as _;
use sqlx::postgres::PgConnection;

use super::preflight::Site;
use crate::descriptor::Landing;
use crate::error::{During as _, Error, Result};
use crate::quote;

/// A position in the source's write-ahead log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lsn(pub i64);

impl fmt::Display for Lsn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

/// A time of the system, in microseconds since 2000: what PostgreSQL's protocol carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SystemTime(pub i64);

/// Seconds from 1970 to 2000.
const EPOCH: i64 = 946_684_800;

/// A source clock further ahead than this is not believed.
const AHEAD: i64 = 5 * 60 * 1_000_000;

/// The finding of a source clock that is not believed.
pub const CLOCK_AHEAD: &str =
    "the source's clock is ahead of this one by more than 5 minutes: system times are capped";

impl SystemTime {
    /// This program's clock.
    pub fn now() -> Self {
        let elapsed = Clock::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        Self(i64::try_from(elapsed).unwrap_or(i64::MAX) - EPOCH * 1_000_000)
    }

    /// A time of the calendar.
    pub fn of(time: chrono::DateTime<chrono::Utc>) -> Self {
        Self(time.timestamp_micros() - EPOCH * 1_000_000)
    }

    /// As the calendar says it; none where that does not go so far.
    pub fn calendar(self) -> Option<chrono::DateTime<chrono::Utc>> {
        chrono::DateTime::from_timestamp_micros(self.0.saturating_add(EPOCH * 1_000_000))
    }

    /// Where it is ahead of this program's clock by more than is believed: the latest that is.
    pub fn capped(self) -> Option<Self> {
        let latest = Self(Self::now().0.saturating_add(AHEAD));
        (self > latest).then_some(latest)
    }

    /// The first time after it.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// So much earlier.
    pub fn before(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)))
    }

    /// So much later.
    pub fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)))
    }

    /// A `timestamptz` expression as microseconds since 2000.
    pub fn of_sql(expression: &str) -> String {
        format!("(extract(epoch FROM {expression}) * 1000000)::bigint - {EPOCH}000000")
    }

    /// Microseconds since 2000, a `bigint` expression, as `timestamptz`.
    pub fn to_sql(expression: &str) -> String {
        format!("TIMESTAMPTZ '2000-01-01 00:00:00+00' + ({expression}) * INTERVAL '1 microsecond'")
    }
}

/// Which transactions a snapshot saw: `pg_current_snapshot()`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    text: String,
    oldest: u64,
    next: u64,
    running: Vec<u64>,
}

impl Fence {
    /// Reads `xmin:xmax:xid,xid`.
    pub fn read(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let oldest = parts.next()?.parse().ok()?;
        let next = parts.next()?.parse().ok()?;
        let listed = parts.next()?;
        let mut running = listed
            .split(',')
            .filter(|xid| !xid.is_empty())
            .map(|xid| xid.parse().ok())
            .collect::<Option<Vec<u64>>>()?;
        running.sort_unstable();
        Some(Self { text: text.to_owned(), oldest, next, running })
    }

    /// As it was read.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The transactions that had begun to write and not ended.
    pub fn running(&self) -> &[u64] {
        &self.running
    }

    /// Whether it saw a transaction, of which the stream tells the id without the epoch.
    pub fn sees(&self, xid: u32) -> bool {
        let full = self.with_epoch(xid);
        full < self.oldest || full < self.next && self.running.binary_search(&full).is_err()
    }

    /// The id nearest to the fence that ends in these 32 bits.
    fn with_epoch(&self, xid: u32) -> u64 {
        let span = 1_u64 << 32;
        let candidate = self.next - self.next % span + u64::from(xid);
        let half = span / 2;
        if candidate > self.next.saturating_add(half) && candidate >= span {
            candidate - span
        } else if candidate.saturating_add(half) < self.next {
            candidate + span
        } else {
            candidate
        }
    }
}

/// How far a slot's changes have landed.
#[derive(Clone, Debug)]
pub struct SourcePosition {
    /// What has been begun.
    pub state: State,
    /// The server and database that the slot belongs to.
    pub site: Site,
    /// Everything that commits below it at the source has landed. Zero where that is not known of the site.
    pub landed_to: Lsn,
    /// Bronze has the source's positions with this added to them.
    pub epoch: Epoch,
    /// The greatest position in bronze, as it is there.
    pub last_lsn: Lsn,
    /// The system time last given.
    pub last_time: SystemTime,
    /// What the snapshot saw, and the position below which that matters.
    pub fence: Option<(Fence, Lsn)>,
}

/// A stretch of bronze in which positions are those of one source, moved by one distance: so whatever is followed
/// later, a server that was restored or quite another one, lands above all that landed before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Epoch {
    /// What is added to the source's positions.
    pub offset: i64,
    /// Where in bronze it begins.
    pub begins: Lsn,
}

impl Epoch {
    /// Where in bronze a position of the source lies.
    pub fn place(self, position: Lsn) -> Lsn {
        Lsn(position.0.saturating_add(self.offset))
    }

    /// This one, as long as a position of the source still comes to lie above what has landed; else the next.
    pub fn above(self, landed: Lsn, position: Lsn) -> Self {
        if self.place(position) > landed {
            return self;
        }
        Self { offset: landed.0 + 1 - position.0, begins: Lsn(landed.0 + 1) }
    }
}

impl SourcePosition {
    /// The epoch that a position of the site at hand begins or goes on with, above what has landed.
    pub fn epoch_at(&self, landed: Lsn, position: Lsn) -> Epoch {
        if self.landed_to > Lsn::default() {
            return self.epoch.above(landed, position);
        }
        // Another site's positions: whether they are above by chance says nothing.
        let epoch = Epoch::default().above(landed, position);
        Epoch { begins: epoch.place(position), ..epoch }
    }
}

/// A source that was followed, and is followed no longer: its slot may stand there still.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
pub struct Former {
    /// Its server.
    pub system_identifier: String,
    /// Its database.
    pub database: String,
    /// The timeline that the server was on.
    pub timeline: i32,
    /// How far it had landed: whoever reads the slot on, or makes it anew, leaves it beyond.
    landed_to: i64,
}

impl Former {
    /// What becomes of a source when another one is followed.
    pub fn of(position: &SourcePosition) -> Self {
        Self {
            system_identifier: position.site.system_identifier.clone(),
            database: position.site.database.clone(),
            timeline: position.site.timeline,
            landed_to: position.landed_to.0,
        }
    }

    /// How far it had landed.
    pub fn landed_to(&self) -> Lsn {
        Lsn(self.landed_to)
    }
}

/// What has been begun with a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The slot may or may not exist; nothing has landed.
    Creating,
    /// The snapshot has landed; the stream goes on from `landed_to`.
    Streaming,
    /// Bronze has what landed before; the slot may or may not exist, and what differs is still to land.
    Resnapshotting,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Streaming => "streaming",
            Self::Resnapshotting => "resnapshotting",
        }
    }

    fn of(word: &str) -> Option<Self> {
        [Self::Creating, Self::Streaming, Self::Resnapshotting].into_iter().find(|state| state.word() == word)
    }
}

/// Reads the row of a slot; locks it where it is about to be moved.
pub async fn read(target: &mut PgConnection, slot: &str, lock: Lock) -> Result<Option<SourcePosition>> {
    let sql = format!(
        "SELECT state, system_identifier, database, timeline, coalesce(landed_to, 0) AS landed_to, lsn_offset,
            epoch_lsn, last_lsn, coalesce({}, 0) AS last_time, fence, coalesce(fence_until, 0) AS fence_until
        FROM medallion.source_position WHERE slot = $1{}",
        SystemTime::of_sql("last_commit_ts"),
        match lock {
            Lock::None => "",
            Lock::ForShare => " FOR SHARE",
            Lock::ForUpdate => " FOR UPDATE",
        }
    );
    let row = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(slot)
        .fetch_optional(target)
        .await
        .during(|| "cannot read `medallion.source_position` of the warehouse".to_owned())?;
    let Some(row) = row else {
        return Ok(None);
    };
    let unreadable = || format!("the row of `{slot}` in `medallion.source_position` cannot be read");
    let state: String = row.try_get("state").during(unreadable)?;
    let fence: Option<String> = row.try_get("fence").during(unreadable)?;
    let fence_until = Lsn(row.try_get("fence_until").during(unreadable)?);
    let fence = match fence {
        None => None,
        Some(text) => Some((Fence::read(&text).ok_or_else(|| Error::new(unreadable()))?, fence_until)),
    };
    Ok(Some(SourcePosition {
        state: State::of(&state).ok_or_else(|| Error::new(unreadable()))?,
        site: Site {
            system_identifier: row.try_get("system_identifier").during(unreadable)?,
            database: row.try_get("database").during(unreadable)?,
            timeline: row.try_get("timeline").during(unreadable)?,
        },
        epoch: Epoch {
            offset: row.try_get("lsn_offset").during(unreadable)?,
            begins: Lsn(row.try_get("epoch_lsn").during(unreadable)?),
        },
        landed_to: Lsn(row.try_get("landed_to").during(unreadable)?),
        last_lsn: Lsn(row.try_get("last_lsn").during(unreadable)?),
        last_time: SystemTime(row.try_get("last_time").during(unreadable)?),
        fence,
    }))
}

/// The sources that were followed by a slot of this name before, the last one at the end.
pub async fn former(target: &mut PgConnection, slot: &str) -> Result<Vec<Former>> {
    let unread = || "cannot read `medallion.source_position` of the warehouse".to_owned();
    let former: Option<String> =
        sqlx::query_scalar("SELECT former::text FROM medallion.source_position WHERE slot = $1")
            .bind(slot)
            .fetch_optional(target)
            .await
            .during(unread)?;
    former.map_or_else(|| Ok(Vec::new()), |former| serde_json::from_str(&former).during(unread))
}

/// Whether a row is read to be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// It is only looked at.
    None,
    /// It stays as it is until the transaction ends.
    ForShare,
    /// It is locked until the transaction ends.
    ForUpdate,
}

/// Writes down that a slot is about to be created. How far another site had come means nothing at this one, but tells
/// the slot that stays there from one that others will have made.
pub async fn announce(target: &mut PgConnection, slot: &str, state: State, site: &Site) -> Result<()> {
    sqlx::query(
        "INSERT INTO medallion.source_position AS known
            (slot, state, system_identifier, database, timeline, updated_at)
        VALUES ($1, $2, $3, $4, $5, now())
        ON CONFLICT (slot) DO UPDATE SET
            state = excluded.state,
            landed_to = CASE
                WHEN (known.system_identifier, known.database, known.timeline)
                    = (excluded.system_identifier, excluded.database, excluded.timeline)
                THEN known.landed_to
            END,
            former = CASE
                WHEN known.landed_to IS NULL
                    OR known.timeline = $6
                    OR (known.system_identifier, known.database, known.timeline)
                        = (excluded.system_identifier, excluded.database, excluded.timeline)
                THEN known.former
                ELSE (
                    SELECT coalesce(jsonb_agg(entry ORDER BY at), '[]')
                    FROM jsonb_array_elements(known.former) WITH ORDINALITY AS former (entry, at)
                    WHERE (entry ->> 'system_identifier', entry ->> 'database', entry ->> 'timeline')
                        <> (known.system_identifier, known.database, known.timeline::text)
                ) || jsonb_build_object(
                    'system_identifier', known.system_identifier,
                    'database', known.database,
                    'timeline', known.timeline,
                    'landed_to', known.landed_to
                )
            END,
            failover = known.failover AND (known.system_identifier, known.database)
                = (excluded.system_identifier, excluded.database),
            system_identifier = excluded.system_identifier,
            database = excluded.database,
            timeline = excluded.timeline,
            held = '[]',
            updated_at = now()",
    )
    .bind(slot)
    .bind(state.word())
    .bind(&site.system_identifier)
    .bind(&site.database)
    .bind(site.timeline)
    .bind(super::ASKED)
    .execute(target)
    .await
    .during(|| "cannot write `medallion.source_position` of the warehouse".to_owned())?;
    Ok(())
}

/// Writes down, before a slot is dropped, whether standbys keep it; gives what was written down where it is gone.
pub async fn keep_failover(target: &mut PgConnection, slot: &str, found: Option<bool>) -> Result<bool> {
    sqlx::query_scalar(
        "UPDATE medallion.source_position SET failover = coalesce($2, failover) WHERE slot = $1 RETURNING failover",
    )
    .bind(slot)
    .bind(found)
    .fetch_one(target)
    .await
    .during(|| "cannot write `medallion.source_position` of the warehouse".to_owned())
}

/// The greatest position and system time of all that has landed or been applied, by whomever and from whatever
/// slot; below zero where nothing has.
pub async fn landed(target: &mut PgConnection, landings: &[Landing]) -> Result<(Lsn, SystemTime)> {
    let landed = landings.iter().map(|landing| {
        format!(
            "(SELECT lsn, commit_ts FROM {} ORDER BY lsn DESC, seq DESC LIMIT 1)",
            quote::name(&landing.table)
        )
    });
    let known = [
        "SELECT last_lsn AS lsn, last_commit_ts AS commit_ts FROM medallion.source_position",
        "SELECT lsn, system_time FROM medallion.watermark",
        "SELECT lsn, commit_ts FROM medallion.quarantine",
    ];
    let ends: Vec<String> = known.into_iter().map(str::to_owned).chain(landed).collect();
    let sql = format!(
        "SELECT coalesce(max(lsn), -1) AS lsn, coalesce({}, {}) AS time FROM ({}) AS ends",
        SystemTime::of_sql("max(commit_ts) FILTER (WHERE isfinite(commit_ts))"),
        i64::MIN,
        ends.join("\nUNION ALL\n")
    );
    let unread = || "cannot read what has landed".to_owned();
    let row =
        sqlx::query(sqlx::AssertSqlSafe(sql)).persistent(false).fetch_one(target).await.during(unread)?;
    Ok((Lsn(row.try_get("lsn").during(unread)?), SystemTime(row.try_get("time").during(unread)?)))
}

/// Writes down that the past has landed and the stream goes on from a position.
pub async fn write_streaming(
    target: &mut PgConnection,
    slot: &str,
    position: &SourcePosition,
    recorded: Option<i64>,
) -> Result<()> {
    let sql = format!(
        "UPDATE medallion.source_position SET
            state = 'streaming',
            landed_to = $2,
            last_lsn = $3,
            last_commit_ts = {},
            fence = $5,
            fence_until = $6,
            recorded_position = coalesce($7, recorded_position),
            lsn_offset = $8,
            epoch_lsn = $9,
            updated_at = now()
        WHERE slot = $1",
        SystemTime::to_sql("$4::bigint")
    );
    sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(slot)
        .bind(position.landed_to.0)
        .bind(position.last_lsn.0)
        .bind(position.last_time.0)
        .bind(position.fence.as_ref().map(|(fence, _)| fence.text()))
        .bind(position.fence.as_ref().map(|(_, until)| until.0))
        .bind(recorded)
        .bind(position.epoch.offset)
        .bind(position.epoch.begins.0)
        .execute(target)
        .await
        .during(|| "cannot write `medallion.source_position` of the warehouse".to_owned())?;
    Ok(())
}

/// Writes down that a snapshot has landed above all that had, while the stream stays where it is.
pub async fn write_joined(target: &mut PgConnection, slot: &str, position: &SourcePosition) -> Result<()> {
    let sql = format!(
        "UPDATE medallion.source_position SET
            last_lsn = $2,
            last_commit_ts = {},
            lsn_offset = $4,
            epoch_lsn = $5,
            updated_at = now()
        WHERE slot = $1",
        SystemTime::to_sql("$3::bigint")
    );
    sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(slot)
        .bind(position.last_lsn.0)
        .bind(position.last_time.0)
        .bind(position.epoch.offset)
        .bind(position.epoch.begins.0)
        .execute(target)
        .await
        .during(|| "cannot write `medallion.source_position` of the warehouse".to_owned())?;
    Ok(())
}

/// Writes down that the source goes on with another timeline, from where both have the same.
pub async fn switch(
    target: &mut PgConnection,
    slot: &str,
    before: &SourcePosition,
    after: &SourcePosition,
) -> Result<()> {
    sqlx::query(
        "UPDATE medallion.source_position
        SET timeline = $4, landed_to = $5, updated_at = now()
        WHERE slot = $1 AND state = 'streaming' AND timeline = $2 AND landed_to = $3",
    )
    .bind(slot)
    .bind(before.site.timeline)
    .bind(before.landed_to.0)
    .bind(after.site.timeline)
    .bind(after.landed_to.0)
    .execute(target)
    .await
    .map(drop)
    .during(|| "cannot write `medallion.source_position` of the warehouse".to_owned())
}

/// Writes down how far a batch has landed.
pub async fn write_landed(target: &mut PgConnection, slot: &str, position: &SourcePosition) -> Result<()> {
    let sql = format!(
        "UPDATE medallion.source_position SET
            landed_to = $2,
            last_lsn = $3,
            last_commit_ts = {},
            updated_at = now()
        WHERE slot = $1",
        SystemTime::to_sql("$4::bigint")
    );
    sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(slot)
        .bind(position.landed_to.0)
        .bind(position.last_lsn.0)
        .bind(position.last_time.0)
        .execute(target)
        .await
        .during(|| "cannot write `medallion.source_position` of the warehouse".to_owned())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_reads_as_postgresql_writes_it() {
        assert_eq!(Lsn(0x16_b374_d848).to_string(), "16/B374D848");
        assert_eq!(Lsn(0).to_string(), "0/0");
    }

    #[test]
    fn an_epoch_ends_where_positions_would_fall_back() {
        let first = Epoch::default();
        assert_eq!(first.above(Lsn(100), Lsn(101)), first);
        let second = first.above(Lsn(100), Lsn(40));
        assert_eq!(second, Epoch { offset: 61, begins: Lsn(101) });
        assert_eq!(second.place(Lsn(40)), Lsn(101));
        assert_eq!(second.above(Lsn(150), Lsn(90)), second);
    }

    #[test]
    fn a_fence_sees_what_had_ended() {
        let fence = Fence::read("100:105:100,103").expect("a fence");
        let seen: Vec<u32> = (98..107).filter(|xid| fence.sees(*xid)).collect();
        assert_eq!(seen, [98, 99, 101, 102, 104]);
    }

    #[test]
    fn a_fence_knows_the_epoch_of_an_id() {
        let start = 3_u64 << 32;
        let fence = Fence::read(&format!("{}:{}:", start + 2, start + 2)).expect("a fence");
        assert!(fence.sees(1));
        assert!(fence.sees(u32::MAX), "of the epoch before");
        assert!(!fence.sees(5));
        let fence = Fence::read(&format!("{}:{}:", start - 2, start - 2)).expect("a fence");
        assert!(!fence.sees(3), "of the epoch after");
    }

    #[test]
    fn no_fence_is_read_from_other_text() {
        for text in ["", "1", "1:2", "a:b:c", "1:2:x"] {
            assert_eq!(Fence::read(text), None, "{text}");
        }
    }
}
