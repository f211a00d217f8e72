//! What a database holds, object by object: what proves a migration and what finds a drift read the same.

use std::collections::BTreeMap;

use serde::Deserialize;

const OBJECTS: &str = include_str!("objects.sql");

/// The SQL that tells what a database holds, a line an object, in an order of its own.
pub fn lines() -> String {
    format!(
        "SET search_path = '';\n{OBJECTS}\nSELECT concat_ws(' ', kind, name, says) FROM object \
         ORDER BY kind, name COLLATE pg_catalog.\"C\", says COLLATE pg_catalog.\"C\";"
    )
}

/// The SQL that tells the same with all that is known of each object.
pub(super) fn rows() -> String {
    format!("SET search_path = '';\n{OBJECTS}\nSELECT to_jsonb(object) FROM object;")
}

/// An object, or something that is said of one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Object {
    /// What is made later has a higher one.
    pub(super) ordinal: i64,
    /// What it is, in a word or two.
    pub(super) kind: String,
    /// How it is called.
    pub(super) name: String,
    /// What it is a part of: that one's kind and name.
    pub(super) of: Option<String>,
    /// What tells it from another one of its name.
    pub(super) says: Option<String>,
    /// The SQL that makes it.
    pub(super) make: Option<String>,
    /// The SQL that takes it away.
    pub(super) unmake: Option<String>,
    /// The SQL that turns another one of its name into it.
    pub(super) turn: Option<String>,
    /// Whether such things come and go at run time.
    pub(super) passing: bool,
}

impl Object {
    /// Its kind and name.
    pub(super) fn key(&self) -> String {
        format!("{} {}", self.kind, self.name)
    }
}

/// The objects of a database, by kind and name.
pub(super) type Catalog = BTreeMap<String, Object>;

/// Reads what the database has answered to `rows`.
pub(super) fn read(answer: &str) -> Result<Catalog, serde_json::Error> {
    let lines = answer.lines().filter(|line| line.starts_with('{'));
    lines.map(|line| serde_json::from_str(line).map(|object: Object| (object.key(), object))).collect()
}
