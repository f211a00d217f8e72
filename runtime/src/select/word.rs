//! One word of a selection: how far it reaches, and what it is about. Knows no graph.

use glob::Pattern;

use super::{Kind, Node};
use crate::descriptor::Name;
use crate::error::{Error, Result};

/// How one writes it.
const FORMS: &str = "write a name or a pattern (`dim_*`), `tag:`, `kind:`, `layer:`, `storage:`, `source:`, `path:` or \
                     `test:` before it as need be, with `+`, `2+` or `@` around it";

/// Methods of dbt's that ask for what a warehouse does not have, and what has it.
const ELSEWHERE: &[(&str, &str)] = &[
    (
        "state",
        "a built warehouse knows no other state of itself: `medallion plan` says what a changed spec changes",
    ),
    ("result", "`medallion.failed_row` and `medallion status` have what the last runs found"),
    ("source_status", "`medallion test` asks the tests of freshness"),
    ("test_type", "`medallion test` asks the tests of the data, `medallion test --unit` those of the logic"),
    ("exposure", "the marts are what is exposed: `kind:mart`"),
    ("package", "a warehouse is one package"),
];

/// A word.
pub(super) struct Word<'a> {
    pub method: Method<'a>,
    pub reach: Reach,
}

/// What a word is about.
pub(super) enum Method<'a> {
    /// A relation's name, with its schema or without.
    Name(Pattern),
    Tag(Pattern),
    /// landing, lookup, dimension, fact, calendar, mart.
    Kind(&'a str),
    /// bronze, silver, gold.
    Layer(&'a str),
    /// view, materialized_view, incremental.
    Storage(&'a str),
    /// A table of the source.
    Source(Pattern),
    /// A file or folder of what is generated, as the warehouse's folder has it.
    Path(Pattern, &'a str),
    /// A test of the data.
    Test(Pattern),
}

/// How far it reaches.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// So many steps to what it reads, and to what reads it.
    Steps { before: usize, behind: usize },
    /// All that reads it, and all that these read.
    Around,
}

/// No further.
const NEITHER: Reach = Reach::Steps { before: 0, behind: 0 };

impl<'a> Word<'a> {
    pub fn read(said: &'a str) -> Result<Self> {
        let wrong = || Error::new(format!("`{said}` is no selector")).remedy(FORMS);
        let (rest, reach) = match said.strip_prefix('@') {
            Some(rest) => (rest, Reach::Around),
            None => {
                let (before, rest) = before(said);
                let (rest, behind) = behind(rest);
                (rest, Reach::Steps { before, behind })
            }
        };
        let pattern = |text: &str| Pattern::new(text).map_err(|_| wrong());
        let method = match rest.split_once(':') {
            None => Method::Name(pattern(rest)?),
            Some(("fqn", name)) => Method::Name(pattern(name)?),
            Some(("path", path)) => Method::Path(pattern(path)?, path.trim_end_matches('/')),
            Some(("test" | "test_name", name)) => Method::Test(pattern(name)?),
            Some(("tag", tag)) => Method::Tag(pattern(tag)?),
            Some(("kind" | "resource_type", kind)) => Method::Kind(kind),
            Some(("layer", layer)) => Method::Layer(layer),
            Some(("storage" | "config.materialized", storage)) => Method::Storage(storage),
            Some(("source", source)) => Method::Source(pattern(source)?),
            Some((method, _)) => {
                return Err(match ELSEWHERE.iter().find(|(known, _)| *known == method) {
                    Some((_, remedy)) => {
                        Error::new(format!("`{method}:` selects nothing here")).remedy(*remedy)
                    }
                    None => wrong(),
                });
            }
        };
        if rest.is_empty() || rest.ends_with(':') || rest.contains(['+', '@']) {
            return Err(wrong());
        }
        Ok(Self { method, reach })
    }

    pub fn is_of(&self, name: &Name, node: &Node<'_>) -> bool {
        let names = |pattern: &Pattern, name: &Name| {
            pattern.matches(&name.table) || pattern.matches(&name.to_string())
        };
        match &self.method {
            // A source's table is no relation of the warehouse: `source:` asks for it.
            Method::Name(pattern) => {
                names(pattern, name)
                    || (node.kind != Kind::Landing && node.aliases.iter().any(|alias| names(pattern, alias)))
            }
            Method::Path(pattern, path) => node.files.iter().any(|file| {
                pattern.matches(file) || file.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'))
            }),
            Method::Test(_) => false,
            Method::Tag(pattern) => node.tags.iter().any(|tag| pattern.matches(tag)),
            Method::Kind(kind) => node.kind.word() == *kind,
            Method::Layer(layer) => node.kind.layer() == *layer,
            Method::Storage(storage) => node.storage == Some(*storage),
            Method::Source(pattern) => {
                node.kind == Kind::Landing && node.aliases.iter().any(|alias| names(pattern, alias))
            }
        }
    }
}

impl Word<'_> {
    /// Whether a test of this name is meant.
    pub fn is_test(&self, name: &str) -> bool {
        match &self.method {
            Method::Test(pattern) => pattern.matches(name),
            Method::Name(pattern) => self.reach == NEITHER && pattern.matches(name),
            _ => false,
        }
    }
}

/// `+x`, `2+x`: how many steps, and the rest.
fn before(said: &str) -> (usize, &str) {
    let Some((steps, rest)) = said.split_once('+') else { return (0, said) };
    match steps {
        "" => (usize::MAX, rest),
        digits => match digits.parse() {
            Ok(steps) => (steps, rest),
            Err(_) => (0, said),
        },
    }
}

/// `x+`, `x+2`.
fn behind(said: &str) -> (&str, usize) {
    let Some((rest, steps)) = said.rsplit_once('+') else { return (said, 0) };
    match steps {
        "" => (rest, usize::MAX),
        digits => match digits.parse() {
            Ok(steps) => (rest, steps),
            Err(_) => (said, 0),
        },
    }
}
