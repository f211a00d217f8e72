//! What has been written, beside the files: of each key its last time and what its row was, and how far each table has
//! been read. It moves in one transaction with each batch, so that a kill leaves a batch that is written or is not. On
//! disk, however many keys there are. Knows no source and no file.

use std::path::Path;

use redb::{
    Database, ReadOnlyTable, ReadableDatabase as _, ReadableTable as _, Table, TableDefinition,
    WriteTransaction,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::super::super::position::SystemTime;
use crate::error::{During as _, Error, Result};

/// Of all that it keeps, so much is in memory.
const CACHED: usize = 16 << 20;

/// Where it stands in the directory: where nobody looks for files.
pub const FOLDER: &str = ".medallion";

const STANDING: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("standing");

/// Which source it is.
const SITE: &str = "";

/// Which bucket its files went to.
const PLACE: &str = " ";

/// How far a table has been read and written.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Standing {
    /// Up to which time of change all that was there is written.
    pub watermark: Option<i64>,
    /// The time of change that was read last.
    pub last: Option<i64>,
    /// When keys were last compared.
    pub compared: Option<i64>,
    /// The time of the last batch, which names it.
    pub batch: Option<i64>,
}

/// What was said of a key last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    /// The time of the change.
    pub time: SystemTime,
    /// What its row was; none where it was gone.
    pub row: Option<Fingerprint>,
}

/// What tells one row's text from another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint([u8; 16]);

impl Fingerprint {
    pub fn of(full_row: &str) -> Self {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&Sha256::digest(full_row)[..16]);
        Self(bytes)
    }
}

impl Said {
    fn bytes(self) -> Vec<u8> {
        let mut bytes = self.time.0.to_be_bytes().to_vec();
        bytes.extend(self.row.iter().flat_map(|row| row.0));
        bytes
    }

    fn of(bytes: &[u8]) -> Result<Self> {
        let spoilt = || Error::new(unkept()).remedy("remove it: all is written again, and lands once");
        let (time, row) = bytes.split_first_chunk().ok_or_else(spoilt)?;
        let row = match row {
            [] => None,
            row => Some(Fingerprint(row.try_into().map_err(|_| spoilt())?)),
        };
        Ok(Self { time: SystemTime(i64::from_be_bytes(*time)), row })
    }
}

/// What has been written, of one directory.
pub struct State(Database);

fn unkept() -> String {
    format!("cannot keep in `{FOLDER}` what has been written")
}

impl State {
    /// Opens it, and makes it where it is not there. Nobody else may have it open.
    pub fn open(directory: &Path) -> Result<Self> {
        let folder = directory.join(FOLDER);
        std::fs::create_dir_all(&folder).during(|| format!("cannot write to `{}`", directory.display()))?;
        let opened = Database::builder().set_cache_size(CACHED).create(folder.join("extract.redb"));
        let database = opened.map_err(|cause| {
            Error::new(unkept())
                .because(cause)
                .remedy("one `medallion extract` at a time writes to a directory: wait for the other one")
        })?;
        let state = Self(database);
        let write = state.begin()?;
        write.open(STANDING)?;
        write.commit()?;
        Ok(state)
    }

    /// Sees to it that a directory has what one source says.
    pub fn stand(&self, site: &str) -> Result<()> {
        match self.first(SITE, site)? {
            None => Ok(()),
            Some(known) => {
                Err(Error::new(format!("the source is {site}, and what was written so far is of {known}"))
                    .remedy("correct SOURCE_DATABASE_URL, or write to another directory"))
            }
        }
    }

    /// Sees to it that it says what is in one bucket.
    pub fn goes_to(&self, place: &str) -> Result<()> {
        match self.first(PLACE, place)? {
            None => Ok(()),
            Some(known) => Err(Error::new(format!(
                "files are to be written to `{place}`, and what was written so far is in `{known}`"
            ))
            .remedy("correct --to, or name another directory with --state: all is written again then")),
        }
    }

    /// Keeps what is said the first time; gives that where something else is said later.
    fn first(&self, word: &str, said: &str) -> Result<Option<String>> {
        let write = self.begin()?;
        let known = write.open(STANDING)?.get(word).during(unkept)?.map(|known| known.value().to_vec());
        match known {
            Some(known) if known == said.as_bytes() => Ok(None),
            Some(known) => Ok(Some(String::from_utf8_lossy(&known).into_owned())),
            None => {
                write.open(STANDING)?.insert(word, said.as_bytes()).during(unkept)?;
                write.commit()?;
                Ok(None)
            }
        }
    }

    /// How far a table has been read and written; makes room for its keys.
    pub fn standing(&self, table: &str) -> Result<Standing> {
        let write = self.begin()?;
        drop(write.keys(table)?);
        let known = write.open(STANDING)?.get(table).during(unkept)?.map(|known| known.value().to_vec());
        write.commit()?;
        known.map_or_else(|| Ok(Standing::default()), |known| serde_json::from_slice(&known).during(unkept))
    }

    /// Begins to move it.
    pub fn begin(&self) -> Result<Write> {
        self.0.begin_write().map(Write).during(unkept)
    }

    /// All keys of a table and what was said of them last, in the order of their bytes, as of now.
    pub fn all(&self, table: &str) -> Result<ReadOnlyTable<&'static str, &'static [u8]>> {
        let read = self.0.begin_read().during(unkept)?;
        read.open_table(TableDefinition::new(&keys_of(table))).during(unkept)
    }
}

fn keys_of(table: &str) -> String {
    format!("keys of {table}")
}

/// The keys that are there, of all that were ever said.
pub fn live(
    keys: &ReadOnlyTable<&'static str, &'static [u8]>,
) -> Result<impl Iterator<Item = Result<(String, SystemTime)>>> {
    let all = keys.iter().during(unkept)?;
    Ok(all.filter_map(|entry| {
        let read = || -> Result<Option<(String, SystemTime)>> {
            let (key, said) = entry.during(unkept)?;
            let said = Said::of(said.value())?;
            Ok(said.row.map(|_| (key.value().to_owned(), said.time)))
        };
        read().transpose()
    }))
}

/// A step of it, which is taken as a whole or not at all.
pub struct Write(WriteTransaction);

impl Write {
    fn open(
        &self,
        definition: TableDefinition<'_, &'static str, &'static [u8]>,
    ) -> Result<Table<'_, &'static str, &'static [u8]>> {
        self.0.open_table(definition).during(unkept)
    }

    /// What was said of the keys of a table.
    pub fn keys(&self, table: &str) -> Result<Keys<'_>> {
        self.open(TableDefinition::new(&keys_of(table))).map(Keys)
    }

    /// Moves how far a table has been read and written, and takes the step.
    pub fn commit_with(self, table: &str, standing: &Standing) -> Result<()> {
        let text = serde_json::to_vec(standing).during(unkept)?;
        self.open(STANDING)?.insert(table, text.as_slice()).during(unkept)?;
        self.commit()
    }

    fn commit(self) -> Result<()> {
        self.0.commit().during(unkept)
    }
}

/// What was said of the keys of a table.
pub struct Keys<'t>(Table<'t, &'static str, &'static [u8]>);

impl Keys<'_> {
    /// What was said of one last.
    pub fn get(&self, key: &str) -> Result<Option<Said>> {
        let said = self.0.get(key).during(unkept)?;
        said.map(|said| Said::of(said.value())).transpose()
    }

    /// Keeps what is said of it now.
    pub fn put(&mut self, key: &str, said: Said) -> Result<()> {
        self.0.insert(key, said.bytes().as_slice()).map(drop).during(unkept)
    }
}
