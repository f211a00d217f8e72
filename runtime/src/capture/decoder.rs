//! Turns the plugin's messages into rows of landing tables: which transactions have landed already, what
//! system time each has, which table a change belongs to, what its JSON is, and what of it the source did not
//! tell. Knows no connection.

use std::collections::BTreeMap;

use super::json::{self, Field, Shape, Unreadable};
use super::pgoutput::{Message, Old, Relation, Tuple, Value};
use super::position::{CLOCK_AHEAD, Lsn, SourcePosition, SystemTime};
use super::preflight::Layout;
use super::reading::Read;
use super::standing::Brings;
use crate::descriptor::{Landing, Name};
use crate::error::{Error, Result};
use crate::land::{Chunk, Follows, Op, Place, Rows, To, Unfinished};
mod astray;
mod unwritable;

use astray::Astray;
use unwritable::Unwritable;

/// The plugin's messages become rows here, one message after the other.
pub struct Decoder<'a> {
    landings: &'a [Landing],
    tables: &'a [Fed],
    care: Care,
    relations: BTreeMap<u32, Option<Table>>,
    astray: Astray,
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
    staged: Rows,
    key: Vec<u8>,
    buffered: usize,
    spare: Vec<Vec<u8>>,
}

/// How a batch's rows land.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Care {
    /// Whole rows straight into their landing tables: a value that is refused stops them all.
    Usual,
    /// All rows by the stage, where each is looked at.
    EachRow,
}

/// What a landing table is fed from.
#[derive(Clone, Debug)]
pub struct Fed {
    /// Where its rows stand.
    pub layout: Layout,
    /// What the stream brings to it; nothing as long as its snapshot is due.
    pub brings: Option<Brings>,
}

impl Fed {
    /// Whether it takes a transaction's changes of a relation.
    fn takes(&self, relation: u32, commit: Lsn, xid: u32) -> bool {
        let brings = self.brings.as_ref().filter(|brings| brings.oid == i64::from(relation));
        brings.is_some_and(|brings| brings.takes(commit, xid))
    }
}

/// The transaction whose changes are coming.
struct Transaction {
    lsn: Lsn,
    xid: u32,
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
    /// The columns in the order in which `jsonb` keeps them: shorter names first. What comes so needs no sorting there.
    order: Vec<usize>,
    feeds: Vec<Feed>,
}

/// A landing table that takes a relation's changes.
struct Feed {
    landing: usize,
    /// Which columns are of its key.
    key: Vec<bool>,
    /// Whether old rows may be cut to their key without a word: a partition's own replica identity decides
    /// what is written of them, its root's what is said of that.
    layout: Layout,
}

/// What a tuple tells of a row.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    /// All of it.
    Whole,
    /// The columns that are not null, which are its key's and perhaps more.
    Key,
}

/// What is known of a row before its change.
type Before<'m> = Option<(Tuple<'m>, Told)>;

/// Where rows are written.
struct Out<'a> {
    rows: &'a mut Rows,
    staged: &'a mut Rows,
    key: &'a mut Vec<u8>,
    care: Care,
}

/// A landing table's rows are sent on when there are this many bytes of them.
const CHUNK: usize = 512 << 10;

/// The largest share is sent on when all landing tables together hold this many bytes.
const BUFFERED: usize = 16 << 20;

impl<'a> Decoder<'a> {
    /// A decoder for one batch; the tables are the landing tables' sources, in their order.
    pub fn new(landings: &'a [Landing], tables: &'a [Fed], position: SourcePosition, care: Care) -> Self {
        Self {
            landings,
            tables,
            care,
            relations: BTreeMap::new(),
            astray: Astray::default(),
            position,
            end: Lsn(0),
            transactions: 0,
            findings: Vec::new(),
            open: None,
            rows: landings.iter().map(|_| Rows::default()).collect(),
            staged: Rows::default(),
            key: Vec::new(),
            buffered: 0,
            spare: Vec::new(),
        }
    }

    /// Takes a message that describes no relation; gives the place whose rows should be sent on.
    pub fn take(&mut self, message: Message<'_>) -> Result<Option<To>> {
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
            self.astray.leaves(relation.id, self.tables);
            self.relations.insert(relation.id, None);
            return Ok(());
        }
        self.astray.returns(relation.id);
        let name = Name::new(text(relation.schema), text(relation.name));
        let mut table = Table { name, fields: vec![], names: vec![], order: vec![], feeds: vec![] };
        for column in relation.columns() {
            let shape = shape(column.type_id).map_err(|error| {
                Error::new(format!("cannot capture `{}.{}`", table.name, text(column.name))).because(error)
            })?;
            table.fields.push(Field::new(column.name, shape));
            table.names.push(text(column.name));
        }
        table.order = (0..table.names.len()).collect();
        table.order.sort_by_key(|at| (table.names[*at].len(), &table.names[*at]));
        for (at, landing) in self.landings.iter().enumerate() {
            if is_source(landing, relation) {
                if !landing.key.iter().all(|key| table.names.contains(key)) {
                    self.astray.loses_key(relation.id, at);
                    continue;
                }
                let key = table.names.iter().map(|name| landing.key.contains(name)).collect();
                let layout = self.tables.get(at).map_or(Layout::Plain, |table| table.layout);
                table.feeds.push(Feed { landing: at, key, layout });
            }
        }
        self.relations.insert(relation.id, Some(table));
        Ok(())
    }

    /// Takes the rows for a place away.
    pub fn chunk(&mut self, to: To) -> Chunk {
        let fresh = self.spare.pop().map(Rows::reuse).unwrap_or_default();
        let rows = std::mem::replace(self.buffer(to), fresh);
        self.buffered -= rows.len();
        Chunk { to, rows, room: None }
    }

    fn buffer(&mut self, to: To) -> &mut Rows {
        match to {
            To::Landing(at) => &mut self.rows[at],
            To::Stage => &mut self.staged,
        }
    }

    /// Takes a buffer back for another use.
    pub fn reuse(&mut self, buffer: Vec<u8>) {
        self.spare.push(buffer);
    }

    /// The next place for which there are rows.
    pub fn pending(&self) -> Option<To> {
        self.sizes().find(|(_, size)| *size > 0).map(|(to, _)| to)
    }

    fn sizes(&self) -> impl Iterator<Item = (To, usize)> {
        let landings = self.rows.iter().enumerate().map(|(at, rows)| (To::Landing(at), rows.len()));
        landings.chain([(To::Stage, self.staged.len())])
    }

    /// How many bytes of rows have not been taken away.
    pub fn buffered(&self) -> usize {
        self.buffered
    }

    /// What has been read up to a position since this was asked the last time.
    pub fn read_to(&mut self, position: Lsn) -> Read {
        let landed_to = position.max(self.position.landed_to);
        Read {
            position: SourcePosition { landed_to, ..self.position.clone() },
            transactions: std::mem::take(&mut self.transactions),
            findings: std::mem::take(&mut self.findings),
            missed: self.astray.tell(),
            is_full: false,
        }
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
        let last = self.position.last_lsn;
        if fate == Fate::Land && self.position.epoch.place(lsn) <= last {
            return Err(Error::new(format!(
                "the source gave a transaction at {lsn} after one at {}",
                Lsn(last.0 - self.position.epoch.offset)
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
        self.open = Some(Transaction { lsn, xid, time, seq: 0, fate });
        Ok(())
    }

    fn commit(&mut self, lsn: Lsn, end: Lsn) -> Result<()> {
        let transaction = self.open.take().filter(|transaction| transaction.lsn == lsn);
        let Some(transaction) = transaction else {
            return Err(Error::new(format!("the source's stream has an end of no transaction at {lsn}")));
        };
        if transaction.seq > 0 {
            self.transactions += 1;
            self.position.last_lsn = self.position.epoch.place(transaction.lsn);
            self.position.last_time = transaction.time;
        }
        self.end = self.end.max(end);
        Ok(())
    }

    /// An update that changes the key of a landing table lands there as a delete of the old key and an insert
    /// of the new.
    fn change(&mut self, relation: u32, change: &Change<'_>) -> Result<Option<To>> {
        let Some(transaction) = &mut self.open else {
            return Err(outside());
        };
        if transaction.fate == Fate::Drop {
            return Ok(None);
        }
        self.astray.misses(relation, transaction.lsn, transaction.xid, self.tables);
        let table = match self.relations.get(&relation) {
            Some(Some(table)) => table,
            Some(None) => return Ok(None),
            None => return Err(undescribed(relation, transaction.lsn)),
        };
        let lsn = self.position.epoch.place(transaction.lsn).0;
        let place = Place { lsn, seq: transaction.seq + 1, time: transaction.time.0 };
        let mut full = None;
        let (commit, xid) = (transaction.lsn, transaction.xid);
        let takes = |feed: &&Feed| self.astray.takes(feed.landing, relation, commit, xid, self.tables);
        for feed in table.feeds.iter().filter(takes) {
            let rows = &mut self.rows[feed.landing];
            let before = rows.len() + self.staged.len();
            let mut out = Out { rows, staged: &mut self.staged, key: &mut self.key, care: self.care };
            let last = table
                .land(feed, change, place, &mut out)
                .map_err(|unwritable| unwritable.refuse(&table.name, &table.names, transaction.lsn))?;
            transaction.seq = transaction.seq.max(last);
            if out.rows.len() >= CHUNK {
                full = Some(To::Landing(feed.landing));
            }
            self.buffered += out.rows.len() + out.staged.len() - before;
        }
        if self.staged.len() >= CHUNK {
            full = Some(To::Stage);
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
        self.astray.misses(relation, transaction.lsn, transaction.xid, self.tables);
        match self.relations.get(&relation) {
            Some(Some(table)) => {
                let (commit, xid) = (transaction.lsn, transaction.xid);
                let takes =
                    |feed: &&Feed| self.astray.takes(feed.landing, relation, commit, xid, self.tables);
                let feeds: Vec<&Feed> = table.feeds.iter().filter(takes).collect();
                if feeds.is_empty() {
                    return Ok(());
                }
                transaction.seq += 1;
                let lsn = self.position.epoch.place(transaction.lsn).0;
                let place = Place { lsn, seq: transaction.seq, time: transaction.time.0 };
                for feed in feeds {
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

    fn largest_of_too_much(&self) -> Option<To> {
        if self.buffered < BUFFERED {
            return None;
        }
        self.sizes().max_by_key(|(_, size)| *size).map(|(to, _)| to)
    }
}

impl Table {
    /// Appends what a landing table gets of a change; gives the last ordinal used.
    fn land(
        &self,
        feed: &Feed,
        change: &Change<'_>,
        place: Place,
        out: &mut Out<'_>,
    ) -> Result<i64, Unwritable> {
        match change {
            Change::Insert(new) => {
                self.put(feed, place, Op::Insert, (*new, Told::Whole), None, out)?;
            }
            Change::Delete(old) => {
                self.put(feed, place, Op::Delete, self.before(feed, old), None, out)?;
            }
            Change::Update(old, new) => {
                let new = (*new, Told::Whole);
                let before = old.as_ref().map(|old| self.before(feed, old));
                if let Some(old) = before
                    && moves_key(feed, old, &new.0)?
                {
                    let next = Place { seq: place.seq + 1, ..place };
                    self.put(feed, place, Op::Delete, old, None, out)?;
                    self.put(feed, next, Op::Insert, new, before, out)?;
                    return Ok(next.seq);
                }
                self.put(feed, place, Op::Update, new, before, out)?;
            }
        }
        Ok(place.seq)
    }

    /// What an old tuple tells. One of a partitioned table in which all but the key is null may be one of a
    /// partition that writes no more than its key.
    fn before<'m>(&self, feed: &Feed, old: &Old<'m>) -> (Tuple<'m>, Told) {
        match old {
            Old::Key(old) => (*old, Told::Key),
            Old::Row(old) => {
                let all_null = feed.layout == Layout::Partitioned
                    && old.values().zip(&feed.key).all(|(value, key)| *key || value == Value::Null);
                (*old, if all_null { Told::Key } else { Told::Whole })
            }
        }
    }

    /// Writes a row into its landing table where all of it is known, else on the stage.
    fn put(
        &self,
        feed: &Feed,
        place: Place,
        op: Op,
        row: (Tuple<'_>, Told),
        before: Before<'_>,
        out: &mut Out<'_>,
    ) -> Result<(), Unwritable> {
        if out.care == Care::Usual {
            let refuse = |_: usize| Err(Unwritable::Untold);
            match out.rows.push(place, op, |json| self.row(row, before, refuse, json)) {
                Err(Unwritable::Untold) => {}
                done => return done,
            }
        }
        self.key(feed, row, before, out.key)?;
        let mut missing = Vec::new();
        let note = |at: usize| {
            missing.extend(self.names.get(at).map(String::as_str));
            Ok(())
        };
        let mut json = Vec::new();
        self.row(row, before, note, &mut json)?;
        let moved = op == Op::Insert && before.is_some();
        let follows = if moved { Follows::KeyBefore } else { Follows::OwnKey };
        let unfinished = Unfinished { landing: feed.landing, key: out.key, missing: &missing, follows };
        out.staged.push_staged(place, op, &unfinished, |bytes| {
            bytes.extend_from_slice(&json);
            Ok(())
        })
    }

    /// A row's JSON, without the columns that are not known, each of which is handed to `untold`.
    fn row(
        &self,
        (row, told): (Tuple<'_>, Told),
        before: Before<'_>,
        mut untold: impl FnMut(usize) -> Result<(), Unwritable>,
        out: &mut Vec<u8>,
    ) -> Result<(), Unwritable> {
        if row.count() != self.fields.len() {
            return Err(Unwritable::Misfit);
        }
        let mut earlier = before.map(|(tuple, told)| (tuple.values(), told));
        let mut values = Vec::with_capacity(self.fields.len());
        values.extend(row.values().map(|value| {
            let earlier = earlier.as_mut().and_then(|(values, told)| Some((values.next()?, *told)));
            known((value, told), earlier)
        }));
        let mut separator = b'{';
        for at in &self.order {
            match values[*at] {
                Some(text) => {
                    out.push(separator);
                    separator = b',';
                    field_value(*at, &self.fields[*at], text, out)?;
                }
                None => untold(*at)?,
            }
        }
        close(separator, out);
        Ok(())
    }

    /// The columns of the key, as a JSON object.
    fn key(
        &self,
        feed: &Feed,
        (row, told): (Tuple<'_>, Told),
        before: Before<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Unwritable> {
        out.clear();
        let mut earlier = before.map(|(tuple, told)| (tuple.values(), told));
        let mut separator = b'{';
        for (at, (field, value)) in self.fields.iter().zip(row.values()).enumerate() {
            let earlier = earlier.as_mut().and_then(|(values, told)| Some((values.next()?, *told)));
            if feed.key.get(at) == Some(&true) {
                let text = known((value, told), earlier).ok_or(Unwritable::Keyless(at))?;
                out.push(separator);
                separator = b',';
                field_value(at, field, text, out)?;
            }
        }
        close(separator, out);
        Ok(())
    }
}

/// A change of one row.
enum Change<'m> {
    Insert(Tuple<'m>),
    Update(Option<Old<'m>>, Tuple<'m>),
    Delete(Old<'m>),
}

/// Whether a column of the key differs. A value that was not sent has not changed.
fn moves_key(feed: &Feed, (old, told): (Tuple<'_>, Told), new: &Tuple<'_>) -> Result<bool, Unwritable> {
    let mut moves = false;
    for (at, (old, new)) in old.values().zip(new.values()).enumerate() {
        if feed.key.get(at) == Some(&true) {
            if told == Told::Key && old == Value::Null {
                return Err(Unwritable::Keyless(at));
            }
            moves |= new != Value::Unchanged && old != new;
        }
    }
    Ok(moves)
}

/// A value, if it is known: one that was not sent is that of the row before, as far as that was told.
fn known<'m>(value: (Value<'m>, Told), earlier: Option<(Value<'m>, Told)>) -> Option<Option<&'m [u8]>> {
    match value {
        (Value::Text(text), _) => Some(Some(text)),
        (Value::Null, Told::Whole) => Some(None),
        (Value::Null, Told::Key) => None,
        (Value::Unchanged, _) => known(earlier?, None),
    }
}

fn field_value(at: usize, field: &Field, text: Option<&[u8]>, out: &mut Vec<u8>) -> Result<(), Unwritable> {
    out.extend_from_slice(&field.label);
    match text {
        None => out.extend_from_slice(b"null"),
        Some(text) => {
            json::write(&field.shape, text, out).map_err(|Unreadable| Unwritable::Unreadable(at))?;
        }
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
