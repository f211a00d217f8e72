//! Reads a file that has been fetched, row by row: each a JSON object, or a line that is none with the reason. Holds one
//! row at a time, however large the file is. Knows no storage and no database.

mod change_log;
mod csv;
mod json_array;
mod json_lines;
mod parquet;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read as _, Seek as _, SeekFrom};

use crate::descriptor::{Feed, FeedFormat};
use crate::error::{During as _, Result};

/// A row, or what stands where one should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its line; where a file has no lines, which of its rows it is.
    pub line: u64,
    /// Where it ends, in bytes from the file's beginning; zero where a file is not read by lines.
    pub end: u64,
    /// What it says.
    pub row: Row,
}

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    /// A JSON object, as text.
    Object(Vec<u8>),
    /// None, as far as it could be read.
    Malformed {
        /// What stands there.
        text: String,
        /// Why it is none.
        why: String,
    },
}

impl Row {
    /// How many bytes it takes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Object(text) => text.len() as u64,
            Self::Malformed { text, .. } => text.len() as u64,
        }
    }
}

/// The rows of a file, in their order.
pub trait Records: Send {
    /// The next one.
    fn next(&mut self) -> Result<Option<Record>>;
}

/// Whether all of a file is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whole {
    /// It is, up to here.
    To(u64),
    /// It ends where no file of its kind ends: somebody is still writing it.
    Cut(String),
    /// It is no file of its kind, and will be none.
    Unfit(String),
}

/// From where on a file is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct From {
    /// So many bytes have been read.
    pub position: u64,
    /// They were so many lines, or rows.
    pub lines: u64,
}

/// No row is longer.
const LONGEST: u64 = 64 << 20;

/// So much of what is no row is kept.
const KEPT: usize = 1 << 20;

/// Looks whether all of a file is there, before anything of it lands.
pub fn whole(feed: &Feed, file: &mut File, size: u64) -> Result<Whole> {
    match &feed.format {
        FeedFormat::Csv(csv) => csv::whole(csv, feed.changed, file, size),
        FeedFormat::JsonLines => json_lines::whole(feed.changed, file, size),
        FeedFormat::JsonArray => json_array::whole(file, size),
        FeedFormat::ChangeLog => change_log::whole(file, size),
        FeedFormat::Parquet => parquet::whole(file, size),
    }
}

/// Which batch a file says it is, where files of its kind do.
pub fn batch_id(feed: &Feed, file: &mut File) -> Result<Option<String>> {
    match &feed.format {
        FeedFormat::ChangeLog => change_log::batch_id(file).map(Some),
        _ => Ok(None),
    }
}

/// Reads a file up to a place, each row with the fields that its path tells.
pub fn records(
    feed: &Feed,
    fields: &BTreeMap<String, String>,
    mut file: File,
    from: From,
    to: u64,
) -> Result<Box<dyn Records>> {
    let fields = Fields::new(fields);
    Ok(match &feed.format {
        FeedFormat::Csv(csv) => Box::new(csv::Rows::new(csv, fields, file, from, to)?),
        FeedFormat::JsonLines => Box::new(json_lines::Lines::new(fields, file, from, to)?),
        FeedFormat::JsonArray | FeedFormat::ChangeLog => {
            rewind(&mut file, 0)?;
            let elements = json_array::Elements::new(BufReader::new(file));
            Box::new(json_array::Rows::new(fields, elements, from.lines))
        }
        FeedFormat::Parquet => Box::new(parquet::Rows::new(fields, file, from.lines)?),
    })
}

/// The fields that a file's path tells, to be put before a row's own: of two of one name the row's own counts.
struct Fields(Vec<u8>);

impl Fields {
    fn new(fields: &BTreeMap<String, String>) -> Self {
        let mut text = Vec::new();
        for (field, value) in fields {
            string(field, &mut text);
            text.push(b':');
            string(value, &mut text);
            text.push(b',');
        }
        Self(text)
    }

    /// The text of a row with them, if it is one.
    fn object(&self, text: &[u8]) -> Result<Vec<u8>, String> {
        let text = std::str::from_utf8(text).map_err(|_| "it is not UTF-8".to_owned())?.trim();
        serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(|error| why(&error))?;
        let Some(rest) = text.strip_prefix('{') else { return Err("it is no JSON object".to_owned()) };
        let mut object = Vec::with_capacity(text.len() + self.0.len());
        object.push(b'{');
        object.extend_from_slice(&self.0);
        if rest.trim_start() == "}" && object.last() == Some(&b',') {
            object.pop();
        }
        object.extend_from_slice(rest.as_bytes());
        Ok(object)
    }

    fn row(&self, text: &[u8]) -> Row {
        match self.object(text) {
            Ok(object) => Row::Object(object),
            Err(why) => malformed(text, why),
        }
    }
}

/// What a reader of JSON says, without the line that it counts in a single row.
fn why(error: &serde_json::Error) -> String {
    let said = error.to_string();
    let what = said.split(" at line ").next().unwrap_or(&said);
    match error.column() {
        0 => what.to_owned(),
        column => format!("{what} at column {column}"),
    }
}

fn malformed(text: &[u8], why: impl Into<String>) -> Row {
    let kept = &text[..text.len().min(KEPT)];
    // PostgreSQL's text holds no NUL.
    Row::Malformed { text: String::from_utf8_lossy(kept).replace('\0', "\u{fffd}"), why: why.into() }
}

/// A JSON string.
fn string(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("memory takes what is written");
}

fn rewind(file: &mut File, to: u64) -> Result<()> {
    file.seek(SeekFrom::Start(to)).map(drop).during(unread)
}

/// The last line, as far as it has no end: empty where it has.
fn unended(file: &mut File, size: u64) -> Result<Vec<u8>> {
    let mut length: u64 = 4 << 10;
    loop {
        let start = size.saturating_sub(length);
        rewind(file, start)?;
        let mut tail = Vec::new();
        file.by_ref().take(size - start).read_to_end(&mut tail).during(unread)?;
        if let Some(end) = tail.iter().rposition(|byte| *byte == b'\n') {
            return Ok(tail.split_off(end + 1));
        }
        if start == 0 || length > LONGEST {
            return Ok(tail);
        }
        length *= 2;
    }
}

fn unread() -> String {
    "cannot read what was kept of a file".to_owned()
}
