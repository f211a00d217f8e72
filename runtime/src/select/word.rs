//! One word of a selection: how far it reaches, and what it is about. Knows no graph.

use glob::Pattern;

use super::{Kind, Node};
use crate::descriptor::Name;
use crate::error::{Error, Result};

/// How one writes it.
const FORMS: &str = "write a name or a pattern (`dim_*`), `tag:`, `kind:`, `layer:`, `storage:` or `source:` before \
                     it as need be, with `+`, `2+` or `@` around it";

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
    /// landing, lookup, dimension, fact, mart.
    Kind(&'a str),
    /// bronze, silver, gold.
    Layer(&'a str),
    /// view, materialized_view, incremental.
    Storage(&'a str),
    /// A table of the source.
    Source(Pattern),
}

/// How far it reaches.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// So many steps to what it reads, and to what reads it.
    Steps { before: usize, behind: usize },
    /// All that reads it, and all that these read.
    Around,
}

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
            Some(("tag", tag)) => Method::Tag(pattern(tag)?),
            Some(("kind" | "resource_type", kind)) => Method::Kind(kind),
            Some(("layer", layer)) => Method::Layer(layer),
            Some(("storage" | "config.materialized", storage)) => Method::Storage(storage),
            Some(("source", source)) => Method::Source(pattern(source)?),
            Some(_) => return Err(wrong()),
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
