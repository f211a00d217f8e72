//! Collects findings, and knows which parts of the spec could be read whole. Decides nothing.

use std::ops::Range;
use std::sync::Arc;

use crate::finding::{Code, Finding, Findings, SourceText, Span};
use crate::spec::{self, At, Files, Parsed};

/// The findings so far.
pub(super) struct Report<'a> {
    parsed: &'a Parsed<spec::Warehouse>,
    text: &'a SourceText,
    list: Vec<Finding>,
}

impl<'a> Report<'a> {
    pub(super) fn new(files: &'a Files, parsed: &'a Parsed<spec::Warehouse>) -> Self {
        Self { parsed, text: &files.spec, list: parsed.findings.clone() }
    }

    /// A place in the spec.
    pub(super) fn at(&self, range: &Range<usize>) -> Span {
        Span::new(self.text.path(), range.clone())
    }

    /// A place within a string of the spec; all of it where what is written differs from what it says.
    pub(super) fn within(&self, string: &At<String>, range: Range<usize>) -> Span {
        let written = self.text.text().get(string.span.clone()).unwrap_or_default();
        match written.find(string.value.as_str()) {
            Some(offset) => {
                let start = string.span.start + offset;
                self.at(&(start + range.start..start + range.end))
            }
            None => self.at(&string.span),
        }
    }

    /// How many findings there are.
    pub(super) fn count(&self) -> usize {
        self.list.len()
    }

    pub(super) fn push(&mut self, finding: Finding) {
        self.list.push(finding);
    }

    /// Takes a finding unless the name in it may stand in a part that could not be read. A name close to
    /// a known one was misspelt all the same.
    pub(super) fn push_absent(&mut self, finding: Finding, all_is_read: bool) {
        if all_is_read || finding.remedies.iter().any(|remedy| remedy.starts_with("did you mean")) {
            self.push(finding);
        }
    }

    /// Whether a table of the top could be read whole.
    pub(super) fn is_complete(&self, table: &Range<usize>) -> bool {
        self.parsed.is_complete(table)
    }

    /// Whether what is not in the spec was not written either.
    pub(super) fn has_no_holes(&self) -> bool {
        self.parsed.has_no_holes()
    }

    /// Whether a text is one; a finding where it is not.
    pub(super) fn utf8(&mut self, text: &SourceText) -> bool {
        let Some(offset) = text.broken_at() else { return true };
        let place = Span::new(Arc::clone(&text.path()), offset..offset + 1);
        self.push(
            Finding::new(Code::NotUtf8, "the file is not UTF-8", place)
                .label("this byte is no part of a character")
                .help("save the file as UTF-8"),
        );
        false
    }

    /// The result, if there are no findings.
    pub(super) fn finish<T>(self, value: T, files: &Files) -> Result<T, Findings> {
        if self.list.is_empty() { Ok(value) } else { Err(Findings::new(self.list, files.texts())) }
    }
}
