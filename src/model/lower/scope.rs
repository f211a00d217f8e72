//! What a mart can read, by the name that it reads it by. Knows columns, not where they come from.

use std::collections::{BTreeMap, BTreeSet};

use crate::finding::{Code, Finding, Span};
use crate::model::{DataType, Name, Nullability, Read};

/// Everything that a mart can read, by bare name.
#[derive(Clone, Default)]
pub(super) struct Scope {
    pub readables: BTreeMap<String, Readable>,
    /// Joins over time, which marts do not read.
    pub joins: BTreeSet<String>,
    /// Staging views, which marts do not read either.
    pub stagings: BTreeSet<String>,
    /// Whether all names are known: a name that is not here does not exist.
    pub all_named: bool,
}

/// A relation that a mart can read.
#[derive(Clone)]
pub(super) struct Readable {
    /// Its own name, and the stored relation behind it.
    pub read: Read,
    /// Its columns.
    pub columns: Vec<ReadColumn>,
    /// Whether all of its columns are known.
    pub complete: bool,
    /// Whether its rows depend on a clock.
    pub clock: bool,
    /// Whether it has the versions of a row, not only the current one.
    pub history: bool,
    /// Whether it is a fact, of which every change is told row by row.
    pub fact: bool,
    /// The columns that tell its rows apart, where they are known.
    pub key: Vec<String>,
}

/// A column of it.
#[derive(Clone)]
pub(super) struct ReadColumn {
    pub name: String,
    /// Unless it could not be read.
    pub data_type: Option<DataType>,
    pub nullability: Nullability,
}

impl Scope {
    /// A relation of a bare name, or of one with the schema that it stands in.
    pub fn find(&self, schema: Option<&str>, name: &str) -> Option<&Readable> {
        let readable = self.readables.get(name)?;
        match schema {
            Some(schema) if readable.read.name.schema != schema => None,
            _ => Some(readable),
        }
    }

    /// What is said of a name that is there, but for nobody to read here.
    pub fn refused(&self, name: &str, place: Span) -> Option<Finding> {
        if self.stagings.contains(name) {
            let message = format!("`{name}` is a staging view, and marts read none");
            return Some(
                Finding::new(Code::WrongRelation, message, place)
                    .label("its changes would not be seen")
                    .help("read a dimension, a fact or a lookup that it feeds"),
            );
        }
        let message = format!("`{name}` is a temporal join, and marts read none");
        self.joins.contains(name).then(|| {
            Finding::new(Code::WrongRelation, message, place)
                .label("its changes would not be seen")
                .help("read the relations that it joins")
        })
    }

    /// The names, for a reader who mistook one.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.readables.keys().map(String::as_str)
    }
}

impl Readable {
    /// A column by its name.
    pub fn column(&self, name: &str) -> Option<&ReadColumn> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The columns' names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|column| column.name.as_str())
    }

    /// A relation under its own name, stored as itself.
    pub fn stored(name: Name, columns: Vec<ReadColumn>, complete: bool) -> Self {
        let read = Read { stored: name.clone(), name };
        Self { read, columns, complete, clock: false, history: false, fact: false, key: Vec::new() }
    }
}
