//! The stream in batches: peek at whole transactions, copy what has not landed, move the position in the
//! same transaction, commit, and only then advance the slot. A kill anywhere leaves whole batches, and what
//! was peeked at and landed already is dropped the next time.

use futures_util::StreamExt as _;
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use tokio::sync::mpsc::{self, Receiver, Sender};

use super::decoder::{Care, Decoder, Fed};
use super::pgoutput::{Message, Relation};
use super::position::{self, Lock, Lsn, State};
use super::preflight::{Ready, SourceTable};
use super::slot::{self, Busy, Slot};
use super::source_type::SourceTypes;
use super::{Point, Way, hold};
use crate::error::{During as _, Error, Result};
use crate::land::{self, Chunk, Place, To, staged};
use crate::quote;

/// How many messages are asked for at a time. The source never splits a transaction, and decodes from where its
/// slot's oldest transaction began each time it is asked, so small batches cost dearly: a transaction of one row is
/// three messages.
const BATCH: u64 = 1_000_000;

/// How much of the source's log, in bytes, is asked for at a time: the source puts what it decodes on its disk.
const STRETCH: i64 = 1 << 30;

/// Lands batch after batch until everything that commits below the goal is there; one batch at least, so
/// that an idle slot moves on.
pub async fn catch_up(way: &mut Way<'_>, reading: &mut Reading, goal: Lsn) -> Result<()> {
    loop {
        let batch = next(way, reading, Empty::Moves).await?;
        if batch.landed_to >= goal {
            return Ok(());
        }
    }
}

/// What is done about a batch that has no rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Empty {
    /// The position moves, so that the source can forget what it has kept.
    Moves,
    /// Nothing: it costs a commit, and what comes next can move it as well.
    Stays,
}

/// A batch that has landed.
#[derive(Clone, Copy, Debug)]
pub struct Batch {
    /// Everything that commits below it has landed.
    pub landed_to: Lsn,
    /// How many rows.
    pub rows: u64,
    /// Whether it had as much as is asked for: more is waiting.
    pub is_full: bool,
}

/// Lands one batch, waiting for a slot that is in use, and advances the slot.
pub async fn next(way: &mut Way<'_>, reading: &mut Reading, empty: Empty) -> Result<Batch> {
    let mut busy = Busy::default();
    let mut care = Care::Usual;
    let batch = loop {
        match land_batch(way, reading, care, empty).await {
            Ok(batch) => break batch,
            // One of its rows cannot be landed; which one shows when each is looked at.
            Err(error) if care == Care::Usual && land::is_of_data(&error) => care = Care::EachRow,
            Err(error) => busy.wait(error, way.progress).await?,
        }
    };
    way.captured.position = batch.landed_to;
    if batch.rows > 0 || empty == Empty::Moves {
        advance(way, batch.landed_to).await?;
        way.progress.reached(Point::SlotAdvanced)?;
    }
    Ok(batch)
}

/// Lands one batch.
async fn land_batch(way: &mut Way<'_>, reading: &mut Reading, care: Care, empty: Empty) -> Result<Batch> {
    let Reading { tables, types } = reading;
    let name = way.warehouse.source.slot.as_str();
    let landings = &way.warehouse.landings;
    let unlanded = || "cannot land a batch in one transaction of the warehouse".to_owned();
    let mut target = way.target.begin().await.during(unlanded)?;
    let position = position::read(&mut target, name, Lock::ForUpdate)
        .await?
        .filter(|position| position.state == State::Streaming)
        .ok_or_else(|| Error::new(format!("nothing has landed from slot `{name}`")).remedy("run again"))?;

    land::late::begin(&mut target).await?;
    let before = Place { lsn: position.last_lsn.0, seq: 0, time: position.last_time.0 };

    let mut found = slot::find(&mut way.source, name).await?;
    let is_good = found.as_ref().is_some_and(|found| found.check(name, &position).is_ok());
    if !is_good && hold::heal(&mut way.source, name, &position, found.as_ref(), way.progress).await? {
        found = slot::find(&mut way.source, name).await?;
    }
    let slot = found.ok_or_else(|| slot::gone(name))?;
    slot.check(name, &position)?;
    let flushed = slot::flushed(&mut way.source).await?;
    Slot::check_reached(flushed, &position)?;
    let upto = flushed.min(Lsn(position.landed_to.0.saturating_add(STRETCH)));
    if slot.confirmed < position.landed_to {
        // The last advance was not made, or the source crashed and forgot it.
        slot::advance(&mut way.source, name, position.landed_to).await?;
    }
    let known = position.landed_to;

    let (send, chunks) = mpsc::channel(2);
    let (give_back, used) = mpsc::channel(8);
    let mut decoder = Decoder::new(landings, tables, position, care);
    let statement = peek(name, &way.warehouse.source.publication, upto);
    let decoding = decode(&mut way.source, &statement, &mut decoder, types, Buffers { send, used });
    // Both end by themselves where either fails: the channel between them closes.
    let (decoded, copied) = tokio::join!(decoding, land::land(&mut target, landings, chunks, give_back));
    let copied = copied?;
    let messages = decoded?;
    let mut landed = copied.landed;
    let mut quarantined = Vec::new();
    if copied.staged > 0 {
        let each = care == Care::EachRow;
        quarantined = staged::finish(&mut target, landings, each, &mut landed).await?;
    }

    let rows = landed.iter().sum();
    if rows == 0 && empty == Empty::Stays && messages < BATCH {
        return Ok(Batch { landed_to: known, rows, is_full: false });
    }

    let mut moved = decoder.position.clone();
    let whole = if messages < BATCH { decoder.end.max(upto) } else { decoder.end };
    moved.landed_to = whole.max(moved.landed_to);
    position::write_landed(&mut target, name, &moved).await?;
    if landed.iter().any(|rows| *rows > 0) {
        land::late::note(&mut target, landings, before).await?;
    }
    way.progress.reached(Point::BatchCopied)?;
    target.commit().await.during(unlanded)?;

    for (landing, rows) in landings.iter().zip(&landed) {
        way.captured.landed(&landing.table, *rows);
    }
    way.captured.transactions += decoder.transactions;
    for finding in std::mem::take(&mut decoder.findings).into_iter().chain(quarantined) {
        way.captured.finding(finding);
    }
    drop(decoder);
    way.tell(&landed);
    way.progress.reached(Point::BatchLanded)?;
    Ok(Batch { landed_to: moved.landed_to, rows, is_full: messages >= BATCH || upto < flushed })
}

async fn advance(way: &mut Way<'_>, to: Lsn) -> Result<()> {
    let mut busy = Busy::default();
    let name = way.warehouse.source.slot.as_str();
    loop {
        match slot::advance(&mut way.source, name, to).await {
            Ok(()) => return Ok(()),
            Err(error) => busy.wait(error, way.progress).await?,
        }
    }
}

fn peek(slot: &str, publication: &str, upto: Lsn) -> String {
    land::copy_out(&format!(
        "SELECT data FROM pg_logical_slot_peek_binary_changes({}, '{upto}', {BATCH}, \
         'proto_version', '1', 'publication_names', {})",
        quote::literal(slot),
        quote::literal(&quote::identifier(publication)),
    ))
}

/// The decoder's ends of the channels to and from the landing.
struct Buffers {
    send: Sender<Chunk>,
    used: Receiver<Vec<u8>>,
}

/// Decodes what a peek gives; gives the number of messages.
async fn decode(
    source: &mut PgConnection,
    statement: &str,
    decoder: &mut Decoder<'_>,
    types: &mut Types,
    mut buffers: Buffers,
) -> Result<u64> {
    let failed = || "cannot read the source's stream".to_owned();
    let mut stream = source.copy_out_raw(statement).await.during(failed)?;
    let mut messages = 0;
    while let Some(row) = stream.next().await {
        let row = row.during(failed)?;
        let Some(bytes) = only_field(&row, messages == 0) else {
            continue;
        };
        messages += 1;
        let message = Message::read(bytes).during(failed)?;
        if let Message::Relation(relation) = &message {
            types.describe(relation, decoder).await?;
        } else if let Some(due) = decoder.take(message)? {
            send_on(decoder, due, &mut buffers).await?;
        }
    }
    decoder.finish()?;
    while let Some(pending) = decoder.pending() {
        send_on(decoder, pending, &mut buffers).await?;
    }
    Ok(messages)
}

async fn send_on(decoder: &mut Decoder<'_>, to: To, buffers: &mut Buffers) -> Result<()> {
    while let Ok(used) = buffers.used.try_recv() {
        decoder.reuse(used);
    }
    let chunk = decoder.chunk(to);
    // The landing's own error says why it no longer takes any.
    buffers.send.send(chunk).await.map_err(|_| Error::new("the warehouse no longer takes changes"))
}

/// The one field of a row in COPY's binary format; nothing in its trailer. The first row comes behind the
/// format's header.
fn only_field(row: &[u8], first: bool) -> Option<&[u8]> {
    const HEADER: usize = 19;
    let row = if first && row.starts_with(b"PGCOPY\n") { row.get(HEADER..)? } else { row };
    let (count, rest) = row.split_first_chunk()?;
    let (length, field) = rest.split_first_chunk()?;
    let length = usize::try_from(i32::from_be_bytes(*length)).ok()?;
    if i16::from_be_bytes(*count) == 1 { field.get(..length) } else { None }
}

/// What reading the stream takes, beside the way.
pub struct Reading {
    tables: Vec<Fed>,
    types: Types,
}

impl Reading {
    /// Of a source that is ready.
    pub fn of(source_url: &str, ready: &Ready) -> Self {
        let mut reading = Self { tables: Vec::new(), types: Types::of(source_url) };
        reading.is_now(ready);
        reading
    }

    /// The source may have changed.
    pub fn is_now(&mut self, ready: &Ready) {
        let fed = |table: &SourceTable| Fed { layout: table.layout, brings: table.brings.clone() };
        self.tables = ready.tables.iter().map(fed).collect();
    }
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
