//! What a statement of a migration could break or block, and what is said of it. What is done to rows and who is
//! kept away follows from the statement's kind; what it means that it is done, only the difference knows.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::difference::Step;
use super::effect::{Action, Blocked, Lock, actions, tables};
use super::object::{Catalog, Kind};
use super::table::{quoted, unquoted};

/// What a statement could break or block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hazard {
    /// Values go that nothing brings back.
    DataLoss,
    /// Values become others, which does not turn back.
    Irreversible,
    /// A value may not fit its new type.
    Narrowing,
    /// Every row is written anew, and nobody reads or writes the table meanwhile.
    Rewrite,
    /// Every row is read, and nobody reads or writes the table meanwhile.
    Scan,
    /// An index is built, and nobody writes the table meanwhile.
    IndexBuild,
    /// It is dropped because it is in the way, and made again.
    Remade,
    /// The next run computes a relation anew, from all of bronze.
    Recompute,
    /// Nothing is known of what it does.
    Unknown,
}

impl Hazard {
    /// Every hazard.
    pub const ALL: [Self; 9] = [
        Self::DataLoss,
        Self::Irreversible,
        Self::Narrowing,
        Self::Rewrite,
        Self::Scan,
        Self::IndexBuild,
        Self::Remade,
        Self::Recompute,
        Self::Unknown,
    ];

    /// The word by which it is told from others.
    pub fn code(self) -> &'static str {
        match self {
            Self::DataLoss => "data_loss",
            Self::Irreversible => "irreversible",
            Self::Narrowing => "narrowing",
            Self::Rewrite => "rewrite",
            Self::Scan => "scan",
            Self::IndexBuild => "index_build",
            Self::Remade => "remade",
            Self::Recompute => "recompute",
            Self::Unknown => "unknown",
        }
    }

    /// What it is called in a sentence.
    pub fn name(self) -> &'static str {
        match self {
            Self::DataLoss => "data loss",
            Self::Irreversible => "not reversible",
            Self::Narrowing => "narrowing",
            Self::Rewrite => "rewrite",
            Self::Scan => "scan",
            Self::IndexBuild => "index build",
            Self::Remade => "made again",
            Self::Recompute => "recompute",
            Self::Unknown => "unknown",
        }
    }

    /// What it means.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::DataLoss => "what it held is gone; taking the migration back does not bring it back",
            Self::Irreversible => {
                "values change; taking the migration back does not bring back what they were"
            }
            Self::Narrowing => "a value that does not fit makes the migration fail as a whole",
            Self::Rewrite => {
                "every row is written anew, and every index with them, while nobody can read or write the table"
            }
            Self::Scan => "every row is read, while nobody can read or write the table",
            Self::IndexBuild => "every row is read, while nobody can write the table",
            Self::Remade => {
                "it is dropped because it is in the way, and made further down; who asks for it waits meanwhile"
            }
            Self::Recompute => "the next run computes it anew from everything that has landed",
            Self::Unknown => "the tool does not know what it does, and takes it to keep everybody away",
        }
    }
}

impl fmt::Display for Hazard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.name(), self.meaning())
    }
}

/// Says of each statement what it locks, and adds the hazards that follow from its kind. What the migration has made
/// itself holds no rows, and nobody waits for it.
pub fn assess(steps: &mut [Step], old: &Catalog) {
    let mut again = BTreeSet::new();
    for step in steps.iter().filter(|step| step.sql.starts_with("CREATE ")) {
        again.extend(made(step).into_iter().map(|(called, _)| called));
    }
    let indexed: BTreeMap<&str, &str> = old
        .objects
        .iter()
        .filter(|one| one.identity.kind == Kind::Index)
        .map(|one| (one.identity.name.as_str(), one.identity.of.as_str()))
        .collect();
    let there: BTreeSet<&str> = old
        .objects
        .iter()
        .filter(|one| matches!(one.identity.kind, Kind::Table | Kind::View | Kind::MaterializedView))
        .map(|one| one.identity.name.as_str())
        .collect();
    let mut new: BTreeSet<String> = BTreeSet::new();
    for step in steps {
        let known = actions(&step.sql);
        // A block says its locks itself, or has nothing to do with a table.
        if known.is_none() || step.sql.starts_with("DO ") && step.locks.is_empty() {
            let named = tables(&step.sql).into_iter();
            let named = named.filter(|name| there.contains(name.as_str()) && !new.contains(name));
            step.locks.extend(named.map(|name| (Lock::AccessExclusive, name)));
            if known.is_none() || !step.locks.is_empty() {
                step.hazards.push(Hazard::Unknown);
            }
        }
        for (action, named) in known.unwrap_or_default() {
            let table = indexed.get(named.as_str()).map_or(named, |table| (*table).to_owned());
            if table.is_empty() || new.contains(&table) {
                continue;
            }
            let in_place = action == Action::Retype && !step.hazards.contains(&Hazard::Rewrite);
            let action = if in_place { Action::RetypeInPlace } else { action };
            step.hazards.extend(hazard(action));
            let Some(lock) = action.effect().lock else { continue };
            match step.locks.iter_mut().find(|(_, other)| *other == table) {
                Some((held, _)) => *held = lock.max(*held),
                None => step.locks.push((lock, table)),
            }
        }
        if step.sql.strip_prefix("DROP ").is_some_and(|rest| again.contains(rest.trim_end_matches(';'))) {
            step.hazards.push(Hazard::Remade);
        }
        if step.sql.starts_with("CREATE ") {
            new.extend(made(step).into_iter().map(|(_, name)| name));
        }
        step.hazards.sort();
        step.hazards.dedup();
    }
}

/// What a kind of statement does to rows that are there. A write says by itself which it means.
fn hazard(action: Action) -> Option<Hazard> {
    match action {
        Action::Insert | Action::Update | Action::Delete | Action::Truncate => None,
        // They read beside writers, who have nothing to wait for.
        Action::CreateIndexConcurrently | Action::ValidateConstraint => None,
        Action::CreateIndex | Action::AddKey | Action::AddExclusion => Some(Hazard::IndexBuild),
        _ if action.effect().rewrites => Some(Hazard::Rewrite),
        _ if action.effect().reads => Some(Hazard::Scan),
        _ => None,
    }
}

/// What a statement makes: as DROP calls it, and its name. What a migration makes for its own use is nobody's.
fn made(step: &Step) -> Vec<(String, String)> {
    let read = Catalog::read([("", step.sql.as_str())]).unwrap_or_default();
    read.objects.into_iter().map(|one| (one.identity.called(), one.identity.name)).collect()
}

/// The locks of statements that are held until all of them are committed, and that keep writers or everybody away:
/// the strongest of each relation, by whom they keep away.
pub fn held(steps: &[Step]) -> BTreeMap<Blocked, BTreeSet<&str>> {
    let mut strongest: BTreeMap<&str, Lock> = BTreeMap::new();
    for (lock, table) in steps.iter().flat_map(|step| &step.locks) {
        let held = strongest.entry(table).or_insert(*lock);
        *held = lock.max(held).to_owned();
    }
    let mut by: BTreeMap<Blocked, BTreeSet<&str>> = BTreeMap::new();
    for (table, lock) in strongest.into_iter().filter(|(_, lock)| lock.blocks() >= Blocked::Writers) {
        by.entry(lock.blocks()).or_default().insert(table);
    }
    by
}

/// What statements risk that a spec has to allow: `dim_customer_hist.rewrite`. Data that goes has been allowed
/// before there was a migration; what is made again and computed anew says only that it takes its time.
pub fn risks(steps: &[Step]) -> BTreeSet<String> {
    let needed = [Hazard::Irreversible, Hazard::Narrowing, Hazard::Rewrite, Hazard::Scan, Hazard::IndexBuild];
    let risky = steps.iter().flat_map(|step| step.hazards.iter().map(move |hazard| (step, *hazard)));
    risky
        .filter(|(_, hazard)| needed.contains(hazard))
        .map(|(step, hazard)| format!("{}.{}", relation(step), hazard.code()))
        .collect()
}

/// The relation that a statement is about, as the spec calls it: a script's title, or the table's name.
fn relation(step: &Step) -> String {
    let table = || {
        let (_, table) = step.locks.first()?;
        let (schema, rest) = quoted(table)?;
        Some((unquoted(schema), unquoted(rest.strip_prefix('.')?)))
    };
    let titled = step.section.split_once('.').map(|(schema, name)| (schema.to_owned(), name.to_owned()));
    let Some((schema, name)) = titled.or_else(table) else { return step.section.clone() };
    let bare = || name.strip_suffix("_hist").or_else(|| name.strip_suffix("_cdc")).map(str::to_owned);
    // What stands in the tool's schema is a lookup's.
    if schema == "medallion" { bare().unwrap_or_else(|| name.clone()) } else { name }
}
