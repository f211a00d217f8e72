//! The lock file: what the last migration left, kept beside the migrations. The next one is the difference to
//! it, so that the tool needs neither a database nor an earlier commit. Text in, text out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use squawk_lexer::TokenKind;

/// The shape of the file; another one is not read.
const FORMAT: u32 = 1;

/// What the last migration left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    format: u32,
    /// The hash of the objects, as the database keeps it.
    pub objects_hash: String,
    /// The migrations, first to last, each with a checksum of what it does.
    pub migrations: Vec<Migration>,
    /// Each silver table's columns, in the order of their introduction.
    pub columns: BTreeMap<String, Vec<String>>,
    /// The resolved warehouse, as JSON.
    pub model: String,
    /// The scripts, in the order in which they run.
    pub scripts: Vec<Script>,
}

/// A migration, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Migration {
    /// Its name, and its folder's.
    pub name: String,
    /// The checksum of `up.sql`.
    pub up: String,
    /// The checksum of `down.sql`.
    pub down: String,
    /// What it risks that a spec has to allow.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub risks: Vec<Risk>,
}

/// What a migration risks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Risk {
    /// The relation as the spec calls it, and the hazard: `dim_customer_hist.rewrite`.
    pub what: String,
    /// Why the spec allows it, where it does or once did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed: Option<String>,
}

/// A script of objects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// Its title.
    pub title: String,
    /// Its statements.
    pub sql: String,
}

/// Why a lock file says nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It is not what the tool has written.
    #[error("it is not what `medallion generate` has written: {0}")]
    Damaged(String),
    /// Another version of the tool wrote it.
    #[error("it has format {0}, and this tool reads {FORMAT}")]
    Format(u32),
}

impl Lock {
    /// A lock of these parts.
    pub fn new(objects_hash: String, model: String, scripts: Vec<Script>) -> Self {
        Self {
            format: FORMAT,
            objects_hash,
            migrations: Vec::new(),
            columns: BTreeMap::new(),
            model,
            scripts,
        }
    }

    /// Reads the file.
    ///
    /// # Errors
    ///
    /// It is damaged, or of another format.
    pub fn read(text: &str) -> Result<Self, Unusable> {
        let lock: Self =
            toml::from_str(text).map_err(|error| Unusable::Damaged(error.message().to_owned()))?;
        if lock.format == FORMAT { Ok(lock) } else { Err(Unusable::Format(lock.format)) }
    }

    /// Notes what a spec allows now. What was allowed once stays so: a migration may have run on account of it.
    pub fn allow(&mut self, allowed: &BTreeMap<String, String>) {
        for risk in self.migrations.iter_mut().flat_map(|one| &mut one.risks) {
            if risk.allowed.is_none() {
                risk.allowed = allowed.get(&risk.what).cloned();
            }
        }
    }

    /// What migrations risk that no spec has allowed: the migration's name, and what it risks.
    pub fn refused(&self) -> impl Iterator<Item = (&str, &str)> {
        let risks = self.migrations.iter().flat_map(|one| one.risks.iter().map(move |risk| (one, risk)));
        risks
            .filter(|(_, risk)| risk.allowed.is_none())
            .map(|(one, risk)| (one.name.as_str(), risk.what.as_str()))
    }

    /// The file's text, without the mark.
    pub fn text(&self) -> String {
        toml::to_string_pretty(self).expect("a lock is plain data with string keys")
    }
}

impl Migration {
    /// A migration with the checksums of its texts.
    pub fn of(name: &str, up: &str, down: &str) -> Self {
        Self { name: name.to_owned(), up: checksum(up), down: checksum(down), risks: Vec::new() }
    }
}

/// The checksum of what SQL does: remarks, white space and the ends of lines make no difference.
pub fn checksum(sql: &str) -> String {
    let mut hash = Sha256::new();
    let mut rest = sql;
    // Its words are all that counts: how they make statements need not be known.
    for token in squawk_lexer::tokenize(sql) {
        let (text, after) = rest.split_at(token.len as usize);
        rest = after;
        if !matches!(
            token.kind,
            TokenKind::Whitespace | TokenKind::LineComment | TokenKind::BlockComment { .. }
        ) {
            // Within a string, only the ends of lines may differ.
            hash.update(text.replace("\r\n", "\n"));
            hash.update([0]);
        }
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
