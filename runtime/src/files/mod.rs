//! Lands files: each version of a file once, piece by piece, in one transaction each with how far it has got. A kill
//! leaves whole pieces, and the next round goes on behind them. What somebody is still writing waits; content that has
//! landed under another name is known by its checksum; lines that are no rows go into quarantine while the rest lands.
//!
//! The way: `storage` lists and fetches, from a directory or a `bucket`, `pattern` says which paths are meant and what
//! fields they tell, `read` takes a file apart, `piece` lands its rows, `registry` keeps which files have landed. Knows
//! nothing of silver but what its columns take.

mod bucket;
mod change_log;
mod http;
mod pattern;
mod piece;
mod read;
mod registry;
mod standing;
mod storage;

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use chrono::Utc;
use sha2::{Digest as _, Sha256};
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

pub use pattern::Pattern;
pub use standing::{Standing, standing, there};
pub use storage::{Fetched, Listed, Storage, VARIABLE};

use crate::capture::{self, Captured, Point, Progress, SystemTime};
use crate::descriptor::{Changed, Feed, Landing, Warehouse};
use crate::error::{During as _, Result};
use crate::land;
use piece::{Checks, Piece, Stage};
use read::{From, Records, Whole};
use registry::{Known, Moved, State, signed};

/// A file is left alone until nobody has written to it for so long.
pub const SETTLES_IN: Duration = Duration::from_secs(1);

/// What is landed at once, in rows and in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Portion {
    /// So many rows at most.
    pub rows: u64,
    /// And no more when they are so many bytes.
    pub bytes: u64,
}

impl Default for Portion {
    fn default() -> Self {
        Self { rows: 50_000, bytes: 16 << 20 }
    }
}

/// What is left to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// More of what was listed.
    Pieces,
    /// Nothing, until somebody looks again; what was written just now may be read after so long.
    Nothing {
        /// Where something was.
        settles_in: Option<Duration>,
    },
}

/// Lands files of a warehouse, piece by piece.
pub struct Feeder<'w> {
    warehouse: &'w Warehouse,
    storage: Storage,
    portion: Portion,
    /// What has been listed and not been looked at.
    queue: VecDeque<(&'w Landing, Listed, Option<Known>)>,
    /// What lands right now.
    open: Option<Open<'w>>,
    /// Files that wait, by landing table and path: as they were listed, and what is said of them.
    waiting: BTreeMap<(String, String), (Listed, String)>,
    settles_in: Option<Duration>,
}

/// A file of which there is more to land.
struct Open<'w> {
    landing: &'w Landing,
    checks: Checks,
    listed: Listed,
    version: i32,
    /// Whether its version is written down.
    begun: bool,
    content: Content,
    /// Which batch it says it is, where it does: then it lands as a whole.
    batch_id: Option<String>,
    /// Whether another version of it has landed, and its rows go by their order: then it lands as a whole too, for
    /// between two pieces its keys would be what they were some rows before.
    is_reread: bool,
    records: Box<dyn Records>,
    at: From,
    to: u64,
}

/// What a version's checksum is of.
enum Content {
    /// All of it.
    Whole(Vec<u8>),
    /// What has landed of it: it grows.
    Prefix { file: File, hash: Sha256, read: u64 },
}

/// Lands all files that are there.
pub async fn land(
    warehouse: &Warehouse,
    storage: Storage,
    target: &mut PgConnection,
    progress: &mut dyn Progress,
    captured: &mut Captured,
) -> Result<()> {
    let mut feeder = Feeder::new(warehouse, storage, Portion::default());
    // Once is enough: what is written all the time is never done.
    let mut waited = false;
    loop {
        match feeder.step(target, progress, captured).await? {
            Left::Pieces => {}
            Left::Nothing { settles_in: Some(time) } if !waited => {
                waited = true;
                tokio::time::sleep(time).await;
            }
            Left::Nothing { .. } => return Ok(()),
        }
    }
}

impl<'w> Feeder<'w> {
    /// Makes one.
    pub fn new(warehouse: &'w Warehouse, storage: Storage, portion: Portion) -> Self {
        Self {
            warehouse,
            storage,
            portion,
            queue: VecDeque::new(),
            open: None,
            waiting: BTreeMap::new(),
            settles_in: None,
        }
    }

    /// Looks which files there are, or lands the next piece of one.
    pub async fn step(
        &mut self,
        target: &mut PgConnection,
        progress: &mut dyn Progress,
        captured: &mut Captured,
    ) -> Result<Left> {
        if self.open.is_none() {
            if self.queue.is_empty() {
                self.list(target, captured).await?;
            }
            if let Some((landing, listed, known)) = self.queue.pop_front() {
                self.open = self.look(landing, listed, known, target, captured).await?;
            }
        }
        if let Some(open) = self.open.take() {
            self.open = self.land_piece(open, target, progress, captured).await?;
        }
        Ok(match self.open.is_none() && self.queue.is_empty() {
            true => Left::Nothing { settles_in: self.settles_in },
            false => Left::Pieces,
        })
    }

    /// Lists what is there and has not landed as it is, in the order in which it was written.
    async fn list(&mut self, target: &mut PgConnection, captured: &mut Captured) -> Result<()> {
        self.settles_in = None;
        let now = Utc::now();
        let mut still = BTreeMap::new();
        for landing in &self.warehouse.landings {
            let Some(feed) = landing.feed() else { continue };
            let known = registry::known(target, landing).await?;
            let (mut listed, passed_by) = self.storage.list(&Pattern::new(&feed.path)).await?;
            passed_by.into_iter().for_each(|said| captured.finding(said));
            listed.sort_by(|one, other| (one.modified, &one.path).cmp(&(other.modified, &other.path)));
            for file in listed {
                let known = known.get(&file.path);
                if known.is_some_and(|known| known.state != State::Landing && known.is_as_listed(&file)) {
                    continue;
                }
                let name = (landing.table.to_string(), file.path.clone());
                match self.waiting.remove(&name) {
                    Some((as_before, said)) if as_before.is_same(&file) => {
                        captured.finding(said.clone());
                        still.insert(name, (as_before, said));
                        continue;
                    }
                    _ => {}
                }
                let age = (now - file.modified).to_std().unwrap_or(SETTLES_IN);
                if age < SETTLES_IN && !self.storage.puts_whole() {
                    let left = SETTLES_IN - age;
                    self.settles_in = Some(self.settles_in.map_or(left, |longest| longest.max(left)));
                    continue;
                }
                self.queue.push_back((landing, file, known.cloned()));
            }
        }
        self.waiting = still;
        Ok(())
    }

    /// Fetches a file, and finds what is to be landed of it.
    async fn look(
        &mut self,
        landing: &'w Landing,
        listed: Listed,
        known: Option<Known>,
        target: &mut PgConnection,
        captured: &mut Captured,
    ) -> Result<Option<Open<'w>>> {
        let Some(feed) = landing.feed() else { return Ok(None) };
        let Some(mut fetched) = self.storage.fetch(&listed).await? else {
            captured.finding(format!("the file `{}` waits: somebody is writing it", listed.path));
            return Ok(None);
        };
        let to = match read::whole(feed, &mut fetched.file, fetched.size)? {
            Whole::To(to) => to,
            // What was put at once is all there is: its last line is a line as any.
            Whole::Cut(_) if self.storage.puts_whole() && feed.format.is_of_lines() => fetched.size,
            Whole::Cut(why) if !self.storage.puts_whole() => {
                self.wait(landing, listed, &format!("waits: {why}"), captured);
                return Ok(None);
            }
            Whole::Cut(why) | Whole::Unfit(why) => {
                self.wait(landing, listed, &format!("cannot be read: {why}"), captured);
                return Ok(None);
            }
        };
        let checks = Checks::of(self.warehouse, landing, target).await?;
        if feed.changed == Changed::Grown {
            return grown(landing, feed, checks, listed, known, fetched, to, target).await;
        }
        let same = known.as_ref().filter(|known| known.content == fetched.content);
        if let Some(same) = same {
            if same.state != State::Landing {
                registry::seen(target, landing, &listed, same.version, same.state).await?;
                return Ok(None);
            }
        } else {
            let version = known.as_ref().map_or(1, |known| known.version + 1);
            if let (Some(_), Changed::Refused) = (&known, feed.changed) {
                let what = "has landed, and is another one now: the spec says that files do not change";
                self.wait(landing, listed, what, captured);
                return Ok(None);
            }
            if let Some(from) = registry::twin(target, landing, &listed, &fetched.content).await? {
                registry::begin_copy(target, landing, &listed, version, &fetched.content, from).await?;
                return Ok(None);
            }
        }
        let at =
            same.map_or_else(From::default, |known| From { position: known.position, lines: known.lines });
        let version = match (same, &known) {
            (Some(same), _) => same.version,
            (None, known) => known.as_ref().map_or(1, |known| known.version + 1),
        };
        let begun = same.is_some();
        let batch_id = read::batch_id(feed, &mut fetched.file)?;
        let records = read::records(feed, &listed.fields, fetched.file, at, to)?;
        let content = Content::Whole(fetched.content);
        let is_reread = version > 1 && checks.go_by_order();
        Ok(Some(Open {
            landing,
            checks,
            listed,
            version,
            begun,
            content,
            batch_id,
            is_reread,
            records,
            at,
            to,
        }))
    }

    fn wait(&mut self, landing: &Landing, listed: Listed, what: &str, captured: &mut Captured) {
        let said = format!("the file `{}` {what}", listed.path);
        captured.finding(said.clone());
        self.waiting.insert((landing.table.to_string(), listed.path.clone()), (listed, said));
    }

    /// Lands the next piece; gives the file back where there is more of it.
    async fn land_piece(
        &mut self,
        mut open: Open<'w>,
        target: &mut PgConnection,
        progress: &mut dyn Progress,
        captured: &mut Captured,
    ) -> Result<Option<Open<'w>>> {
        let landing = open.landing;
        let unlanded = || "cannot land a piece of a file in one transaction of the warehouse".to_owned();
        let mut target = target.begin().await.during(unlanded)?;
        land::late::begin(&mut target).await?;
        let lsn = capture::beside::take(self.warehouse, &mut target).await?;
        let mut passed = 0;
        if !open.begun {
            let content = open.content.checksum();
            registry::begin(&mut target, landing, &open.listed, open.version, &content).await?;
            passed =
                open.at.lines.saturating_sub(u64::from(landing.feed().is_some_and(Feed::begins_with_names)));
        }
        if let Some(batch_id) = &open.batch_id {
            let path = &open.listed.path;
            change_log::name_batch(&mut target, landing, path, open.version, batch_id).await?;
        }
        let portion = match open.batch_id.is_some() || open.is_reread {
            true => Portion { rows: u64::MAX, bytes: u64::MAX },
            false => self.portion,
        };
        let (mut read, mut bytes, mut ended) = (0, 0, false);
        let mut stage = Stage::begin(&mut target).await?;
        while read < portion.rows && bytes < portion.bytes {
            let Some(record) = open.records.next()? else {
                ended = true;
                break;
            };
            stage.push(&record).await?;
            read += 1;
            bytes += record.row.len();
            open.at = From { position: record.end, lines: record.line };
        }
        stage.finish().await?;
        let path = open.listed.path.as_str();
        // A time of the future would be the warehouse's own from then on.
        let written = SystemTime::of(open.listed.modified);
        let capped = written.capped();
        let time = capped.unwrap_or(written).0;
        let is_reread = open.is_reread;
        let piece = Piece { landing, checks: &open.checks, path, time, lsn, is_reread };
        let landed = match read {
            0 => piece::Landed::default(),
            _ => piece.land(&mut target).await?,
        };
        if ended {
            open.at.position = open.to;
        }
        open.content.move_to(open.at.position)?;
        let moved = Moved {
            position: open.at.position,
            lines: open.at.lines,
            rows: landed.rows,
            known: landed.known + passed,
            quarantined: landed.quarantined,
            lsn,
        };
        let state = if ended { State::Landed } else { State::Landing };
        registry::move_on(&mut target, landing, path, open.version, &moved, state, &open.content.checksum())
            .await?;
        progress.reached(Point::BatchCopied)?;
        target.commit().await.during(unlanded)?;
        if ended && capped.is_some() {
            captured.finding(format!(
                "the file `{path}` was written more than 5 minutes ahead of this clock: its system time is capped"
            ));
        }
        if let Some((line, why)) = landed.first_problem {
            captured.finding(format!(
                "lines of the file `{path}` that are no rows are kept in `medallion.quarantine` and not in `{}`: {}, \
                 first line {line}: {why}",
                landing.table, landed.quarantined
            ));
        }
        if landed.rows > 0 {
            captured.landed(&landing.table, landed.rows);
            progress.landed(&landing.table, landed.rows);
        }
        progress.reached(Point::BatchLanded)?;
        open.begun = true;
        Ok((!ended).then_some(open))
    }
}

/// What is to be landed of a file that grows: what it has behind where it ended. A file that does not begin as it did
/// is another one: logs are moved away and begun anew. One that begins as another had landed was moved away with
/// lines that nobody had read.
#[expect(clippy::too_many_arguments, reason = "all that is known of a file")]
async fn grown<'w>(
    landing: &'w Landing,
    feed: &'w Feed,
    checks: Checks,
    listed: Listed,
    known: Option<Known>,
    fetched: Fetched,
    to: u64,
    target: &mut PgConnection,
) -> Result<Option<Open<'w>>> {
    let mut content = Content::prefix(&listed, fetched.file.try_clone().during(unread)?);
    let mut goes_on = None;
    if let Some(known) = known.as_ref().filter(|known| known.position <= to) {
        content.move_to(known.position)?;
        goes_on = (content.checksum() == known.content).then_some(known);
    }
    let version = match (goes_on, &known) {
        (Some(known), _) => known.version,
        (None, known) => known.as_ref().map_or(1, |known| known.version + 1),
    };
    let at = match goes_on {
        Some(known) => {
            registry::seen(target, landing, &listed, version, State::Landing).await?;
            From { position: known.position, lines: known.lines }
        }
        None => {
            let mut from = From::default();
            content.begin_again(&listed);
            for end in registry::ends(target, landing, &listed.path, to).await? {
                content.move_to(end.position)?;
                if content.checksum() == end.content {
                    from = From { position: end.position, lines: end.lines };
                }
            }
            content.move_to(to)?;
            if from.position == to && to > 0 {
                let lines = (signed(from.position), signed(from.lines));
                registry::begin_copy(target, landing, &listed, version, &content.checksum(), lines).await?;
                return Ok(None);
            }
            content.begin_again(&listed);
            content.move_to(from.position)?;
            from
        }
    };
    let records = read::records(feed, &listed.fields, fetched.file, at, to)?;
    let begun = goes_on.is_some();
    let (batch_id, is_reread) = (None, false);
    Ok(Some(Open { landing, checks, listed, version, begun, content, batch_id, is_reread, records, at, to }))
}

/// Bytes as they are shown.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn unread() -> String {
    "cannot read what was kept of a file".to_owned()
}

impl Content {
    /// The checksum of what has landed so far.
    fn checksum(&self) -> Vec<u8> {
        match self {
            Self::Whole(content) => content.clone(),
            Self::Prefix { hash, .. } => hash.clone().finalize().to_vec(),
        }
    }

    fn prefix(listed: &Listed, file: File) -> Self {
        Self::Prefix { file, hash: listed.hash(), read: 0 }
    }

    /// As if nothing had landed.
    fn begin_again(&mut self, listed: &Listed) {
        if let Self::Prefix { hash, read, .. } = self {
            (*hash, *read) = (listed.hash(), 0);
        }
    }

    /// Takes in what stands up to a place.
    fn move_to(&mut self, to: u64) -> Result<()> {
        let Self::Prefix { file, hash, read } = self else { return Ok(()) };
        let mut buffer = vec![0; 256 << 10];
        while *read < to {
            let most = usize::try_from(to - *read).unwrap_or(usize::MAX).min(buffer.len());
            let got = file.read_at(&mut buffer[..most], *read).during(unread)?;
            if got == 0 {
                break;
            }
            hash.update(&buffer[..got]);
            *read += got as u64;
        }
        Ok(())
    }
}
