//! The texts that make a spec: `spec.toml` and what lies beside it. Reads no file: `cli::read` does.

use std::collections::BTreeMap;

use crate::finding::SourceText;

/// The texts of one warehouse's folder.
#[derive(Clone, Debug)]
pub struct Files {
    /// The folder's name: what the warehouse should be called.
    pub folder: String,
    /// `spec.toml`.
    pub spec: SourceText,
    /// The SQL files beside it, by file name.
    pub sql: BTreeMap<String, SourceText>,
    /// `demo.toml`.
    pub demo: Option<SourceText>,
    /// The unit tests, `tests/*.toml`, by file name.
    pub unit_tests: Vec<SourceText>,
}

impl Files {
    /// A spec that is one text, with nothing beside it.
    pub fn alone(folder: impl Into<String>, spec: SourceText) -> Self {
        Self { folder: folder.into(), spec, sql: BTreeMap::new(), demo: None, unit_tests: Vec::new() }
    }

    /// All the texts.
    pub fn texts(&self) -> impl Iterator<Item = SourceText> + '_ {
        std::iter::once(&self.spec)
            .chain(self.sql.values())
            .chain(&self.demo)
            .chain(&self.unit_tests)
            .cloned()
    }
}
