//! Puts changes into landing tables by COPY: rows are written as PostgreSQL's binary format into chunks, and
//! chunks of any landing tables flow into one warehouse transaction. Knows nothing of where changes come from.

use futures_util::StreamExt as _;
use sqlx::postgres::PgConnection;
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
        let length = i32::try_from(self.bytes.len() - length_at - 4).unwrap_or(i32::MAX);
        self.bytes[length_at..length_at + 4].copy_from_slice(&length.to_be_bytes());
        self.end(place);
        Ok(())
    }

    /// Appends a row that has no JSON.
    pub fn push_null(&mut self, place: Place, op: Op) {
        self.begin(place, op);
        self.bytes.extend_from_slice(&(-1_i32).to_be_bytes());
        self.end(place);
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

/// Rows on their way to a landing table.
#[derive(Debug)]
pub struct Chunk {
    /// Which landing table, by its place in the list.
    pub landing: usize,
    /// The rows.
    pub rows: Rows,
}

/// Buffers above this size are not kept for another use.
const KEPT: usize = 4 << 20;

/// Copies chunks until no more come; gives the number of rows of each landing table. Chunks of the same
/// table that follow one another go into one COPY. Used buffers go back for another use.
pub async fn land(
    target: &mut PgConnection,
    landings: &[Landing],
    mut chunks: Receiver<Chunk>,
    used: Sender<Vec<u8>>,
) -> Result<Vec<u64>> {
    let mut landed = vec![0; landings.len()];
    let mut next = chunks.recv().await;
    while let Some(first) = next {
        let at = first.landing;
        let table = &landings[at].table;
        let failed = || format!("cannot land changes of `{}` in `{table}`", landings[at].source);
        let mut copy = target.copy_in_raw(&copy_in(table)).await.during(failed)?;
        copy.send(&HEADER[..]).await.during(failed)?;
        let mut chunk = Some(first);
        next = loop {
            let Some(Chunk { rows, .. }) = chunk.take() else {
                break None;
            };
            copy.send(&rows.bytes[..]).await.during(failed)?;
            if rows.bytes.capacity() <= KEPT {
                // Nobody may be waiting for it any more.
                let _ = used.try_send(rows.bytes);
            }
            match chunks.recv().await {
                Some(more) if more.landing == at => chunk = Some(more),
                other => break other,
            }
        };
        copy.send(&TRAILER[..]).await.during(failed)?;
        landed[at] += copy.finish().await.map_err(|cause| refused(cause, failed()))?;
    }
    Ok(landed)
}

/// How much is gathered before it is sent on.
const PIPED: usize = 256 << 10;

/// Streams the rows of a query of one database into a table of another, without looking at them.
pub async fn pipe(
    source: &mut PgConnection,
    copy_out: &str,
    target: &mut PgConnection,
    copy_in: &str,
    what: &str,
) -> Result<u64> {
    let failed = || format!("cannot copy {what}");
    let mut rows = source.copy_out_raw(copy_out).await.map_err(|cause| refused(cause, failed()))?;
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
                return Err(refused(cause, failed()));
            }
            None => break,
        }
    }
    copy.send(&buffer[..]).await.during(failed)?;
    copy.finish().await.map_err(|cause| refused(cause, failed()))
}

/// An error of COPY; a value that `jsonb` cannot hold has a remedy of its own.
fn refused(cause: sqlx::Error, what: String) -> Error {
    let state = cause.as_database_error().and_then(|error| error.code().map(|code| code.into_owned()));
    let data = state.is_some_and(|state| state.starts_with("22") || state.starts_with("54"));
    let error = Error::new(what).because(cause);
    if data {
        error.remedy(
            "a json value holds what jsonb cannot (such as `\\u0000`): change it at the source, or leave \
             the column out of the publication",
        )
    } else {
        error
    }
}
