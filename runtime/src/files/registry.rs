//! Which files have landed, and how much of them: `medallion.landed_file`. It moves in the transaction that lands their
//! rows. Knows no storage and no row.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::Row as _;
use sqlx::postgres::{PgConnection, PgRow};

use super::storage::Listed;
use crate::descriptor::Landing;
use crate::error::{During as _, Result};

/// The last version of a file that was looked at.
#[derive(Clone, Debug)]
pub struct Known {
    /// Which one it is.
    pub version: i32,
    /// How far it has landed.
    pub state: State,
    /// How many bytes it had.
    pub size: u64,
    /// When it was last written.
    pub modified: DateTime<Utc>,
    /// What its storage calls it.
    pub etag: Option<String>,
    /// The checksum of its content.
    pub content: Vec<u8>,
    /// How many bytes have landed.
    pub position: u64,
    /// How many lines.
    pub lines: u64,
}

/// How far a version of a file has landed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not all of it.
    Landing,
    /// All of it.
    Landed,
    /// Nothing: another file had the same content.
    Copy,
    /// A part of it, before it became another one.
    Replaced,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Landing => "landing",
            Self::Landed => "landed",
            Self::Copy => "copy",
            Self::Replaced => "replaced",
        }
    }

    fn of(word: &str) -> Self {
        match word {
            "landed" => Self::Landed,
            "copy" => Self::Copy,
            "replaced" => Self::Replaced,
            _ => Self::Landing,
        }
    }
}

impl Known {
    /// Whether a file is listed as it was when it was last looked at.
    pub fn is_as_listed(&self, listed: &Listed) -> bool {
        (self.size, self.modified) == (listed.size, micros(listed.modified)) && self.etag == listed.etag
    }
}

/// A time as the warehouse keeps it.
fn micros(time: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(time.timestamp_micros()).unwrap_or(time)
}

fn unread() -> String {
    "cannot read `medallion.landed_file` of the warehouse".to_owned()
}

fn unwritten() -> String {
    "cannot write `medallion.landed_file` of the warehouse".to_owned()
}

/// The last version known of each file of a landing table, by its path.
pub async fn known(target: &mut PgConnection, landing: &Landing) -> Result<BTreeMap<String, Known>> {
    let rows = sqlx::query(
        "SELECT DISTINCT ON (path)
            path, version, state, size, (extract(epoch FROM modified) * 1000000)::bigint AS modified, etag, content,
            position, lines
        FROM medallion.landed_file
        WHERE landing = $1
        ORDER BY path, version DESC",
    )
    .bind(landing.table.to_string())
    .fetch_all(target)
    .await
    .during(unread)?;
    rows.iter().map(|row| Ok((row.try_get("path").during(unread)?, read(row).during(unread)?))).collect()
}

fn read(row: &PgRow) -> Result<Known, sqlx::Error> {
    let number = |name: &str| row.try_get::<i64, _>(name).map(|number| u64::try_from(number).unwrap_or(0));
    Ok(Known {
        version: row.try_get("version")?,
        state: State::of(row.try_get("state")?),
        size: number("size")?,
        modified: DateTime::from_timestamp_micros(row.try_get("modified")?).unwrap_or_default(),
        etag: row.try_get("etag")?,
        content: row.try_get("content")?,
        position: number("position")?,
        lines: number("lines")?,
    })
}

/// How far another file of the landing table had come that has landed with the same content: bytes and lines. Where rows
/// tell no time and one that says something else was written in between, the same said once more is news.
pub async fn twin(
    target: &mut PgConnection,
    landing: &Landing,
    listed: &Listed,
    content: &[u8],
) -> Result<Option<(i64, i64)>> {
    let is_timed = landing.feed().is_some_and(|feed| feed.time_field().is_some());
    sqlx::query_as(
        "SELECT twin.position, twin.lines
        FROM medallion.landed_file AS twin
        WHERE twin.landing = $1 AND twin.content = $2 AND twin.state = 'landed' AND twin.path <> $3
        AND ($4 OR NOT EXISTS (
            SELECT
            FROM medallion.landed_file AS other
            WHERE other.landing = $1 AND other.state <> 'copy' AND other.content <> $2
            AND other.modified > twin.modified AND other.modified < $5
        ))
        ORDER BY twin.began_at
        LIMIT 1",
    )
    .bind(landing.table.to_string())
    .bind(content)
    .bind(&listed.path)
    .bind(is_timed)
    .bind(listed.modified)
    .fetch_optional(target)
    .await
    .during(unread)
}

/// How far a version of a file that grows has landed.
pub struct End {
    /// How many bytes.
    pub position: u64,
    /// How many lines.
    pub lines: u64,
    /// The checksum of these bytes.
    pub content: Vec<u8>,
}

/// How far other files of the landing table that grow have landed, up to so many bytes; the shortest first.
pub async fn ends(target: &mut PgConnection, landing: &Landing, path: &str, most: u64) -> Result<Vec<End>> {
    let rows = sqlx::query(
        "SELECT DISTINCT position, lines, content
        FROM medallion.landed_file
        WHERE landing = $1 AND path <> $2 AND position BETWEEN 1 AND $3
        ORDER BY position",
    )
    .bind(landing.table.to_string())
    .bind(path)
    .bind(signed(most))
    .fetch_all(target)
    .await
    .during(unread)?;
    let end = |row: &PgRow| {
        let number =
            |name: &str| row.try_get::<i64, _>(name).map(|number| u64::try_from(number).unwrap_or(0));
        let (position, lines) = (number("position")?, number("lines")?);
        Ok(End { position, lines, content: row.try_get("content")? })
    };
    rows.iter().map(end).collect::<Result<_, sqlx::Error>>().during(unread)
}

/// Writes down a version of a file of which nothing has landed so far.
pub async fn begin(
    target: &mut PgConnection,
    landing: &Landing,
    listed: &Listed,
    version: i32,
    content: &[u8],
) -> Result<()> {
    write(target, landing, listed, version, (State::Landing, content), (0, 0)).await
}

/// Writes down a version of a file that is as another one was: so far as that had come nothing of it lands.
pub async fn begin_copy(
    target: &mut PgConnection,
    landing: &Landing,
    listed: &Listed,
    version: i32,
    content: &[u8],
    from: (i64, i64),
) -> Result<()> {
    write(target, landing, listed, version, (State::Copy, content), from).await
}

/// Where a version before had not landed as a whole, it never will.
async fn write(
    target: &mut PgConnection,
    landing: &Landing,
    listed: &Listed,
    version: i32,
    (state, content): (State, &[u8]),
    (position, lines): (i64, i64),
) -> Result<()> {
    sqlx::query(
        "UPDATE medallion.landed_file
        SET state = 'replaced', updated_at = now()
        WHERE landing = $1 AND path = $2 AND version < $3 AND state = 'landing'",
    )
    .bind(landing.table.to_string())
    .bind(&listed.path)
    .bind(version)
    .execute(&mut *target)
    .await
    .during(unwritten)?;
    sqlx::query(
        "INSERT INTO medallion.landed_file
            (landing, path, version, state, size, modified, etag, content, position, lines)
        VALUES ($1, $2, $3, $4, $5, to_timestamp(0) + $6 * interval '1 microsecond', $7, $8, $9, $10)",
    )
    .bind(landing.table.to_string())
    .bind(&listed.path)
    .bind(version)
    .bind(state.word())
    .bind(signed(listed.size))
    .bind(listed.modified.timestamp_micros())
    .bind(&listed.etag)
    .bind(content)
    .bind(position)
    .bind(lines)
    .execute(target)
    .await
    .during(unwritten)?;
    Ok(())
}

/// Writes down that a file is listed otherwise, with the content that it had, or of which it has more to land.
pub async fn seen(
    target: &mut PgConnection,
    landing: &Landing,
    listed: &Listed,
    version: i32,
    state: State,
) -> Result<()> {
    sqlx::query(
        "UPDATE medallion.landed_file
        SET
            size = $4,
            modified = to_timestamp(0) + $5 * interval '1 microsecond',
            etag = $6,
            state = $7,
            updated_at = now()
        WHERE landing = $1 AND path = $2 AND version = $3",
    )
    .bind(landing.table.to_string())
    .bind(&listed.path)
    .bind(version)
    .bind(signed(listed.size))
    .bind(listed.modified.timestamp_micros())
    .bind(&listed.etag)
    .bind(state.word())
    .execute(target)
    .await
    .during(unwritten)?;
    Ok(())
}

/// What a piece of a file has brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// How many bytes have landed by now.
    pub position: u64,
    /// How many lines.
    pub lines: u64,
    /// How many rows landed with this piece.
    pub rows: u64,
    /// How many were known already.
    pub known: u64,
    /// How many lines are in quarantine.
    pub quarantined: u64,
    /// The position in bronze of what landed.
    pub lsn: i64,
}

/// Writes down how far a file has landed; of one that grows, with the content up to there.
pub async fn move_on(
    target: &mut PgConnection,
    landing: &Landing,
    path: &str,
    version: i32,
    moved: &Moved,
    state: State,
    content: &[u8],
) -> Result<()> {
    sqlx::query(
        "UPDATE medallion.landed_file
        SET
            state = $10,
            content = $11,
            position = $4,
            lines = $5,
            rows = rows + $6,
            known = known + $7,
            quarantined = quarantined + $8,
            first_lsn = CASE WHEN $6 + $8 > 0 THEN coalesce(first_lsn, $9) ELSE first_lsn END,
            last_lsn = CASE WHEN $6 + $8 > 0 THEN $9 ELSE last_lsn END,
            updated_at = now()
        WHERE landing = $1 AND path = $2 AND version = $3",
    )
    .bind(landing.table.to_string())
    .bind(path)
    .bind(version)
    .bind(signed(moved.position))
    .bind(signed(moved.lines))
    .bind(signed(moved.rows))
    .bind(signed(moved.known))
    .bind(signed(moved.quarantined))
    .bind(moved.lsn)
    .bind(state.word())
    .bind(content)
    .execute(target)
    .await
    .during(unwritten)?;
    Ok(())
}

pub fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
