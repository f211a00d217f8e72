//! Where changes come from: anything that hands over the messages of whole transactions, in the order of their
//! commits. Here it is a replication slot, read by PostgreSQL's own functions; the streaming protocol or a log that
//! somebody has recorded would be another. Knows no landing table.

use futures_util::{Stream, StreamExt as _};
use sqlx::postgres::PgConnection;

use super::pgoutput::Message;
use super::position::Lsn;
use super::wal2json::Translator;
use crate::descriptor::{Plugin, Source, Warehouse};
use crate::error::{During as _, Result};
use crate::{land, quote};

/// Where changes come from.
pub trait Feed {
    /// Hands over what commits up to a position, and stops behind the transaction with which there were as many
    /// messages as asked for; gives how many there were.
    async fn read(&mut self, upto: Lsn, most: u64, taker: &mut impl Taker) -> Result<u64>;
}

/// Who takes messages, one after the other.
pub trait Taker {
    /// Takes the next one.
    async fn take(&mut self, message: Message<'_>) -> Result<()>;
}

/// A replication slot of the source.
pub struct SlotFeed<'a> {
    /// The session that reads it.
    pub source: &'a mut PgConnection,
    /// Its name.
    pub slot: &'a str,
    /// Whose slot it is.
    pub warehouse: &'a Warehouse,
    /// What reading does to the slot.
    pub reading: Consuming,
}

/// What reading does to a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consuming {
    /// It gives the same again.
    Nothing,
    /// It goes on from there the next time.
    AllRead,
}

impl SlotFeed<'_> {
    fn statement(&self, upto: Lsn, most: u64) -> String {
        let source = &self.warehouse.source;
        let (kind, options) = match source.plugin {
            Plugin::Pgoutput => {
                let publication = quote::literal(&quote::identifier(&source.publication));
                ("binary_changes", format!("'proto_version', '1', 'publication_names', {publication}"))
            }
            Plugin::Wal2json => (
                "changes",
                "'format-version', '2', 'include-types', '0', 'include-xids', '1', 'include-timestamp', '1', \
                 'include-lsn', '1'"
                    .to_owned(),
            ),
        };
        let does = match self.reading {
            Consuming::Nothing => "peek",
            Consuming::AllRead => "get",
        };
        let slot = quote::literal(self.slot);
        land::copy_out(&format!(
            "SELECT data FROM pg_logical_slot_{does}_{kind}({slot}, '{upto}', {most}, {options})"
        ))
    }
}

impl Feed for SlotFeed<'_> {
    async fn read(&mut self, upto: Lsn, most: u64, taker: &mut impl Taker) -> Result<u64> {
        self.open(upto, most).await?.read(upto, most, taker).await
    }
}

/// What the source has ready of a slot: it gives nothing before it has decoded all that it was asked for.
struct Opened<S> {
    rows: S,
    translator: Option<Translator>,
}

impl SlotFeed<'_> {
    /// Asks for what commits up to a position, and waits until it is there.
    pub async fn open(&mut self, upto: Lsn, most: u64) -> Result<impl Feed> {
        let statement = self.statement(upto, most);
        let Source { plugin, publication, .. } = &self.warehouse.source;
        let translator = match plugin {
            Plugin::Pgoutput => None,
            Plugin::Wal2json => {
                Some(Translator::learn(self.source, self.warehouse.captured(), publication).await?)
            }
        };
        let rows = self.source.copy_out_raw(&statement).await.during(unread)?;
        Ok(Opened { rows, translator })
    }
}

impl<S, B> Feed for Opened<S>
where
    S: Stream<Item = Result<B, sqlx::Error>> + Unpin,
    B: AsRef<[u8]>,
{
    /// Up to where, and how much, has been said.
    async fn read(&mut self, _: Lsn, _: u64, taker: &mut impl Taker) -> Result<u64> {
        let mut messages = 0;
        while let Some(row) = self.rows.next().await {
            let row = row.during(unread)?;
            let Some(bytes) = only_field(row.as_ref(), messages == 0) else {
                continue;
            };
            messages += 1;
            match &mut self.translator {
                None => taker.take(Message::read(bytes).during(unread)?).await?,
                Some(translator) => {
                    for message in translator.translate(bytes)? {
                        taker.take(Message::read(message).during(unread)?).await?;
                    }
                }
            }
        }
        Ok(messages)
    }
}

fn unread() -> String {
    "cannot read the source's stream".to_owned()
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
