//! Writes what a poll finds to files, batch by batch, for a process elsewhere that reads them into the warehouse: a
//! source and a warehouse that never meet. Pages are read as by any poll; what differs from what was said of its key
//! last is a change, at the time that it would land with. Needs the source only: what was said is kept beside the files.
//!
//! A batch is kept under a name that nobody reads; then what was said moves; then the file gets its name, or is put into
//! a bucket. Killed before the second it never was, and after it the next one to come gives the name: each batch is there
//! once. Knows no warehouse's tables.

mod batch;
mod state;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use futures_util::TryStreamExt as _;
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;

use super::super::position::SystemTime;
use super::super::preflight::Problems;
use super::super::{Point, Progress};
use super::Watermark;
use super::page::{self, Asked, From};
use super::table::{self, Table};
use crate::descriptor::{CHANGED_AT, Deletes, Name, OPERATION, Polling, Warehouse};
use crate::error::{During as _, Error, Result};
use crate::files::Storage;
use crate::land::Op;
use crate::quote;
use batch::{Draft, Id, Metadata, Out};
use state::{Fingerprint, Said, Standing, State, Write};

/// What has been written of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// How many changes.
    pub changes: u64,
    /// In how many files.
    pub files: u64,
}

/// Where files are written.
pub enum To<'t> {
    /// Into a directory, which also keeps what was written.
    Directory(&'t Path),
    /// Into a bucket, and what was written is kept in a directory.
    Bucket {
        /// The bucket, and what all names there begin with.
        bucket: Storage,
        /// The directory.
        state: &'t Path,
    },
}

/// A source that is polled into files.
pub struct Extractor<'w> {
    warehouse: &'w Warehouse,
    polling: &'w Polling,
    source: PgConnection,
    directory: PathBuf,
    out: Out,
    state: State,
}

impl<'w> Extractor<'w> {
    /// Opens both ends; a batch that was kept and not named is named.
    pub async fn begin(warehouse: &'w Warehouse, source_url: &str, to: To<'_>) -> Result<Self> {
        let Some(polling) = &warehouse.source.polling else {
            return Err(Error::new(format!("the source of `{}` is not polled", warehouse.name))
                .remedy("`capture = \"watermark\"` in `[source]` says by what changes are found"));
        };
        let mut source = super::super::connect(source_url).await?;
        let (directory, out) = match to {
            To::Directory(directory) => (directory, Out::Beside),
            To::Bucket { bucket, state } => (state, Out::Bucket(bucket)),
        };
        let state = State::open(directory)?;
        let site = table::site(&mut source).await?;
        state.stand(&format!("database `{}` of system {}", site.database, site.system_identifier))?;
        if let Out::Bucket(bucket) = &out {
            state.goes_to(bucket.shown())?;
        }
        let extractor = Self { warehouse, polling, source, directory: directory.to_owned(), out, state };
        for landing in warehouse.captured() {
            let folder = extractor.folder(&landing.source)?;
            if let Some(batch) = extractor.state.standing(&said_as(&landing.source, &landing.key))?.batch {
                Id::of(&folder, SystemTime(batch))?.publish(&extractor.out).await?;
            }
            batch::clear(&folder)?;
        }
        Ok(extractor)
    }

    /// Polls once; gives what was written of each table of which anything was.
    pub async fn poll(&mut self, progress: &mut dyn Progress) -> Result<BTreeMap<Name, Written>> {
        let mut problems = Problems::default();
        let tables = table::look(&mut self.source, self.warehouse, &mut problems).await?;
        problems.refuse()?;
        let now = table::now(&mut self.source).await?;
        let mut written = BTreeMap::new();
        for table in &tables {
            refuse_taken(table)?;
            let folder = self.folder(&table.name)?;
            let key: Vec<String> = table.key.iter().map(|one| one.name.clone()).collect();
            let mut reading = Reading {
                table,
                polling: self.polling,
                said: said_as(&table.name, &key),
                folder,
                now,
                upto: now.before(self.polling.margin),
                state: &self.state,
                out: &self.out,
                progress: &mut *progress,
                written: Written::default(),
            };
            reading.poll(&mut self.source).await?;
            if reading.written.changes > 0 {
                written.insert(table.name.clone(), reading.written);
            }
        }
        Ok(written)
    }

    /// Where a table's files are.
    fn folder(&self, table: &Name) -> Result<PathBuf> {
        let name = match table.schema.as_str() {
            "public" => table.table.clone(),
            schema => format!("{schema}.{}", table.table),
        };
        if name.contains('/') {
            return Err(Error::new(format!("no folder can be called `{name}`")));
        }
        let folder = self.directory.join(name);
        std::fs::create_dir_all(&folder).during(|| format!("cannot write to `{}`", folder.display()))?;
        Ok(folder)
    }
}

/// What was said is known by the key that it was said of.
fn said_as(table: &Name, key: &[String]) -> String {
    format!("{table} by {}", key.join(", "))
}

/// A change has fields of its own.
fn refuse_taken(table: &Table) -> Result<()> {
    match table.columns.iter().find(|column| [OPERATION, CHANGED_AT].contains(&column.as_str())) {
        Some(column) => Err(Error::new(format!(
            "`{}` has a column `{column}`, and what is written of a change has a field of that name",
            table.name
        ))
        .remedy("poll a view of the table that calls the column otherwise")),
        None => Ok(()),
    }
}

/// A table that is being read.
struct Reading<'r> {
    table: &'r Table,
    polling: &'r Polling,
    /// What it is called where what was said is kept.
    said: String,
    folder: PathBuf,
    now: SystemTime,
    /// Up to which time of change it is read.
    upto: SystemTime,
    state: &'r State,
    out: &'r Out,
    progress: &'r mut dyn Progress,
    written: Written,
}

impl Reading<'_> {
    async fn poll(&mut self, source: &mut PgConnection) -> Result<()> {
        let mut standing = self.state.standing(&self.said)?;
        let time = |time: Option<i64>| time.map(SystemTime);
        let mut from = match time(standing.watermark) {
            Some(watermark) => {
                let (last, compared) = (time(standing.last), time(standing.compared));
                let known = Watermark { time: Some(watermark), last, compared, written: Instant::now() };
                From::Time(known.looking_back(watermark, self.polling.look_back))
            }
            None => From::Beginning,
        };
        while let Some(more) = self.page(from, source, &mut standing).await? {
            from = more;
        }
        let is_due = |at: i64| self.upto >= SystemTime(at).after(self.polling.compare_every);
        if self.table.deletes == Deletes::Compared && standing.compared.is_none_or(is_due) {
            self.compare(source, &mut standing).await?;
        }
        Ok(())
    }

    /// Reads a page, and writes what is new in it; gives where the next one begins.
    async fn page(
        &mut self,
        from: From,
        source: &mut PgConnection,
        standing: &mut Standing,
    ) -> Result<Option<From>> {
        let asked = Asked { table: self.table, from, upto: self.upto, most: self.polling.page };
        let mut draft = self.draft(standing)?;
        let write = self.state.begin()?;
        let mut keys = write.keys(&self.said)?;
        let page = page::read(source, &asked, |row| {
            let fingerprint = Fingerprint::of(row.full_row);
            let (op, time) = match keys.get(row.key)? {
                Some(said) if said.row == Some(fingerprint) => return Ok(()),
                // Time never runs backwards for a key.
                Some(said) => {
                    (if said.row.is_some() { Op::Update } else { Op::Insert }, row.time.max(said.time.next()))
                }
                None => (Op::Insert, row.time),
            };
            draft.push(op, time, row.full_row)?;
            keys.put(row.key, Said { time, row: Some(fingerprint) })
        })
        .await?;
        drop(keys);
        standing.last = standing.last.max(page.last.as_ref().map(|cursor| cursor.time.0));
        let last = page.last.filter(|_| page.rows >= u64::from(self.polling.page));
        let read_to = last.as_ref().map_or(self.upto, |cursor| cursor.time);
        standing.watermark = standing.watermark.max(Some(read_to.0));
        if draft.changes() > 0 || last.is_none() {
            self.finish(draft, write, standing).await?;
        }
        Ok(last.map(From::Behind))
    }

    /// Writes a delete for each key that is there no longer: both sides come in the order of their bytes.
    async fn compare(&mut self, source: &mut PgConnection, standing: &mut Standing) -> Result<()> {
        let name = &self.table.name;
        let unread = || format!("cannot read the keys of `{name}`");
        let sql = query_of_keys(self.table);
        let all = self.state.all(&self.said)?;
        let mut gone = Vec::new();
        let mut there = sqlx::query_scalar::<_, String>(AssertSqlSafe(sql)).fetch(source);
        let mut next = there.try_next().await.during(unread)?;
        for known in state::live(&all)? {
            let (key, time) = known?;
            while next.as_ref().is_some_and(|next| next.as_bytes() < key.as_bytes()) {
                next = there.try_next().await.during(unread)?;
            }
            if next.as_ref() != Some(&key) {
                gone.push((key, time));
            }
            if gone.len() >= self.polling.page as usize {
                self.delete(&std::mem::take(&mut gone), standing).await?;
            }
        }
        self.delete(&gone, standing).await?;
        standing.compared = Some(self.upto.0);
        self.state.begin()?.commit_with(&self.said, standing)
    }

    /// Writes a batch of deletes.
    async fn delete(&mut self, gone: &[(String, SystemTime)], standing: &mut Standing) -> Result<()> {
        if gone.is_empty() {
            return Ok(());
        }
        let mut draft = self.draft(standing)?;
        let write = self.state.begin()?;
        let mut keys = write.keys(&self.said)?;
        for (key, time) in gone {
            let time = self.upto.max(time.next());
            draft.push(Op::Delete, time, key)?;
            keys.put(key, Said { time, row: None })?;
        }
        drop(keys);
        self.finish(draft, write, standing).await
    }

    /// A batch that comes after all that were written.
    fn draft(&self, standing: &Standing) -> Result<Draft> {
        let after = standing.batch.map(|batch| SystemTime(batch).next());
        Id::of(&self.folder, after.map_or(self.now, |after| after.max(self.now))).map(Draft::new)
    }

    /// Keeps a batch with what was said by it, and names it.
    async fn finish(&mut self, mut draft: Draft, write: Write, standing: &mut Standing) -> Result<()> {
        if draft.changes() == 0 {
            return write.commit_with(&self.said, standing);
        }
        let watermark = standing.watermark.map_or(self.upto, SystemTime);
        draft.keep(&Metadata { extracted_at: self.now, watermark })?;
        self.progress.reached(Point::BatchCopied)?;
        standing.batch = Some(draft.id().time.0);
        write.commit_with(&self.said, standing)?;
        self.progress.reached(Point::BatchLanded)?;
        draft.id().publish(self.out).await?;
        self.written.changes += draft.changes();
        self.written.files += 1;
        self.progress.landed(&self.table.name, draft.changes());
        Ok(())
    }
}

/// The keys that a source has, in the order of their bytes.
fn query_of_keys(table: &Table) -> String {
    let object: Vec<String> = table
        .key
        .iter()
        .map(|one| format!("{}, t.{}", quote::literal(&one.name), quote::identifier(&one.name)))
        .collect();
    format!(
        "SELECT key FROM (SELECT jsonb_build_object({})::text AS key FROM {} AS t) AS there ORDER BY convert_to(key, 'UTF8')",
        object.join(", "),
        quote::name(&table.name)
    )
}
