//! What a dimension wears, as plain data: a surrogate key, and the view of its versions under other names.

use serde::Serialize;

use super::{DataType, Definition, Mart, Name};

/// A column that tells the versions of a dimension apart by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Surrogate {
    /// Its name.
    pub name: String,
    /// Becomes a COMMENT.
    pub description: Option<String>,
    /// How it is made.
    pub made: Made,
}

/// How a surrogate key is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Made {
    /// The table's identity: a `bigint`, stored.
    Identity,
    /// The MD5 of these parts' text, joined by hyphens: a `text`, computed where it is read.
    Hash(Vec<Part>),
}

/// A part of a hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Part {
    /// A column of the dimension, which takes a field of the landed row.
    Column(String, DataType),
    /// The period's start.
    Start,
}

/// The versions of a dimension under other names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// The dimension's table.
    pub relation: Name,
    /// The period's start there.
    pub start: String,
    /// The period's end there.
    pub end: String,
    /// What is shown, in its order, by name.
    pub columns: Vec<(String, ShownColumn)>,
}

/// What a column shows of a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum ShownColumn {
    /// A column of the table.
    Stored(String),
    /// The hash of these parts.
    Hash(Vec<Part>),
    /// The period's start.
    Start,
    /// The period's end.
    End(CurrentEnd),
    /// Whether the version is the current one.
    IsCurrent,
}

/// What the end of a current version is shown as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum CurrentEnd {
    /// As it is stored.
    Infinity,
    /// NULL.
    Null,
    /// The beginning of 9999-12-31, in the warehouse's zone.
    LastDay,
}

/// What can be told of a landed change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Change {
    /// What it did, as a word.
    Operation,
    /// What it did, as a letter.
    Letter,
    /// Its system time.
    Time,
    /// Its position.
    Position,
    /// When it landed.
    Landed,
    /// The batch that it landed in.
    Batch,
    /// The batch that its file says it is of.
    BatchId,
}

impl Mart {
    /// Whether it shows a dimension's versions, and stands in silver.
    pub fn is_shown(&self) -> bool {
        matches!(self.definition, Definition::Shown(_))
    }
}
