//! Text to spec. Collects every finding and goes on: what is returned is what could be read.

use std::ops::Range;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::recover::{Broken, recover};
use super::shape;
use super::{Files, Warehouse, json_schema};
use crate::finding::{Code, Finding, SourceText, Span};

/// No more of a text's syntax errors are told: what follows so many is noise.
const MOST_SYNTAX_ERRORS: usize = 50;

/// A text, read as far as it could be.
#[derive(Clone, Debug)]
pub struct Parsed<T> {
    /// What it says.
    pub value: T,
    /// What is wrong with it.
    pub findings: Vec<Finding>,
    /// Where the tables of the top stand of which something could not be read.
    incomplete: Vec<Range<usize>>,
    /// Whether something else could not be read.
    holes: bool,
}

impl<T> Parsed<T> {
    /// Whether all of the table that starts there could be read.
    pub fn is_complete(&self, table: &Range<usize>) -> bool {
        !self.holes && !self.incomplete.iter().any(|span| span.start == table.start)
    }

    /// Whether all of the text's tables could be told from each other: what is not there was not written.
    pub fn has_no_holes(&self) -> bool {
        !self.holes
    }
}

/// Reads a spec.
pub fn parse(files: &Files) -> Parsed<Warehouse> {
    parse_text(&files.spec)
}

/// Reads a TOML text of a known shape.
pub(crate) fn parse_text<T: DeserializeOwned + Default + JsonSchema>(text: &SourceText) -> Parsed<T> {
    let mut parsed =
        Parsed { value: T::default(), findings: Vec::new(), incomplete: Vec::new(), holes: true };
    let path = text.path();
    let place = |range: Range<usize>| Span::new(Arc::clone(&path), range);
    if let Some(offset) = text.broken_at() {
        let finding = Finding::new(Code::NotUtf8, "the file is not UTF-8", place(offset..offset + 1))
            .label("this byte is no part of a character")
            .help("save the file as UTF-8");
        parsed.findings.push(finding);
        return parsed;
    }

    let (mut table, mut errors) = DeTable::parse_recoverable(text.text());
    let syntax_holds = errors.is_empty();
    let (kept, broken) = if syntax_holds { Default::default() } else { recover(text.text()) };
    if !broken.is_empty() {
        // What is wrong with the rest: keys and tables that are there twice.
        (table, errors) = DeTable::parse_recoverable(&kept);
    }
    let errors = errors
        .into_iter()
        .map(|error| Broken { message: error.message().to_owned(), range: error.span().unwrap_or(0..0) });
    let errors = broken.into_iter().chain(errors).collect::<Vec<_>>();
    let more = errors.len().saturating_sub(MOST_SYNTAX_ERRORS);
    for error in errors.into_iter().take(MOST_SYNTAX_ERRORS) {
        let finding = Finding::new(Code::TomlSyntax, error.message, place(error.range));
        parsed.findings.push(finding.label("here the text stops being TOML"));
    }
    if more > 0
        && let Some(last) = parsed.findings.last_mut()
    {
        last.remedies.push(format!("{more} more follow; is this a TOML file?"));
    }

    let whole = 0..0;
    let span = table.span();
    let mut table = table.into_inner();
    let schema = json_schema::<T>();
    let shape = shape::compare(&schema, &path, &mut table, whole);
    // Where the syntax is broken, what is missing may only be out of sight.
    let seen = |finding: &Finding| syntax_holds || finding.code != Code::MissingKey;
    parsed.findings.extend(shape.findings.into_iter().filter(seen));
    parsed.incomplete = shape.incomplete;
    parsed.holes = shape.holes || !syntax_holds;

    let value = toml::Spanned::new(span, DeValue::Table(table));
    match T::deserialize(ValueDeserializer::from(value)) {
        Ok(value) => parsed.value = value,
        Err(error) => {
            let range = error.span().unwrap_or(0..0);
            parsed.findings.push(Finding::new(Code::WrongShape, error.message().to_owned(), place(range)));
            parsed.holes = true;
        }
    }
    parsed
}
