//! Puts changes into landing tables by COPY: rows are written as PostgreSQL's binary format into chunks, and
//! chunks of any landing tables flow into one warehouse transaction; what is not whole goes through a stage
//! (`staged`). Knows nothing of where changes come from.

pub mod compared;
pub mod late;
pub mod polled;
pub mod staged;

use futures_util::StreamExt as _;
use sqlx::postgres::{PgConnection, PgCopyIn};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{Receiver, Sender};

use crate::descriptor::{Landing, Name};
use crate::error::{During as _, Error, Result};
use crate::quote;

/// What was done to a row at the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// It came.
    Insert,
    /// It changed.
    Update,
    /// It went.
    Delete,
    /// All rows went.
    Truncate,
}

impl Op {
    fn letter(self) -> u8 {
        match self {
            Self::Insert => b'I',
            Self::Update => b'U',
            Self::Delete => b'D',
            Self::Truncate => b'T',
        }
    }
}

/// Where a change stands: all of a landed row but the row itself.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The commit position of its transaction.
    pub lsn: i64,
    /// Its ordinal within the transaction.
    pub seq: i64,
    /// The transaction's system time, in microseconds since 2000.
    pub time: i64,
}

/// The columns that are copied, in this order; the rest have defaults.
const COLUMNS: &str = "lsn, op, full_row, commit_ts, seq";
const HEADER: &[u8; 19] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const TRAILER: &[u8; 2] = b"\xff\xff";

/// The statement that takes rows of a landing table.
pub fn copy_in(landing: &Name) -> String {
    format!("COPY {} ({COLUMNS}) FROM STDIN (FORMAT binary)", quote::name(landing))
}

/// The statement that gives rows for [`copy_in`]; the query has the same columns.
pub fn copy_out(query: &str) -> String {
    format!("COPY ({query}) TO STDOUT (FORMAT binary)")
}

/// Rows in the binary format, without header and trailer.
#[derive(Debug, Default)]
pub struct Rows {
    bytes: Vec<u8>,
}

impl Rows {
    /// Goes on in a buffer that has served before.
    pub fn reuse(mut bytes: Vec<u8>) -> Self {
        bytes.clear();
        Self { bytes }
    }

    /// How many bytes they take.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// What they are in COPY's binary format.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Appends a row, its JSON written in place; nothing where that fails.
    pub fn push<E>(
        &mut self,
        place: Place,
        op: Op,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let start = self.bytes.len();
        self.begin(place, op);
        let length_at = self.bytes.len();
        // The length comes when it is known; a binary jsonb starts with its version.
        self.bytes.extend_from_slice(&[0, 0, 0, 0, 1]);
        if let Err(error) = write(&mut self.bytes) {
            self.bytes.truncate(start);
            return Err(error);
        }
        self.set_length(length_at);
        self.end(place);
        Ok(())
    }

    /// Appends a row that has no JSON.
    pub fn push_null(&mut self, place: Place, op: Op) {
        self.begin(place, op);
        self.bytes.extend_from_slice(&(-1_i32).to_be_bytes());
        self.end(place);
    }

    /// Appends a row for the stage, its JSON written in place; nothing where that fails.
    pub fn push_staged<E>(
        &mut self,
        place: Place,
        op: Op,
        row: &Unfinished<'_>,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&staged::COLUMN_COUNT.to_be_bytes());
        self.field(&i32::try_from(row.landing).unwrap_or(i32::MAX).to_be_bytes());
        self.long(place.lsn);
        self.long(place.seq);
        self.field(&[op.letter()]);
        self.long(place.time);
        self.field(&[u8::from(row.follows == Follows::KeyBefore)]);
        self.measured(|out| {
            out.push(1);
            out.extend_from_slice(row.key);
        });
        let length_at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        if let Err(error) = write(&mut self.bytes) {
            self.bytes.truncate(start);
            return Err(error);
        }
        self.set_length(length_at);
        self.measured(|out| texts(row.missing, out));
        Ok(())
    }

    fn field(&mut self, value: &[u8]) {
        self.measured(|out| out.extend_from_slice(value));
    }

    /// A field whose length is known when it stands.
    fn measured(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let length_at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        write(&mut self.bytes);
        self.set_length(length_at);
    }

    fn set_length(&mut self, length_at: usize) {
        let length = i32::try_from(self.bytes.len() - length_at - 4).unwrap_or(i32::MAX);
        self.bytes[length_at..length_at + 4].copy_from_slice(&length.to_be_bytes());
    }

    fn begin(&mut self, place: Place, op: Op) {
        self.bytes.extend_from_slice(&5_i16.to_be_bytes());
        self.long(place.lsn);
        self.bytes.extend_from_slice(&1_i32.to_be_bytes());
        self.bytes.push(op.letter());
    }

    fn end(&mut self, place: Place) {
        self.long(place.time);
        self.long(place.seq);
    }

    fn long(&mut self, value: i64) {
        self.bytes.extend_from_slice(&8_i32.to_be_bytes());
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }
}

/// What a row for the stage has beside its change.
#[derive(Clone, Copy, Debug)]
pub struct Unfinished<'a> {
    /// Which landing table it is for, by its place in the list.
    pub landing: usize,
    /// Its key's columns, as a JSON object.
    pub key: &'a [u8],
    /// The columns whose values are those of the version before.
    pub missing: &'a [&'a str],
    /// Which version that is.
    pub follows: Follows,
}

/// Whose version before a row takes values from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follows {
    /// That of its own key.
    OwnKey,
    /// The row right before it in its transaction: the delete of the key that it had.
    KeyBefore,
}

/// An array of text in PostgreSQL's binary format.
fn texts(values: &[&str], out: &mut Vec<u8>) {
    const TEXT: u32 = 25;
    out.extend_from_slice(&u32::from(!values.is_empty()).to_be_bytes());
    out.extend_from_slice(&0_u32.to_be_bytes());
    out.extend_from_slice(&TEXT.to_be_bytes());
    if values.is_empty() {
        return;
    }
    out.extend_from_slice(&u32::try_from(values.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(&1_u32.to_be_bytes());
    for value in values {
        out.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(value.as_bytes());
    }
}

/// Where a chunk goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// Into a landing table, by its place in the list.
    Landing(usize),
    /// Onto the stage.
    Stage,
}

/// Rows on their way.
#[derive(Debug)]
pub struct Chunk {
    /// Where they go.
    pub to: To,
    /// The rows.
    pub rows: Rows,
    /// The room that they take, given up when they have been copied.
    pub room: Option<OwnedSemaphorePermit>,
}

/// What has been copied.
#[derive(Debug)]
pub struct Copied {
    /// The rows of each landing table.
    pub landed: Vec<u64>,
    /// The rows on the stage.
    pub staged: u64,
}

/// Buffers above this size are not kept for another use.
const KEPT: usize = 4 << 20;

/// Copies chunks, the first of which may be there already, until no more come. Chunks to the same place that follow one another go into one COPY. Used
/// buffers go back for another use.
pub async fn land(
    target: &mut PgConnection,
    landings: &[Landing],
    first: Option<Chunk>,
    mut chunks: Receiver<Chunk>,
    used: Sender<Vec<u8>>,
) -> Result<Copied> {
    let mut copied = Copied { landed: vec![0; landings.len()], staged: 0 };
    let mut next = match first {
        Some(first) => Some(first),
        None => chunks.recv().await,
    };
    while let Some(first) = next {
        let to = first.to;
        let failed = || match to {
            To::Landing(at) => {
                format!("cannot land changes of `{}` in `{}`", landings[at].source, landings[at].table)
            }
            To::Stage => unstaged(),
        };
        let statement = match to {
            To::Landing(at) => copy_in(&landings[at].table),
            To::Stage => {
                staged::prepare(target).await?;
                staged::copy_in()
            }
        };
        let mut copy = target.copy_in_raw(&statement).await.during(failed)?;
        copy.send(&HEADER[..]).await.during(failed)?;
        let mut chunk = Some(first);
        next = loop {
            let Some(Chunk { rows, room, .. }) = chunk.take() else {
                break None;
            };
            copy.send(&rows.bytes[..]).await.during(failed)?;
            drop(room);
            if rows.bytes.capacity() <= KEPT {
                // Nobody may be waiting for it any more.
                let _ = used.try_send(rows.bytes);
            }
            match chunks.recv().await {
                Some(more) if more.to == to => chunk = Some(more),
                other => break other,
            }
        };
        copy.send(&TRAILER[..]).await.during(failed)?;
        let rows = copy.finish().await.during(failed)?;
        match to {
            To::Landing(at) => copied.landed[at] += rows,
            To::Stage => copied.staged += rows,
        }
    }
    Ok(copied)
}

/// How much is gathered before it is sent on.
const PIPED: usize = 256 << 10;

/// A COPY onto the stage that is fed row by row.
pub struct StageCopy<'a> {
    copy: PgCopyIn<&'a mut PgConnection>,
    rows: Rows,
}

impl<'a> StageCopy<'a> {
    /// Begins it.
    pub async fn begin(target: &'a mut PgConnection) -> Result<Self> {
        staged::prepare(target).await?;
        let mut copy = target.copy_in_raw(&staged::copy_in()).await.during(unstaged)?;
        copy.send(&HEADER[..]).await.during(unstaged)?;
        Ok(Self { copy, rows: Rows::default() })
    }

    /// Adds a row, its JSON as text.
    pub async fn push(
        &mut self,
        place: Place,
        op: Op,
        unfinished: &Unfinished<'_>,
        full_row: &str,
    ) -> Result<()> {
        let written = self.rows.push_staged(place, op, unfinished, |out| {
            out.extend_from_slice(full_row.as_bytes());
            Ok::<(), std::convert::Infallible>(())
        });
        match written {
            Ok(()) => {}
            Err(never) => match never {},
        }
        if self.rows.len() >= PIPED {
            self.copy.send(self.rows.bytes()).await.during(unstaged)?;
            self.rows = Rows::reuse(std::mem::take(&mut self.rows).bytes);
        }
        Ok(())
    }

    /// Ends it.
    pub async fn finish(mut self) -> Result<u64> {
        self.copy.send(self.rows.bytes()).await.during(unstaged)?;
        self.copy.send(&TRAILER[..]).await.during(unstaged)?;
        self.copy.finish().await.during(unstaged)
    }
}

fn unstaged() -> String {
    "cannot stage changes in the warehouse".to_owned()
}

/// Streams the rows of a query of one database into a table of another, without looking at them.
pub async fn pipe(
    source: &mut PgConnection,
    copy_out: &str,
    target: &mut PgConnection,
    copy_in: &str,
    what: &str,
) -> Result<u64> {
    let failed = || format!("cannot copy {what}");
    let mut rows = source.copy_out_raw(copy_out).await.during(failed)?;
    let mut copy = target.copy_in_raw(copy_in).await.during(failed)?;
    let mut buffer = Vec::with_capacity(PIPED);
    loop {
        match rows.next().await {
            Some(Ok(bytes)) => {
                buffer.extend_from_slice(&bytes);
                if buffer.len() >= PIPED {
                    copy.send(&buffer[..]).await.during(failed)?;
                    buffer.clear();
                    buffer.shrink_to(KEPT);
                }
            }
            Some(Err(cause)) => {
                // The source's error is the one to tell.
                let _ = copy.abort("the source failed").await;
                return Err(Error::new(failed()).because(cause));
            }
            None => break,
        }
    }
    copy.send(&buffer[..]).await.during(failed)?;
    copy.finish().await.during(failed)
}

/// Whether an error says that a value is one that `jsonb` cannot hold, such as `\u0000`.
pub fn is_of_data(error: &Error) -> bool {
    error.sqlstate().is_some_and(|state| state.starts_with("22") || state.starts_with("54"))
}
