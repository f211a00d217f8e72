//! What a source's catalog says of its tables. Knows nothing of specs.

use medallion_server::ask;
use serde::Deserialize;

use crate::cli::Error;

/// Asks for all of it.
const TABLES: &str = include_str!("tables.sql");

/// A database's relations.
#[derive(Debug, Deserialize)]
pub(super) struct Source {
    pub database: String,
    pub relations: Vec<Relation>,
}

/// A table, or what looks like one.
#[derive(Debug, Deserialize)]
pub(super) struct Relation {
    pub schema: String,
    pub name: String,
    /// PostgreSQL's letter.
    pub kind: char,
    /// Whether its changes are in the log.
    pub is_logged: bool,
    /// What is written of old rows: PostgreSQL's letter.
    pub identity: char,
    pub comment: Option<String>,
    pub columns: Vec<Column>,
    /// What no two rows share: the primary key first, then the shortest.
    pub keys: Vec<Key>,
    pub references: Vec<Reference>,
    /// The one column whose values split it into partitions by their order.
    pub split_by: Option<String>,
}

/// A column, its domains and arrays taken off its type.
#[derive(Debug, Deserialize)]
pub(super) struct Column {
    pub name: String,
    #[serde(rename = "type")]
    pub data_type: String,
    pub type_schema: String,
    /// PostgreSQL's letter.
    pub type_kind: char,
    /// The type as PostgreSQL shows it, with its arguments.
    pub shown: String,
    pub is_array: bool,
    pub domain: Option<String>,
    pub not_null: bool,
    pub is_generated: bool,
    pub labels: Vec<String>,
    /// The function that makes JSON of its values, where that is none of PostgreSQL's own.
    pub becomes_json_by: Option<String>,
    pub comment: Option<String>,
}

/// A unique index without NULL.
#[derive(Debug, Deserialize)]
pub(super) struct Key {
    pub name: String,
    pub is_primary: bool,
    pub is_identity: bool,
    pub columns: Vec<String>,
}

/// A foreign key: the table, and pairs of columns, here and there.
#[derive(Debug, Deserialize)]
pub(super) struct Reference {
    pub schema: String,
    pub table: String,
    pub columns: Vec<(String, String)>,
}

/// Reads a source's catalog.
pub(super) fn read(url: &str) -> Result<Source, Error> {
    let said = ask(url, TABLES)?.map_err(|why| {
        Error::new(
            format!("cannot read the source's tables: {why}"),
            "is the server running, and does SOURCE_DATABASE_URL name it? \
             write it as postgresql://user:password@host:5432/database",
        )
    })?;
    serde_json::from_str(&said).map_err(|cause| {
        Error::new(format!("the source's tables cannot be understood: {cause}"), "report it")
    })
}
