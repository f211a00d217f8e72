//! Turns the plugin's messages into rows of landing tables: which transactions have landed already, what
//! system time each has, which table a change belongs to, what its JSON is. Knows no connection.

use std::collections::BTreeMap;

use super::START_OVER;
use super::json::{self, Field, Shape, Unreadable};
use super::pgoutput::{Message, Old, Relation, Tuple, Value};
use super::position::{CLOCK_AHEAD, Lsn, SourcePosition, SystemTime};
use crate::descriptor::{Landing, Name};
use crate::error::{Error, Result};
use crate::land::{Chunk, Op, Place, Rows};
use crate::quote;

/// The plugin's messages become rows here, one message after the other.
pub struct Decoder<'a> {
    landings: &'a [Landing],
    relations: BTreeMap<u32, Option<Table>>,
    /// How far it has come: what is written down when the batch is complete.
    pub position: SourcePosition,
    /// Where the last commit record ended.
    pub end: Lsn,
    /// Complete transactions with rows.
    pub transactions: u64,
    /// What somebody should look at.
    pub findings: Vec<String>,
    open: Option<Transaction>,
    rows: Vec<Rows>,
    buffered: usize,
    spare: Vec<Vec<u8>>,
}

/// The transaction whose changes are coming.
struct Transaction {
    lsn: Lsn,
    time: SystemTime,
    seq: i64,
    fate: Fate,
}

/// What becomes of a transaction's changes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Land,
    /// They have landed before.
    Drop,
}

/// A captured relation, as the stream describes it.
struct Table {
    name: Name,
    fields: Vec<Field>,
    names: Vec<String>,
    identity: Vec<bool>,
    feeds: Vec<Feed>,
}

/// A landing table that takes a relation's changes.
struct Feed {
    landing: usize,
    /// Which columns are of its key.
    key: Vec<bool>,
}

/// A landing table's rows are sent on when there are this many bytes of them.
const CHUNK: usize = 512 << 10;

/// The largest share is sent on when all landing tables together hold this many bytes.
const BUFFERED: usize = 16 << 20;

/// Why a row has no JSON.
enum Unwritable {
    /// A value's text does not fit its type.
    Unreadable(usize),
    /// A value was not sent, nor was the old one.
    Unfilled(usize),
    /// Not as many values as columns.
    Misfit,
}

impl<'a> Decoder<'a> {
    /// A decoder for one batch.
    pub fn new(landings: &'a [Landing], position: SourcePosition) -> Self {
        Self {
            landings,
            relations: BTreeMap::new(),
            position,
            end: Lsn(0),
            transactions: 0,
            findings: Vec::new(),
            open: None,
            rows: landings.iter().map(|_| Rows::default()).collect(),
            buffered: 0,
            spare: Vec::new(),
        }
    }

    /// Takes a message that describes no relation; gives the landing table whose rows should be sent on.
    pub fn take(&mut self, message: Message<'_>) -> Result<Option<usize>> {
        match message {
            Message::Begin { commit_lsn, commit_time, xid } => self.begin(commit_lsn, commit_time, xid)?,
            Message::Commit { commit_lsn, end_lsn } => self.commit(commit_lsn, end_lsn)?,
            Message::Insert { relation, new } => return self.change(relation, &Change::Insert(new)),
            Message::Update { relation, old, new } => {
                return self.change(relation, &Change::Update(old, new));
            }
            Message::Delete { relation, old } => return self.change(relation, &Change::Delete(old)),
            Message::Truncate(relations) => {
                for relation in relations.ids() {
                    self.truncate(relation)?;
                }
            }
            Message::Relation(_) | Message::Other => {}
        }
        Ok(None)
    }

    /// Whether a relation is captured: only then its columns' types are of interest.
    pub fn captures(&self, relation: &Relation<'_>) -> bool {
        self.landings.iter().any(|landing| is_source(landing, relation))
    }

    /// Remembers what a relation looks like from here on; `shape` knows the types.
    pub fn describe(&mut self, relation: &Relation<'_>, shape: impl Fn(u32) -> Result<Shape>) -> Result<()> {
        if !self.captures(relation) {
            self.relations.insert(relation.id, None);
            return Ok(());
        }
        let name = Name::new(text(relation.schema), text(relation.name));
        let mut table = Table { name, fields: vec![], names: vec![], identity: vec![], feeds: vec![] };
        for column in relation.columns() {
            let shape = shape(column.type_id).map_err(|error| {
                Error::new(format!("cannot capture `{}.{}`", table.name, text(column.name))).because(error)
            })?;
            table.fields.push(Field::new(column.name, shape));
            table.names.push(text(column.name));
            table.identity.push(column.identity);
        }
        for (at, landing) in self.landings.iter().enumerate() {
            if is_source(landing, relation) {
                let key = table.names.iter().map(|name| landing.key.contains(name)).collect();
                table.feeds.push(Feed { landing: at, key });
            }
        }
        self.relations.insert(relation.id, Some(table));
        Ok(())
    }

    /// Takes the rows of a landing table away.
    pub fn chunk(&mut self, landing: usize) -> Chunk {
        let fresh = self.spare.pop().map(Rows::reuse).unwrap_or_default();
        let rows = std::mem::replace(&mut self.rows[landing], fresh);
        self.buffered -= rows.len();
        Chunk { landing, rows }
    }

    /// Takes a buffer back for another use.
    pub fn reuse(&mut self, buffer: Vec<u8>) {
        self.spare.push(buffer);
    }

    /// The next landing table that holds rows.
    pub fn pending(&self) -> Option<usize> {
        self.rows.iter().position(|rows| !rows.is_empty())
    }

    /// Refuses a batch that ends within a transaction.
    pub fn finish(&self) -> Result<()> {
        match &self.open {
            None => Ok(()),
            Some(transaction) => Err(Error::new(format!(
                "the source's stream ended within the transaction that commits at {}",
                transaction.lsn
            ))),
        }
    }

    fn begin(&mut self, lsn: Lsn, commit_time: i64, xid: u32) -> Result<()> {
        self.finish()?;
        let seen = self.position.fence.as_ref().is_some_and(|(fence, until)| lsn < *until && fence.sees(xid));
        let fate = if lsn < self.position.landed_to || seen { Fate::Drop } else { Fate::Land };
        if fate == Fate::Land && lsn <= self.position.last_lsn {
            return Err(Error::new(format!(
                "the source gave a transaction at {lsn} after one at {}",
                self.position.last_lsn
            )));
        }
        let mut time = SystemTime(commit_time);
        if fate == Fate::Land
            && let Some(capped) = time.capped()
        {
            time = capped;
            self.finding(CLOCK_AHEAD);
        }
        let time = time.max(self.position.last_time.next());
        self.open = Some(Transaction { lsn, time, seq: 0, fate });
        Ok(())
    }

    fn commit(&mut self, lsn: Lsn, end: Lsn) -> Result<()> {
        let transaction = self.open.take().filter(|transaction| transaction.lsn == lsn);
        let Some(transaction) = transaction else {
            return Err(Error::new(format!("the source's stream has an end of no transaction at {lsn}")));
        };
        if transaction.seq > 0 {
            self.transactions += 1;
            self.position.last_lsn = transaction.lsn;
            self.position.last_time = transaction.time;
        }
        self.end = self.end.max(end);
        Ok(())
    }

    /// An update that changes the key of a landing table lands there as a delete of the old key and an insert
    /// of the new.
    fn change(&mut self, relation: u32, change: &Change<'_>) -> Result<Option<usize>> {
        let Some(transaction) = &mut self.open else {
            return Err(outside());
        };
        if transaction.fate == Fate::Drop {
            return Ok(None);
        }
        let table = match self.relations.get(&relation) {
            Some(Some(table)) => table,
            Some(None) => return Ok(None),
            None => return Err(undescribed(relation, transaction.lsn)),
        };
        let place = Place { lsn: transaction.lsn.0, seq: transaction.seq + 1, time: transaction.time.0 };
        for feed in &table.feeds {
            let rows = &mut self.rows[feed.landing];
            let before = rows.len();
            let last = table
                .land(feed, change, place, rows)
                .map_err(|unwritable| table.refuse(&unwritable, transaction.lsn))?;
            transaction.seq = transaction.seq.max(last);
            self.buffered += rows.len() - before;
        }
        let key_only = matches!(change, Change::Delete(Old::Key(_))).then(|| {
            format!("deletes from `{}` tell their key only: its replica identity is not full", table.name)
        });
        let full = table.feeds.iter().map(|feed| feed.landing).find(|at| self.rows[*at].len() >= CHUNK);
        if let Some(finding) = key_only {
            self.finding(&finding);
        }
        Ok(full.or_else(|| self.largest_of_too_much()))
    }

    fn truncate(&mut self, relation: u32) -> Result<()> {
        let Some(transaction) = &mut self.open else {
            return Err(outside());
        };
        if transaction.fate == Fate::Drop {
            return Ok(());
        }
        match self.relations.get(&relation) {
            Some(Some(table)) => {
                transaction.seq += 1;
                let place = Place { lsn: transaction.lsn.0, seq: transaction.seq, time: transaction.time.0 };
                for feed in &table.feeds {
                    let rows = &mut self.rows[feed.landing];
                    let before = rows.len();
                    rows.push_null(place, Op::Truncate);
                    self.buffered += rows.len() - before;
                }
                Ok(())
            }
            Some(None) => Ok(()),
            None => Err(undescribed(relation, transaction.lsn)),
        }
    }

    fn finding(&mut self, finding: &str) {
        if !self.findings.iter().any(|known| known == finding) {
            self.findings.push(finding.to_owned());
        }
    }

    fn largest_of_too_much(&self) -> Option<usize> {
        if self.buffered < BUFFERED {
            return None;
        }
        (0..self.rows.len()).max_by_key(|at| self.rows[*at].len())
    }
}

impl Table {
    /// Appends what a landing table gets of a change; gives the last ordinal used.
    fn land(
        &self,
        feed: &Feed,
        change: &Change<'_>,
        place: Place,
        rows: &mut Rows,
    ) -> Result<i64, Unwritable> {
        match change {
            Change::Insert(new) => rows.push(place, Op::Insert, |out| self.row(new, None, out))?,
            Change::Delete(old) => rows.push(place, Op::Delete, |out| self.old_row(old, out))?,
            Change::Update(Some(old), new) if self.moves_key(feed, old, new) => {
                let next = Place { seq: place.seq + 1, ..place };
                rows.push(place, Op::Delete, |out| self.old_row(old, out))?;
                rows.push(next, Op::Insert, |out| self.row(new, Some(old), out))?;
                return Ok(next.seq);
            }
            Change::Update(old, new) => {
                rows.push(place, Op::Update, |out| self.row(new, old.as_ref(), out))?;
            }
        }
        Ok(place.seq)
    }

    /// Whether a column of the key differs. A value that was not sent has not changed.
    fn moves_key(&self, feed: &Feed, old: &Old<'_>, new: &Tuple<'_>) -> bool {
        let (old, whole) = match old {
            Old::Row(old) => (old, true),
            Old::Key(old) => (old, false),
        };
        let known = self.identity.iter().map(|identity| whole || *identity);
        feed.key
            .iter()
            .zip(known)
            .zip(old.values().zip(new.values()))
            .any(|((key, known), (old, new))| *key && known && new != Value::Unchanged && old != new)
    }

    /// A new row; what was not sent is taken from the old one.
    fn row(&self, new: &Tuple<'_>, old: Option<&Old<'_>>, out: &mut Vec<u8>) -> Result<(), Unwritable> {
        if new.count() != self.fields.len() {
            return Err(Unwritable::Misfit);
        }
        let mut before = match old {
            Some(Old::Row(old)) => Some(old.values()),
            Some(Old::Key(_)) | None => None,
        };
        let mut separator = b'{';
        for (at, (field, value)) in self.fields.iter().zip(new.values()).enumerate() {
            let earlier = before.as_mut().and_then(Iterator::next);
            let value = match (value, earlier) {
                (Value::Unchanged, Some(earlier)) => earlier,
                (value, _) => value,
            };
            out.push(separator);
            separator = b',';
            field_value(at, field, value, out)?;
        }
        close(separator, out);
        Ok(())
    }

    /// An old row: all of it, or the identity's columns where no more was sent.
    fn old_row(&self, old: &Old<'_>, out: &mut Vec<u8>) -> Result<(), Unwritable> {
        let identity = match old {
            Old::Row(row) => return self.row(row, None, out),
            Old::Key(identity) => identity,
        };
        if identity.count() != self.fields.len() {
            return Err(Unwritable::Misfit);
        }
        let mut separator = b'{';
        for (at, (field, value)) in self.fields.iter().zip(identity.values()).enumerate() {
            if self.identity[at] {
                out.push(separator);
                separator = b',';
                field_value(at, field, value, out)?;
            }
        }
        close(separator, out);
        Ok(())
    }

    fn refuse(&self, unwritable: &Unwritable, lsn: Lsn) -> Error {
        let column = |at: &usize| self.names.get(*at).map_or("?", String::as_str);
        let name = &self.name;
        match unwritable {
            Unwritable::Unreadable(at) => Error::new(format!(
                "the transaction at {lsn} changes `{name}.{}` to a value that its type in the catalog does not \
                 explain",
                column(at)
            ))
            .remedy("the type was altered since: start over with `medallion migrate fresh --yes`"),
            Unwritable::Unfilled(at) => Error::new(format!(
                "the transaction at {lsn} changes a row of `{name}` and does not tell its `{}`",
                column(at)
            ))
            .remedy(format!("ALTER TABLE {} REPLICA IDENTITY FULL; then {START_OVER}", quote::name(name))),
            Unwritable::Misfit => Error::new(format!(
                "the transaction at {lsn} changes a row of `{name}` that has other columns than announced"
            )),
        }
    }
}

/// A change of one row.
enum Change<'m> {
    Insert(Tuple<'m>),
    Update(Option<Old<'m>>, Tuple<'m>),
    Delete(Old<'m>),
}

fn field_value(at: usize, field: &Field, value: Value<'_>, out: &mut Vec<u8>) -> Result<(), Unwritable> {
    out.extend_from_slice(&field.label);
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Text(text) => {
            json::write(&field.shape, text, out).map_err(|Unreadable| Unwritable::Unreadable(at))?;
        }
        Value::Unchanged => return Err(Unwritable::Unfilled(at)),
    }
    Ok(())
}

/// Ends an object; one without fields has not begun.
fn close(separator: u8, out: &mut Vec<u8>) {
    if separator == b'{' {
        out.push(b'{');
    }
    out.push(b'}');
}

fn is_source(landing: &Landing, relation: &Relation<'_>) -> bool {
    landing.source.table.as_bytes() == relation.name && landing.source.schema.as_bytes() == relation.schema
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn outside() -> Error {
    Error::new("the source's stream has a change outside of any transaction")
}

fn undescribed(relation: u32, lsn: Lsn) -> Error {
    Error::new(format!("the transaction at {lsn} changes relation {relation}, which was not described"))
}

#[cfg(test)]
mod tests;
