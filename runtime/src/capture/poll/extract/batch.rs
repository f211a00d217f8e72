//! A batch on its way into a file: written under a name that nobody reads, kept on disk, then renamed or put into a bucket,
//! so that whoever lists what is there finds whole batches. What it is stands behind its changes: a file that is cut does
//! not say it. Knows no source.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use chrono::SecondsFormat;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::super::super::position::SystemTime;
use crate::descriptor::{CHANGED_AT, OPERATION};
use crate::error::{During as _, Error, Result};
use crate::files::{self, Storage};
use crate::land::Op;

/// Names that are no batch's so far.
const UNFINISHED: &str = ".part";

/// Where batches go that are whole.
pub enum Out {
    /// They stay in the directory in which they were written.
    Beside,
    /// Into a bucket; they are written elsewhere.
    Bucket(Storage),
}

/// Batches are named by their times, which rise.
#[derive(Clone, Debug)]
pub struct Id {
    /// When it was read, or right after the batch before.
    pub time: SystemTime,
    folder: PathBuf,
    text: String,
}

impl Id {
    pub fn of(folder: &Path, time: SystemTime) -> Result<Self> {
        let text = calendar(time)?.format("%Y%m%dT%H%M%S%.6fZ").to_string();
        Ok(Self { time, folder: folder.to_owned(), text })
    }

    fn path(&self) -> PathBuf {
        self.folder.join(format!("{}.json", self.text))
    }

    fn unfinished(&self) -> PathBuf {
        self.folder.join(format!(".{}.json{UNFINISHED}", self.text))
    }

    fn unwritten(&self) -> String {
        format!("cannot write the file `{}`", self.path().display())
    }

    /// Gives a batch that is kept its name; nothing where it has it already.
    pub async fn publish(&self, out: &Out) -> Result<()> {
        match out {
            Out::Beside => self.rename(),
            Out::Bucket(bucket) => self.put(bucket).await,
        }
    }

    /// An object is there as a whole or not at all. Put a second time it is the same one.
    async fn put(&self, bucket: &Storage) -> Result<()> {
        let kept = self.unfinished();
        if !kept.exists() {
            return Ok(());
        }
        let table = self.folder.file_name().unwrap_or_default().to_string_lossy();
        bucket.put(&format!("{table}/{}.json", self.text), &kept).await?;
        fs::remove_file(&kept).during(|| format!("cannot remove `{}`", kept.display()))
    }

    fn rename(&self) -> Result<()> {
        let unnamed = || format!("cannot name the file `{}`", self.path().display());
        match fs::rename(self.unfinished(), self.path()) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
            renamed => renamed.during(unnamed)?,
        }
        File::open(&self.folder).and_then(|folder| folder.sync_all()).during(unnamed)
    }
}

/// Removes what is not finished and never will be.
pub fn clear(folder: &Path) -> Result<()> {
    let uncleared = || format!("cannot look into `{}`", folder.display());
    for entry in fs::read_dir(folder).during(uncleared)? {
        let entry = entry.during(uncleared)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') && name.ends_with(UNFINISHED) {
            fs::remove_file(entry.path()).during(uncleared)?;
        }
    }
    Ok(())
}

/// What a batch says of itself, beside its changes.
pub struct Metadata {
    /// When it was read.
    pub extracted_at: SystemTime,
    /// Up to which time of change all that was there is written.
    pub watermark: SystemTime,
}

/// A batch that is being written. Where nothing has changed there is no file.
pub struct Draft {
    id: Id,
    file: Option<BufWriter<File>>,
    hash: Sha256,
    changes: u64,
}

impl Draft {
    pub fn new(id: Id) -> Self {
        Self { id, file: None, hash: Sha256::new(), changes: 0 }
    }

    /// How many changes it has.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Its name.
    pub fn id(&self) -> &Id {
        &self.id
    }

    /// Adds a change: the row's text, a JSON object, with what was done to it, and when.
    pub fn push(&mut self, op: Op, time: SystemTime, row: &str) -> Result<()> {
        let operation = match op {
            Op::Insert => "INSERT",
            Op::Update => "UPDATE",
            Op::Delete | Op::Truncate => "DELETE",
        };
        let rest = row.strip_prefix('{').unwrap_or(row);
        let mut change = format!("{{\"{OPERATION}\":\"{operation}\",\"{CHANGED_AT}\":\"{}\"", shown(time)?);
        if rest != "}" {
            change.push(',');
        }
        change.push_str(rest);
        let Self { id, file, hash, changes } = self;
        let unwritten = || id.unwritten();
        let before = if *changes == 0 { "{\"changes\": [\n" } else { ",\n" };
        hash.update(&change);
        hash.update(b"\n");
        *changes += 1;
        let file = match file {
            Some(file) => file,
            none => none.insert(BufWriter::new(File::create(id.unfinished()).during(unwritten)?)),
        };
        file.write_all(before.as_bytes()).and_then(|()| file.write_all(change.as_bytes())).during(unwritten)
    }

    /// Keeps it on disk, under a name that nobody reads.
    pub fn keep(&mut self, metadata: &Metadata) -> Result<()> {
        let Some(mut file) = self.file.take() else { return Ok(()) };
        let unwritten = || self.id.unwritten();
        let metadata = json!({
            "batch_id": self.id.text,
            "extracted_at": shown(metadata.extracted_at)?,
            "watermark": shown(metadata.watermark)?,
            "change_count": self.changes,
            "checksum": files::hex(&self.hash.clone().finalize()),
        });
        write!(file, "\n],\n\"batch_metadata\": {metadata}}}\n").during(unwritten)?;
        let file = file.into_inner().map_err(io::IntoInnerError::into_error).during(unwritten)?;
        file.sync_all().during(unwritten)
    }
}

fn shown(time: SystemTime) -> Result<String> {
    Ok(calendar(time)?.to_rfc3339_opts(SecondsFormat::Micros, true))
}

fn calendar(time: SystemTime) -> Result<chrono::DateTime<chrono::Utc>> {
    time.calendar().ok_or_else(|| Error::new("a time of change lies beyond the calendar"))
}
