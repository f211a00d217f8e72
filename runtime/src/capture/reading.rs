//! Reads a batch from a feed and sends its rows on, as they are decoded, to where they land. What is on its way is
//! bounded by its bytes, so that the source is read ahead of the landing and memory stays flat. Knows no transaction
//! of the warehouse.

use std::collections::BTreeSet;
use std::sync::Arc;

use sqlx::postgres::PgConnection;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::oneshot;

use super::decoder::{Care, Decoder, Fed};
use super::feed::{Feed, Taker};
use super::pgoutput::{Message, Relation};
use super::position::{Lsn, SourcePosition};
use super::preflight::{Ready, SourceTable};
use super::source_type::SourceTypes;
use crate::descriptor::Landing;
use crate::error::{Error, Result};
use crate::land::{Chunk, To};

/// How many messages are asked for at a time. The source never splits a transaction, and decodes from where its
/// slot's oldest transaction began each time it is asked, so small batches cost dearly: a transaction of one row is
/// three messages.
pub const BATCH: u64 = 1_000_000;

/// All that there are: the most that can be asked for.
pub const ALL: u64 = 2_147_483_647;

/// How many kilobytes of rows are on their way at most; one chunk that is larger goes alone.
const ON_THE_WAY: u32 = 16 << 10;

/// How many bytes of rows make a piece of what is read, where it lands in pieces.
const PIECE: usize = 4 << 20;

/// What reading the stream takes, beside the way.
pub struct Reading {
    tables: Vec<Fed>,
    types: Types,
    /// The landing tables that have missed something by what has been read so far.
    missed: BTreeSet<usize>,
    /// Whether one session of the warehouse lands what is read ahead: a row's version before may be in a piece that
    /// another one has not committed.
    pub alone: bool,
}

impl Reading {
    /// Of a source that is ready.
    pub fn of(source_url: &str, ready: &Ready) -> Self {
        let types = Types::of(source_url);
        let mut reading = Self { tables: Vec::new(), types, missed: BTreeSet::new(), alone: false };
        reading.is_now(ready);
        reading
    }

    /// The source may have changed.
    pub fn is_now(&mut self, ready: &Ready) {
        let fed = |table: &SourceTable| Fed { layout: table.layout, brings: table.brings.clone() };
        self.tables = ready.tables.iter().map(fed).collect();
        self.missed.clear();
        self.types.known.doubt();
    }

    /// What was read last has not landed, and is read once more.
    pub fn again(&mut self, missed: BTreeSet<usize>) {
        self.missed = missed;
    }

    /// The landing tables that have missed something of their tables.
    pub fn missed(&self) -> &BTreeSet<usize> {
        &self.missed
    }

    /// Reads what commits up to a position, from where has been read; its rows go where they are taken from.
    pub async fn batch(
        &mut self,
        feed: &mut impl Feed,
        landings: &[Landing],
        batch: Batch<'_>,
        way_on: &mut WayOn,
    ) -> Result<Read> {
        let Batch { position, upto, most, care, outlet } = batch;
        let mut decoder = Decoder::new(landings, &self.tables, position, care);
        decoder.missed().clone_from(&self.missed);
        let mut decoding = Decoding { decoder: &mut decoder, types: &mut self.types, way_on, outlet };
        let messages = feed.read(upto, most, &mut decoding).await?;
        decoding.decoder.finish()?;
        decoding.send_all().await?;
        let is_full = messages >= most;
        let whole = if is_full { decoder.end } else { decoder.end.max(upto) };
        let read = Read { is_full, ..decoder.read_to(whole) };
        self.missed = std::mem::take(decoder.missed());
        Ok(read)
    }
}

/// What is to be read, and how.
pub struct Batch<'a> {
    /// How far has been read.
    pub position: SourcePosition,
    /// Up to where it is read now.
    pub upto: Lsn,
    /// How many messages are asked for.
    pub most: u64,
    /// How its rows are to land.
    pub care: Care,
    /// Where its rows go.
    pub outlet: &'a mut Outlet,
}

/// Where rows go that are read.
pub enum Outlet {
    /// All of them to one place.
    Whole(Sender<Chunk>),
    /// Piece by piece, each of whole transactions.
    Pieces(Pieces),
}

impl Outlet {
    fn send(&self) -> &Sender<Chunk> {
        match self {
            Self::Whole(send) => send,
            Self::Pieces(pieces) => &pieces.send,
        }
    }
}

/// A piece on its way to where it lands.
pub struct Coming {
    /// Its rows.
    pub chunks: Receiver<Chunk>,
    /// Comes when it has been read to its end; never, where the reader failed.
    pub read: oneshot::Receiver<Read>,
}

/// Pieces, one after the other.
pub struct Pieces {
    coming: Sender<Coming>,
    send: Sender<Chunk>,
    tell: oneshot::Sender<Read>,
    /// How many bytes have gone into the one at hand.
    sent: usize,
}

impl Pieces {
    /// Begins the first one; none where nobody lands any more.
    pub async fn begin(coming: Sender<Coming>) -> Option<Self> {
        let (send, chunks) = WayOn::of_a_batch();
        let (tell, read) = oneshot::channel();
        coming.send(Coming { chunks, read }).await.ok()?;
        Some(Self { coming, send, tell, sent: 0 })
    }

    /// Ends the one at hand and begins the next; none where nobody lands any more.
    pub async fn next(self, read: Read) -> Option<Self> {
        let Self { coming, send, tell, .. } = self;
        drop(send);
        tell.send(read).ok()?;
        Self::begin(coming).await
    }

    /// Ends the last one.
    pub fn end(self, read: Read) {
        // Who lands it knows why it does not.
        let _ = self.tell.send(read);
    }
}

/// A batch that has been read to its end.
pub struct Read {
    /// How far has been read with it.
    pub position: SourcePosition,
    /// Its transactions with rows.
    pub transactions: u64,
    /// What somebody should look at.
    pub findings: Vec<String>,
    /// The landing tables whose table was called otherwise, and changed: a snapshot of it is due.
    pub missed: BTreeSet<usize>,
    /// Whether it had as many messages as are asked for: more is waiting.
    pub is_full: bool,
}

impl Read {
    /// Together with what was read before it.
    pub fn after(self, before: Self) -> Self {
        Self {
            transactions: before.transactions + self.transactions,
            findings: before.findings.into_iter().chain(self.findings).collect(),
            missed: before.missed.into_iter().chain(self.missed).collect(),
            ..self
        }
    }
}

/// What keeps the rows on their way within bounds, and the buffers that come back from it.
pub struct WayOn {
    budget: Arc<Semaphore>,
    used: Receiver<Vec<u8>>,
}

impl WayOn {
    /// A way on, and where used buffers are handed in.
    pub fn new() -> (Self, Sender<Vec<u8>>) {
        let (give_back, used) = mpsc::channel(32);
        (Self { budget: Arc::new(Semaphore::new(ON_THE_WAY as usize)), used }, give_back)
    }

    /// Where the rows of a batch go, and where they are taken from: their bytes are what is bounded.
    pub fn of_a_batch() -> (Sender<Chunk>, Receiver<Chunk>) {
        mpsc::channel(1 << 16)
    }
}

/// Takes messages, and sends on what they become.
struct Decoding<'a, 'd> {
    decoder: &'a mut Decoder<'d>,
    types: &'a mut Types,
    way_on: &'a mut WayOn,
    outlet: &'a mut Outlet,
}

impl Taker for Decoding<'_, '_> {
    async fn take(&mut self, message: Message<'_>) -> Result<()> {
        if let Message::Relation(relation) = &message {
            return self.types.describe(relation, self.decoder).await;
        }
        let commits = matches!(message, Message::Commit { .. });
        if let Some(due) = self.decoder.take(message)? {
            self.send_on(due).await?;
        }
        if commits { self.cut().await } else { Ok(()) }
    }
}

impl Decoding<'_, '_> {
    /// Ends a piece that is large enough, behind a transaction.
    async fn cut(&mut self) -> Result<()> {
        match self.outlet {
            Outlet::Pieces(pieces) if pieces.sent + self.decoder.buffered() >= PIECE => {}
            _ => return Ok(()),
        }
        self.send_all().await?;
        let (nowhere, _) = mpsc::channel(1);
        if let Outlet::Pieces(pieces) = std::mem::replace(self.outlet, Outlet::Whole(nowhere)) {
            let read = self.decoder.read_to(self.decoder.end);
            *self.outlet = Outlet::Pieces(pieces.next(read).await.ok_or_else(gone)?);
        }
        Ok(())
    }

    async fn send_all(&mut self) -> Result<()> {
        while let Some(pending) = self.decoder.pending() {
            self.send_on(pending).await?;
        }
        Ok(())
    }

    async fn send_on(&mut self, to: To) -> Result<()> {
        while let Ok(used) = self.way_on.used.try_recv() {
            self.decoder.reuse(used);
        }
        let mut chunk = self.decoder.chunk(to);
        if let Outlet::Pieces(pieces) = self.outlet {
            pieces.sent += chunk.rows.len();
        }
        let size = u32::try_from(chunk.rows.len() >> 10).unwrap_or(u32::MAX).clamp(1, ON_THE_WAY);
        let room = Arc::clone(&self.way_on.budget).acquire_many_owned(size);
        chunk.room = tokio::select! {
            room = room => room.ok(),
            () = self.outlet.send().closed() => return Err(gone()),
        };
        self.outlet.send().send(chunk).await.map_err(|_| gone())
    }
}

/// The landing's own error says why it no longer takes any.
fn gone() -> Error {
    Error::new("the warehouse no longer takes changes")
}

/// The source's types, asked for on a connection of their own while the stream's is busy.
struct Types {
    source_url: String,
    connection: Option<PgConnection>,
    known: SourceTypes,
}

impl Types {
    fn of(source_url: &str) -> Self {
        Self { source_url: source_url.to_owned(), connection: None, known: SourceTypes::default() }
    }

    async fn describe(&mut self, relation: &Relation<'_>, decoder: &mut Decoder<'_>) -> Result<()> {
        if decoder.captures(relation) {
            let ids: Vec<u32> = relation.columns().map(|column| column.type_id).collect();
            if self.known.lacks(&ids) {
                let connection = match &mut self.connection {
                    Some(connection) => connection,
                    none => none.insert(super::connect(&self.source_url).await?),
                };
                self.known.learn(connection, &ids).await?;
            }
        }
        decoder.describe(relation, |type_id| self.known.shape(type_id))
    }
}
