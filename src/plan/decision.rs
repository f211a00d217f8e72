//! What a difference of two models asks for before any statement is made: what was renamed, what goes and may
//! go, what has to be computed anew. Where the spec does not say what it has to, that is found here, with the
//! lines to write. Reads both models as JSON, so that a lock of an older tool is read as well.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::fit::{Fit, spelled};
use super::hazard::Hazard;
use super::schema::Schemas;
use crate::model::{ARCHIVE, Evolution, HISTORY, JOURNAL, Name};

/// A model as the lock keeps it.
#[derive(Clone, Debug)]
pub struct Known {
    /// What it takes for schemas to be called so.
    schemas: Schemas,
    /// What holds rows that nothing else holds, or that is computed from them: tables by name.
    relations: BTreeMap<Name, Relation>,
    /// Calendars, by name: which days there are.
    calendars: BTreeMap<Name, Value>,
    /// Landing tables, dimensions and facts of which what is pruned is kept beside.
    archived: BTreeSet<Name>,
    /// What each mart reads, marts that are views included; each after those that it reads.
    reads: Vec<(Name, Vec<Name>)>,
}

/// What a change of a relation is told by.
#[derive(Clone, Debug)]
struct Relation {
    kind: Kind,
    columns: BTreeMap<String, Column>,
    /// All that its rows follow from, without its own columns.
    made_of: Value,
    /// Whether it is a dimension or a fact, and how its rows are kept.
    kept: Value,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Column {
    data_type: Value,
    nullable: bool,
    from: Value,
    tracking: Value,
    renamed: Value,
}

/// What kind of relation a table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Changes as they came.
    Landing,
    /// A dimension or a fact.
    Silver,
    /// A stored mart.
    Mart,
}

/// What the spec does not say and has to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undecided {
    /// A relation or a column would go with all that it holds.
    Drop {
        /// The table.
        relation: Name,
        /// The column, or the whole of it.
        column: Option<String>,
        /// What has come in its place, perhaps.
        perhaps: Vec<String>,
    },
    /// What others have written into a dimension would go with its journal.
    Journal {
        /// The table.
        relation: Name,
    },
    /// What was pruned from a relation would go with the table beside it: it stands nowhere else.
    Archive {
        /// The table.
        relation: Name,
    },
    /// A fact would become a dimension, or the other way round: what it kept of its past would go.
    Kind {
        /// The table.
        relation: Name,
        /// What it was, and what it would be.
        kinds: [String; 2],
    },
    /// A relation would be computed anew from another landing table, and what only the one of before knows would go.
    History {
        /// The table.
        relation: Name,
        /// The landing table of before, and of now.
        feeds: [String; 2],
    },
    /// A column is new where rows are, and takes no NULL, or is looked up and has no past.
    Unfilled {
        /// The table.
        relation: Name,
        /// The column.
        column: String,
    },
    /// A column's new type does not take all that it may hold.
    Narrowed {
        /// The table.
        relation: Name,
        /// The column.
        column: String,
        /// Where its values come from: a field, or `alias.column`.
        from: String,
        /// Its type before, and now.
        types: [String; 2],
        /// What is risked by it.
        hazard: Hazard,
    },
    /// A renamed column would be filled from another field than before, and lose its past.
    Field {
        /// The table.
        relation: Name,
        /// The column, as it is called now.
        column: String,
        /// Where its values came from: a field, or `alias.column`.
        from: String,
    },
}

/// What a migration does with the rows that are there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decisions {
    /// Schemas that have another name. What else is decided is said with their names of now.
    pub schemas: Schemas,
    /// Tables that have another name: before, and now.
    pub renamed: Vec<(Name, Name)>,
    /// Columns that have another name: the table now, before, and now.
    pub renamed_columns: Vec<(Name, String, String)>,
    /// Silver tables, by their names now, whose rows follow from other things than before.
    pub recomputed: BTreeSet<Name>,
    /// Of those the ones whose rows are other rows than before: they begin empty.
    pub remade: BTreeSet<Name>,
    /// Silver tables whose partitions hold other stretches of time.
    pub regrouped: BTreeSet<Name>,
    /// Landing tables that identify their rows otherwise: the table, the key before, and now.
    pub rekeyed: Vec<(Name, Vec<String>, Vec<String>)>,
    /// Columns that go: the table now, and the column.
    pub dropped: Vec<(Name, String)>,
    /// Stored marts whose rows follow from other things than before, or that are new.
    pub stale: BTreeSet<Name>,
    /// New columns whose past is left out: the table, and the column.
    pub begun: Vec<(Name, String)>,
    /// What the change is, a word or some each, for the migration's name.
    pub labels: Vec<String>,
}

impl Decisions {
    /// What a relation was called before.
    pub fn before(&self, now: &Name) -> Name {
        let renamed = self.renamed.iter().find(|(_, name)| name == now);
        self.schemas.inverse().name(renamed.map_or(now, |(before, _)| before))
    }
}

impl Known {
    /// Reads a model.
    pub fn read(model: &Value) -> Self {
        let mut relations = BTreeMap::new();
        for landing in list(model, "landings") {
            relations.insert(name(&landing["name"]), Relation::of(landing, Kind::Landing));
        }
        for silver in list(model, "silver") {
            relations.insert(name(&silver["name"]), Relation::of(silver, Kind::Silver));
        }
        for mart in list(model, "marts").iter().filter(|mart| mart["storage"].get("Incremental").is_some()) {
            relations.insert(name(&mart["name"]), Relation::of(mart, Kind::Mart));
        }
        let days = |one: &Value| (name(&one["name"]), serde_json::json!([one["first"], one["years"]]));
        let calendars = list(model, "calendars").iter().map(days).collect();
        let reads = list(model, "marts").iter().map(|mart| {
            let reads = list(mart, "reads").iter().map(|read| name(&read["name"]));
            (name(&mart["name"]), reads.collect())
        });
        let archived = archived(model);
        Self { schemas: Schemas::default(), relations, calendars, archived, reads: reads.collect() }
    }

    /// Reads a model of before, as its schemas are called by a later one.
    pub fn read_before(model: &Value, now: &Value) -> Self {
        let schemas = Schemas::between(model, now);
        Self { schemas: schemas.clone(), ..Self::read(&schemas.model(model)) }
    }

    /// Whether there is such a mart, however it is kept.
    fn has_mart(&self, name: &Name) -> bool {
        self.reads.iter().any(|(mart, _)| mart == name)
    }

    /// What it takes to come from here to `new`.
    ///
    /// # Errors
    ///
    /// All that the spec has to say first.
    pub fn decide(&self, new: &Self, evolution: &Evolution) -> Result<Decisions, Vec<Undecided>> {
        let mut decisions = Decisions { schemas: self.schemas.clone(), ..Decisions::default() };
        for (before, now) in self.schemas.iter() {
            decisions.labels.push(format!("rename_schema_{before}_to_{now}"));
        }
        let mut undecided = Vec::new();
        for (before, now) in &evolution.relations {
            let is_news = self.relations.contains_key(before) && !self.relations.contains_key(now);
            if is_news && new.relations.contains_key(now) {
                decisions.renamed.push((before.clone(), now.clone()));
                decisions.labels.push(format!("rename_{}_to_{}", before.name, now.name));
            }
        }
        let renamed = decisions.renamed.clone();
        let called_now = |before: &Name| {
            let renamed = renamed.iter().find(|(old, _)| old == before);
            renamed.map_or_else(|| before.clone(), |(_, now)| now.clone())
        };
        let known: BTreeSet<Name> = self.relations.keys().map(called_now).collect();
        let added: Vec<&Name> = new.relations.keys().filter(|name| !known.contains(*name)).collect();
        let mut labels = Vec::new();
        for (before, relation) in &self.relations {
            let now = called_now(before);
            match new.relations.get(&now) {
                Some(wanted) => {
                    relation.compare(wanted, &now, evolution, &mut decisions, &mut undecided);
                }
                None => {
                    labels.push(match new.has_mart(before) {
                        true => format!("{}_kept_otherwise", before.name),
                        false => format!("drop_{}", before.name),
                    });
                    // What is computed from the rest can go.
                    if relation.kind == Kind::Mart || is_allowed(evolution, before, None) {
                        continue;
                    }
                    let alike = added.iter().filter(|name| new.relations[**name].kind == relation.kind);
                    undecided.push(Undecided::Drop {
                        relation: before.clone(),
                        column: None,
                        perhaps: alike.map(|name| name.name.clone()).collect(),
                    });
                }
            }
        }
        for name in added {
            labels.push(match self.has_mart(name) {
                true => format!("{}_kept_otherwise", name.name),
                false => format!("add_{}", name.name),
            });
            if new.relations[name].kind == Kind::Mart {
                decisions.stale.insert(name.clone());
            }
        }
        // Of a relation that goes, what was pruned goes along.
        let lost = self.archived.iter().map(called_now).filter(|now| new.relations.contains_key(now));
        for relation in lost.filter(|now| !new.archived.contains(now)) {
            if !is_allowed(evolution, &relation, Some(ARCHIVE)) {
                undecided.push(Undecided::Archive { relation });
            }
        }
        labels.extend(self.recount_days(new, &mut decisions));
        decisions.labels.extend(labels);
        if undecided.is_empty() { Ok(decisions) } else { Err(undecided) }
    }
    /// Marts that join days are others where there are other days. Returns what the change is.
    fn recount_days(&self, new: &Self, decisions: &mut Decisions) -> Vec<String> {
        let others = self
            .calendars
            .iter()
            .filter(|(name, days)| new.calendars.get(*name).is_some_and(|now| now != *days));
        let mut changed: BTreeSet<&Name> = others.map(|(name, _)| name).collect();
        let labels = changed.iter().map(|name| format!("{}_days", name.name)).collect();
        for (mart, reads) in &new.reads {
            if reads.iter().any(|read| changed.contains(read)) {
                changed.insert(mart);
                if new.relations.contains_key(mart) {
                    decisions.stale.insert(mart.clone());
                }
            }
        }
        labels
    }
}

impl Relation {
    fn of(value: &Value, kind: Kind) -> Self {
        let mut made_of = value.clone();
        if let Some(map) = made_of.as_object_mut() {
            for word in ["name", "description", "columns"] {
                map.remove(word);
            }
        }
        let columns = match kind {
            Kind::Silver => list(value, "columns").iter().map(Column::of).collect(),
            Kind::Landing | Kind::Mart => BTreeMap::new(),
        };
        let kept = made_of["kind"].clone();
        // Where and how rows are kept says nothing about what they are.
        match kind {
            Kind::Silver => {
                made_of["kind"] = Value::Null;
            }
            Kind::Mart => {
                for column in ["grain", "measures"] {
                    for one in made_of[column].as_array_mut().into_iter().flatten() {
                        one["description"] = Value::Null;
                    }
                }
            }
            Kind::Landing => {}
        }
        Self { kind, columns, made_of, kept }
    }

    fn compare(
        &self,
        wanted: &Self,
        now: &Name,
        evolution: &Evolution,
        decisions: &mut Decisions,
        undecided: &mut Vec<Undecided>,
    ) {
        match self.kind {
            Kind::Landing => {
                let (before, wanted) = (words(&self.made_of, "key"), words(&wanted.made_of, "key"));
                if before != wanted {
                    decisions.labels.push(format!("{}_rekey", now.name));
                    decisions.rekeyed.push((now.clone(), before, wanted));
                }
                return;
            }
            Kind::Mart => {
                if self.made_of != wanted.made_of {
                    decisions.stale.insert(now.clone());
                    decisions.labels.push(format!("{}_redefined", now.name));
                }
                return;
            }
            Kind::Silver => {}
        }
        let mut before = self.columns.clone();
        for (table, old, new) in evolution.columns.iter().filter(|(table, ..)| table == now) {
            let is_news = !before.contains_key(new) && wanted.columns.contains_key(new);
            if let Some(column) = before.get(old).filter(|_| is_news).cloned() {
                before.remove(old);
                if column.from != wanted.columns[new].from {
                    undecided.push(Undecided::Field {
                        relation: table.clone(),
                        column: new.clone(),
                        from: column.source(),
                    });
                }
                before.insert(new.clone(), column);
                decisions.renamed_columns.push((table.clone(), old.clone(), new.clone()));
                decisions.labels.push(format!("{}_rename_{old}_to_{new}", now.name));
            }
        }
        let rename = |column: &str| -> String {
            let found =
                decisions.renamed_columns.iter().find(|(table, old, _)| table == now && old == column);
            found.map_or_else(|| column.to_owned(), |(.., new)| new.clone())
        };
        let key: BTreeSet<String> = words(&self.made_of, "key").iter().map(|one| rename(one)).collect();
        let wanted_key = BTreeSet::from_iter(words(&wanted.made_of, "key"));
        let (kind, wanted_kind) = (kind(&self.kept), kind(&wanted.kept));
        if key != wanted_key || kind != wanted_kind {
            decisions.labels.push(match wanted_kind.filter(|_| kind != wanted_kind) {
                Some(wanted) => format!("{}_as_{}", now.name, wanted.to_lowercase()),
                None => format!("{}_rekey", now.name),
            });
            if kind != wanted_kind && !is_allowed(evolution, now, Some(HISTORY)) {
                let word = |kind: Option<&str>| kind.unwrap_or_default().to_lowercase();
                let kinds = [word(kind), word(wanted_kind)];
                undecided.push(Undecided::Kind { relation: now.clone(), kinds });
            }
            decisions.recomputed.insert(now.clone());
            // Whatever a key identifies, that and more identifies as well.
            if !key.is_subset(&wanted_key) || kind != wanted_kind {
                decisions.remade.insert(now.clone());
            }
        } else if every(&self.kept) != every(&wanted.kept) {
            decisions.labels.push(format!("{}_regroup", now.name));
            if every(&self.kept).is_some() && every(&wanted.kept).is_some() {
                decisions.regrouped.insert(now.clone());
            }
        }
        // What others have written goes with the journal that says so.
        if is_versioned(&self.kept) && !is_versioned(&wanted.kept) {
            decisions.labels.push(format!("{}_unversioned", now.name));
            decisions.recomputed.insert(now.clone());
            if !is_allowed(evolution, now, Some(JOURNAL)) {
                undecided.push(Undecided::Journal { relation: now.clone() });
            }
        }
        let added: Vec<(&String, &Column)> =
            wanted.columns.iter().filter(|(name, _)| !before.contains_key(*name)).collect();
        for (name, column) in before.iter().filter(|(name, _)| !wanted.columns.contains_key(*name)) {
            decisions.labels.push(format!("{}_drop_{name}", now.name));
            decisions.recomputed.insert(now.clone());
            decisions.dropped.push((now.clone(), name.clone()));
            if !is_allowed(evolution, now, Some(name)) {
                let alike = added.iter().filter(|(_, one)| one.data_type == column.data_type);
                undecided.push(Undecided::Drop {
                    relation: now.clone(),
                    column: Some(name.clone()),
                    perhaps: alike.map(|(name, _)| (*name).clone()).collect(),
                });
            }
        }
        for (name, column) in &added {
            decisions.labels.push(format!("{}_add_{name}", now.name));
            let is_filled = evolution.backfilled.iter().any(|(table, one)| table == now && one == *name);
            // A migration has no values for the rows that are there: the next run has.
            if !column.nullable {
                undecided.push(Undecided::Unfilled { relation: now.clone(), column: (*name).clone() });
            } else if is_filled {
                decisions.recomputed.insert(now.clone());
            } else if !column.is_looked_up() {
                decisions.begun.push((now.clone(), (*name).clone()));
            } else {
                undecided.push(Undecided::Unfilled { relation: now.clone(), column: (*name).clone() });
            }
        }
        for (name, column) in &before {
            let Some(other) = wanted.columns.get(name).filter(|other| *other != column) else { continue };
            decisions.labels.push(format!("{}_change_{name}", now.name));
            let types = [spelled(&column.data_type), spelled(&other.data_type)];
            // Rows that begin anew have no values that could not fit.
            let hazard =
                Fit::between(&types[0], &types[1]).hazard().filter(|_| !decisions.remade.contains(now));
            if let Some(hazard) = hazard.filter(|hazard| !is_risk_allowed(evolution, now, *hazard)) {
                let (relation, column, from) = (now.clone(), name.clone(), other.source());
                undecided.push(Undecided::Narrowed { relation, column, from, types, hazard });
            }
            if other.data_type != column.data_type
                || other.from != column.from
                || other.tracking != column.tracking
                || other.renamed != column.renamed
            {
                decisions.recomputed.insert(now.clone());
            }
        }
        let is_fed_otherwise = self.made_of["feed"] != wanted.made_of["feed"]
            && !is_renamed(&decisions.renamed, &self.made_of, &wanted.made_of);
        if is_fed_otherwise && !is_allowed(evolution, now, Some(HISTORY)) {
            let name = |made_of: &Value| made_of["feed"]["name"].as_str().unwrap_or_default().to_owned();
            let feeds = [name(&self.made_of), name(&wanted.made_of)];
            undecided.push(Undecided::History { relation: now.clone(), feeds });
        }
        let is_told_by_others =
            ["lookups", "filter"].iter().any(|word| self.made_of[*word] != wanted.made_of[*word]);
        if is_fed_otherwise || is_told_by_others {
            decisions.recomputed.insert(now.clone());
            decisions.labels.push(format!("{}_redefined", now.name));
        }
    }
}

impl Column {
    fn of(value: &Value) -> (String, Self) {
        let column = Self {
            data_type: value["data_type"].clone(),
            nullable: value["nullability"] == "Nullable",
            from: value["from"].clone(),
            tracking: value["tracking"].clone(),
            renamed: value["renamed"].clone(),
        };
        (value["name"].as_str().unwrap_or_default().to_owned(), column)
    }
}

/// Of what the policy keeps what is pruned. What is looked up at a time of its own is kept whole, with all that it
/// looks up in turn and all that feeds it.
fn archived(model: &Value) -> BTreeSet<Name> {
    if model["retention"]["Since"]["older"] != "Archived" {
        return BTreeSet::new();
    }
    let silver = list(model, "silver");
    let looked_up = |lookup: &Value| name(&lookup["relation"]);
    let lookups = silver.iter().flat_map(|one| list(one, "lookups"));
    let mut whole: BTreeSet<Name> =
        lookups.filter(|lookup| lookup["at"].get("OwnTime").is_some()).map(looked_up).collect();
    // A relation stands after all that it looks up.
    for one in silver.iter().rev() {
        if whole.contains(&name(&one["name"])) {
            whole.extend(list(one, "lookups").iter().map(looked_up));
        }
    }
    let fed = silver.iter().filter(|one| whole.contains(&name(&one["name"])));
    let feeds: Vec<Name> = fed.map(|one| name(&one["feed"])).collect();
    whole.extend(feeds);
    let all = list(model, "landings").iter().chain(silver).map(|one| name(&one["name"]));
    all.filter(|one| !whole.contains(one)).collect()
}

/// A dimension or a fact.
fn kind(kept: &Value) -> Option<&str> {
    kept.as_object()?.keys().next().map(String::as_str)
}

/// How much time a partition holds, where rows stand in partitions.
pub fn every(kept: &Value) -> Option<&str> {
    kept["Fact"]["partition_every"]
        .as_str()
        .or_else(|| kept["Dimension"]["closed"]["Apart"]["every"].as_str())
}

fn is_versioned(kept: &Value) -> bool {
    kept["Dimension"]["writes"] == "Versioned"
}

impl Column {
    /// Whether no landed row alone says what it is.
    fn is_looked_up(&self) -> bool {
        ["Lookup", "Composed"].iter().any(|word| self.from.get(word).is_some())
    }

    /// Where its values come from, as a spec says it.
    fn source(&self) -> String {
        let lookup = &self.from["Lookup"];
        let expression = || ["Computed", "Composed"].iter().find_map(|word| self.from[*word]["sql"].as_str());
        match (self.from["Field"].as_str(), lookup["lookup"].as_str(), lookup["column"].as_str()) {
            (None, Some(alias), Some(column)) => format!("{alias}.{column}"),
            (field, ..) => field.or_else(expression).unwrap_or_default().to_owned(),
        }
    }
}

fn is_renamed(renamed: &[(Name, Name)], before: &Value, now: &Value) -> bool {
    let pair = (name(&before["feed"]), name(&now["feed"]));
    renamed.contains(&pair)
}

/// Whether the spec says that it may go.
fn is_allowed(evolution: &Evolution, relation: &Name, column: Option<&str>) -> bool {
    names(relation).any(|name| {
        let called = column.map_or_else(|| name.to_owned(), |column| format!("{name}.{column}"));
        evolution.allowed_drops.contains_key(&called)
    })
}

/// Whether the spec says that a migration may do so to it.
fn is_risk_allowed(evolution: &Evolution, relation: &Name, hazard: Hazard) -> bool {
    names(relation).any(|name| evolution.allowed_hazards.contains_key(&format!("{name}.{}", hazard.code())))
}

/// How the spec may call a table: a lookup's two go by its name.
fn names(relation: &Name) -> impl Iterator<Item = &str> {
    let name = relation.name.as_str();
    [Some(name), name.strip_suffix("_hist"), name.strip_suffix("_cdc")].into_iter().flatten()
}

fn list<'v>(value: &'v Value, word: &str) -> &'v [Value] {
    value[word].as_array().map_or(&[], Vec::as_slice)
}

fn words(value: &Value, word: &str) -> Vec<String> {
    list(value, word).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn name(value: &Value) -> Name {
    let part = |word: &str| value[word].as_str().unwrap_or_default();
    Name::new(part("schema"), part("name"))
}
