//! What is wrong with a spec, for its reader: a code, a message, places in the text, a remedy. Every stage
//! that can find something uses it, so it knows none of them: no TOML, no model, no file.

mod code;
pub mod explain;
mod human;
mod json;
mod text;

pub use code::Code;
pub use human::Colour;
pub use text::{Position, SourceText};

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// A stretch of a text, in bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// The text's path, as `SourceText` has it.
    pub path: Arc<str>,
    /// From where.
    pub start: usize,
    /// To where, exclusive; may equal `start`.
    pub end: usize,
}

impl Span {
    /// A stretch of a text.
    pub fn new(path: Arc<str>, range: Range<usize>) -> Self {
        Self { path, start: range.start, end: range.end }
    }
}

/// A place, and what is to be said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The place.
    pub span: Span,
    /// What is so there; may be empty.
    pub text: String,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which kind of thing.
    pub code: Code,
    /// What is wrong: lower case, names in backticks, no final stop.
    pub message: String,
    /// Where.
    pub primary: Label,
    /// Other places that have to do with it.
    pub secondary: Vec<Label>,
    /// What helps, a line each.
    pub remedies: Vec<String>,
    /// Lines that would settle it, one or the other: where in the spec each belongs, and what it says. Remedies name
    /// them too; a program finds them here.
    pub lines: Vec<(String, String)>,
}

impl Finding {
    /// A finding without a label's text and without remedies.
    pub fn new(code: Code, message: impl Into<String>, span: Span) -> Self {
        Self {
            code,
            message: message.into(),
            primary: Label { span, text: String::new() },
            secondary: Vec::new(),
            remedies: Vec::new(),
            lines: Vec::new(),
        }
    }

    /// Says something of the place itself.
    #[must_use]
    pub fn label(mut self, text: impl Into<String>) -> Self {
        self.primary.text = text.into();
        self
    }

    /// Shows another place.
    #[must_use]
    pub fn also(mut self, span: Span, text: impl Into<String>) -> Self {
        self.secondary.push(Label { span, text: text.into() });
        self
    }

    /// Says what helps.
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.remedies.push(text.into());
        self
    }

    /// A line that would settle it: where it belongs, and what it says.
    #[must_use]
    pub fn line(mut self, place: impl Into<String>, line: impl Into<String>) -> Self {
        self.lines.push((place.into(), line.into()));
        self
    }

    /// Names the known word that was probably meant, if there is one.
    #[must_use]
    pub fn did_you_mean<'a>(self, written: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        match closest(written, known) {
            Some(word) => self.help(format!("did you mean `{word}`?")),
            None => self,
        }
    }
}

/// All findings about one spec, with the texts that they point into.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    list: Vec<Finding>,
    texts: BTreeMap<Arc<str>, SourceText>,
}

impl Findings {
    /// Sorts findings by their places, each one once.
    pub fn new(mut list: Vec<Finding>, texts: impl IntoIterator<Item = SourceText>) -> Self {
        list.sort_by(|a, b| {
            (&a.primary.span, a.code, &a.message).cmp(&(&b.primary.span, b.code, &b.message))
        });
        list.dedup();
        let texts = texts.into_iter().map(|text| (text.path(), text)).collect();
        Self { list, texts }
    }

    /// The findings, by place.
    pub fn list(&self) -> &[Finding] {
        &self.list
    }

    /// For a person at a terminal.
    pub fn human(&self, colour: Colour) -> String {
        human::render(&self.list, &self.texts, colour)
    }

    /// For a program: an array with an object a finding.
    pub fn json(&self) -> serde_json::Value {
        json::render(&self.list, &self.texts)
    }
}

/// The known word that a written one was probably meant to be.
pub fn closest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Measuring costs the product of the lengths, and no name is as long as this.
    const LONGEST: usize = 200;
    let length = written.chars().count();
    if length > LONGEST {
        return None;
    }
    let folded = written.to_lowercase();
    let allowed = (length / 3).clamp(1, 4);
    let known = known.into_iter().filter(|word| *word != written && word.len() <= LONGEST);
    let near = known.filter_map(|word| {
        let other = word.to_lowercase();
        let distance = strsim::damerau_levenshtein(&folded, &other);
        if distance <= allowed && distance < other.chars().count() {
            return Some((0, distance, word));
        }
        // `store` for `store_id`, `amnt` for `amount`.
        let part = length >= 3 && other.chars().count() >= 3;
        let starts = part && (other.starts_with(&folded) || folded.starts_with(&other));
        let skips = part && distance <= 3 && skips_letters(&folded, &other);
        (starts || skips).then_some((1, distance, word))
    });
    near.min().map(|(_, _, word)| word)
}

/// Whether a word is another one with letters left out, the first kept.
fn skips_letters(short: &str, long: &str) -> bool {
    let mut rest = long.chars();
    short.chars().next() == long.chars().next()
        && short.chars().all(|letter| rest.any(|other| other == letter))
}
