//! Which relations are meant: dbt's grammar of selection over the warehouse's own graph, from landing tables by way of
//! silver to marts. `a b` is either, `a,b` both; `+` before a word takes what it reads along, behind it what reads it,
//! and `@` all of that and what these read. Asks no database and does nothing.

mod word;

use std::collections::{BTreeMap, BTreeSet};

pub use medallion_verbs::Selection;

use crate::data_test;
use crate::descriptor::{DataTest, Mart, Name, Silver, SilverKind, Storage, Warehouse};
use crate::error::{Error, Result};
use word::{Method, Reach, Word};

/// The schema of the tool's own tables, where reference data is kept.
const TOOL: &str = "medallion";

/// Relations of a warehouse.
pub type Selected = BTreeSet<Name>;

/// The tests of the data that are meant, by their names: those of the relations, and those that are named.
pub fn tests(warehouse: &Warehouse, meant: &Selection) -> Result<BTreeSet<&'static str>> {
    let graph = Graph::of(warehouse);
    let of = |said: &[String]| graph.tests(said, &warehouse.tests);
    let selected = match meant.select.is_empty() {
        true => warehouse.tests.iter().map(|test| test.name).collect(),
        false => of(&meant.select)?,
    };
    let excluded = of(&meant.exclude)?;
    Ok(selected.difference(&excluded).copied().collect())
}

/// The relations that are meant: all without a word.
pub fn relations(warehouse: &Warehouse, meant: &Selection) -> Result<Selected> {
    let graph = Graph::of(warehouse);
    let mut selected = match meant.select.is_empty() {
        true => graph.nodes.keys().map(|name| (*name).clone()).collect(),
        false => graph.union(&meant.select)?,
    };
    for name in graph.union(&meant.exclude)? {
        selected.remove(&name);
    }
    Ok(selected)
}

/// What a relation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A landing table.
    Landing,
    /// Reference data: a dimension that stands in the tool's own schema.
    Lookup,
    /// A dimension.
    Dimension,
    /// A fact.
    Fact,
    /// Days, computed as they are asked for.
    Calendar,
    /// A mart.
    Mart,
}

impl Kind {
    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Landing => "landing",
            Self::Lookup => "lookup",
            Self::Dimension => "dimension",
            Self::Fact => "fact",
            Self::Calendar => "calendar",
            Self::Mart => "mart",
        }
    }

    /// The layer that it is of.
    pub fn layer(self) -> &'static str {
        match self {
            Self::Landing => "bronze",
            Self::Lookup | Self::Dimension | Self::Fact | Self::Calendar => "silver",
            Self::Mart => "gold",
        }
    }
}

/// A relation among the others.
#[derive(Clone, Debug)]
pub struct Node<'a> {
    /// What it is.
    pub kind: Kind,
    /// How its rows are kept, of a mart: `view`, `materialized_view`, `incremental`.
    pub storage: Option<&'static str>,
    /// Its tags.
    pub tags: &'a [&'static str],
    /// Other names that it has: its current view, the source's table.
    pub aliases: Vec<&'a Name>,
    /// What it reads.
    pub reads: Vec<&'a Name>,
    /// The files that are generated of it.
    pub files: [String; 2],
}

/// The relations of a warehouse, and what reads what.
#[derive(Clone, Debug)]
pub struct Graph<'a> {
    /// The relations, in the order of their names.
    pub nodes: BTreeMap<&'a Name, Node<'a>>,
}

impl<'a> Graph<'a> {
    /// The graph of a warehouse.
    pub fn of(warehouse: &'a Warehouse) -> Self {
        let tags = |name: &Name| {
            let found = warehouse.tags.iter().find(|(declared, _)| *declared == name.table);
            found.map_or(&[][..], |(_, tags)| *tags)
        };
        let files = |kind: Kind, name: &Name| {
            let (warehouse, layer) = (warehouse.name, kind.layer());
            let number = match layer {
                "bronze" => 10,
                "silver" => 20,
                _ => 30,
            };
            [
                format!("generated/sql/{warehouse}/{number}_{layer}/{}.sql", name.table),
                format!("generated/src/{warehouse}/{layer}/{}.rs", name.table),
            ]
        };
        let mut nodes = BTreeMap::new();
        for landing in &warehouse.landings {
            let node = Node {
                kind: Kind::Landing,
                storage: None,
                tags: tags(&landing.table),
                aliases: vec![&landing.source],
                reads: Vec::new(),
                files: files(Kind::Landing, &landing.table),
            };
            nodes.insert(&landing.table, node);
        }
        for silver in &warehouse.silver {
            nodes.insert(&silver.table, of_silver(silver, &tags, &files));
        }
        for calendar in &warehouse.calendars {
            let node = Node {
                kind: Kind::Calendar,
                storage: None,
                tags: tags(calendar),
                aliases: Vec::new(),
                reads: Vec::new(),
                files: files(Kind::Calendar, calendar),
            };
            nodes.insert(calendar, node);
        }
        for mart in &warehouse.marts {
            let node = Node {
                kind: Kind::Mart,
                storage: Some(storage(mart)),
                tags: tags(&mart.table),
                aliases: Vec::new(),
                reads: mart.reads.iter().collect(),
                files: files(Kind::Mart, &mart.table),
            };
            nodes.insert(&mart.table, node);
        }
        Self { nodes }
    }

    fn union(&self, said: &[String]) -> Result<Selected> {
        let mut selected = Selected::new();
        for words in said.iter().flat_map(|said| said.split_whitespace()) {
            let mut both: Option<Selected> = None;
            for word in words.split(',') {
                let meant = self.word(word)?;
                both = Some(match both {
                    None => meant,
                    Some(both) => both.intersection(&meant).cloned().collect(),
                });
            }
            selected.extend(both.unwrap_or_default());
        }
        Ok(selected)
    }

    /// The tests of what is said: in each word those of its relations, and those that it names.
    fn tests(&self, said: &[String], tests: &[DataTest]) -> Result<BTreeSet<&'static str>> {
        let mut selected = BTreeSet::new();
        for words in said.iter().flat_map(|said| said.split_whitespace()) {
            let mut both: Option<BTreeSet<&'static str>> = None;
            for said in words.split(',') {
                let word = Word::read(said)?;
                let mut meant: BTreeSet<&'static str> =
                    tests.iter().map(|test| test.name).filter(|name| word.is_test(name)).collect();
                if meant.is_empty() {
                    let relations = self.word(said)?;
                    let of = tests.iter().filter(|test| data_test::is_of(test, &relations));
                    meant.extend(of.map(|test| test.name));
                }
                both = Some(match both {
                    None => meant,
                    Some(both) => both.intersection(&meant).copied().collect(),
                });
            }
            selected.extend(both.unwrap_or_default());
        }
        Ok(selected)
    }

    fn word(&self, said: &str) -> Result<Selected> {
        let word = Word::read(said)?;
        let meant: BTreeSet<&Name> =
            self.nodes.iter().filter(|(name, node)| word.is_of(name, node)).map(|(name, _)| *name).collect();
        if meant.is_empty() {
            return Err(self.unknown(said, &word));
        }
        let readers = self.readers();
        let inputs = |name: &'a Name| self.nodes.get(name).map(|node| node.reads.clone()).unwrap_or_default();
        let outputs = |name: &'a Name| readers.get(name).cloned().unwrap_or_default();
        let meant: BTreeSet<&'a Name> =
            self.nodes.keys().copied().filter(|name| meant.contains(name)).collect();
        let mut all = meant.clone();
        match word.reach {
            Reach::Around => {
                all = walk(&meant, usize::MAX, &outputs);
                all = walk(&all, usize::MAX, &inputs);
            }
            Reach::Steps { before, behind } => {
                all.extend(walk(&meant, before, &inputs));
                all.extend(walk(&meant, behind, &outputs));
            }
        }
        Ok(all.into_iter().filter(|name| self.nodes.contains_key(name)).cloned().collect())
    }

    fn readers(&self) -> BTreeMap<&'a Name, Vec<&'a Name>> {
        let mut readers: BTreeMap<&Name, Vec<&Name>> = BTreeMap::new();
        for (name, node) in &self.nodes {
            for read in &node.reads {
                readers.entry(read).or_default().push(name);
            }
        }
        readers
    }

    fn unknown(&self, said: &str, word: &Word<'_>) -> Error {
        let error = Error::new(format!("`{said}` selects nothing"));
        let Method::Name(pattern) = &word.method else {
            return error.remedy(match &word.method {
                Method::Test(_) => "`medallion test` takes tests by their names, and prints them",
                Method::Path(..) => {
                    "`path:` is of a generated file or folder, as `generated/sql/pagila/30_gold`"
                }
                _ => "`medallion list` shows relations, kinds and tags",
            });
        };
        let bare = pattern.as_str().rsplit('.').next().unwrap_or_default();
        let names = self.nodes.iter().flat_map(|(name, node)| node.aliases.iter().chain([name]));
        let nearest = names.map(|name| (strsim::levenshtein(&name.table, bare), &name.table)).min();
        match nearest {
            Some((_, name)) => error.remedy(format!("did you mean `{name}`?")),
            None => error,
        }
    }
}

fn of_silver<'a>(
    silver: &'a Silver,
    tags: &impl Fn(&Name) -> &'a [&'static str],
    files: &impl Fn(Kind, &Name) -> [String; 2],
) -> Node<'a> {
    let mut reads = vec![&silver.feed];
    reads.extend(silver.lookups.iter().map(|lookup| &lookup.relation));
    let (kind, aliases) = match &silver.kind {
        SilverKind::Dimension { current, .. } if silver.table.schema == TOOL => (Kind::Lookup, vec![current]),
        SilverKind::Dimension { current, .. } => (Kind::Dimension, vec![current]),
        SilverKind::Fact { .. } => (Kind::Fact, Vec::new()),
    };
    // A lookup is declared by the name of its view.
    let tags = if kind == Kind::Lookup { tags(aliases[0]) } else { tags(&silver.table) };
    let files = files(kind, &silver.table);
    Node { kind, storage: None, tags, aliases, reads, files }
}

/// How a mart's rows are kept, in the spec's word.
pub fn storage(mart: &Mart) -> &'static str {
    match mart.storage {
        Storage::View => "view",
        Storage::MaterializedView => "materialized_view",
        Storage::Incremental { .. } => "incremental",
    }
}

/// What is reached in so many steps.
fn walk<'a>(
    from: &BTreeSet<&'a Name>,
    steps: usize,
    next: &dyn Fn(&'a Name) -> Vec<&'a Name>,
) -> BTreeSet<&'a Name> {
    let mut reached = from.clone();
    let mut edge: Vec<&'a Name> = from.iter().copied().collect();
    for _ in 0..steps {
        edge = edge.into_iter().flat_map(next).filter(|name| reached.insert(*name)).collect();
        if edge.is_empty() {
            break;
        }
    }
    reached
}
