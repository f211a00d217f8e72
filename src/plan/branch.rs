//! Whether what two branches make of one warehouse goes together: of each change, what it changes; of what both change,
//! whether to the same; of what one lets go, whether the other needs it. Reads models as JSON, as the lock keeps them, so
//! that a branch of an older tool is read as well. Knows no version control, no spec, no SQL but its identifiers.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::model::{Evolution, Name};

/// The parts of a model whose lists hold relations, each by its name.
const RELATIONS: [&str; 7] =
    ["enums", "landings", "stagings", "calendars", "silver", "temporal_joins", "marts"];

/// Where two branches meet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Meeting {
    /// The relation or type, by its name before both; of what is the whole warehouse's, none.
    pub relation: Option<Name>,
    /// The column, or another part of the relation.
    pub part: Option<String>,
    /// How they meet.
    pub how: How,
}

/// How two branches meet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// Both do something to it, and not the same.
    Both {
        /// What this branch does.
        ours: Deed,
        /// What the other one does.
        theirs: Deed,
    },
    /// The other branch lets go what this one has come to need, here.
    NeededHere(String),
    /// This branch lets go what the other one has come to need, there.
    NeededThere(String),
}

/// What a branch does to a relation or a part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deed {
    /// It was not there before.
    Adds,
    /// It is not there any more.
    Drops,
    /// It has another name.
    Renames,
    /// It is another than before.
    Changes,
}

/// A branch's model, with what it says of names before.
pub struct Side<'a> {
    /// The model.
    pub model: &'a Value,
    /// What has another name.
    pub evolution: &'a Evolution,
}

/// A place in a model: the words that lead there, a relation's and a column's names those of before.
type Path = Vec<String>;

/// What stands where in a model.
type Leaves = BTreeMap<Path, Value>;

/// Where two branches from one state meet; nowhere where either may come first.
pub fn meetings(before: &Value, ours: &Side<'_>, theirs: &Side<'_>) -> Vec<Meeting> {
    let base = leaves(before, &Evolution::default());
    let ours = Changed::of(&base, ours);
    let theirs = Changed::of(&base, theirs);
    let mut meetings = BTreeSet::new();
    let atoms = |side: &Changed| -> BTreeSet<Path> { side.places.iter().map(|path| atom(path)).collect() };
    for atom in atoms(&ours).intersection(&atoms(&theirs)) {
        if !ours.below(atom).eq(theirs.below(atom)) {
            meetings.insert(meeting(atom, both(atom, &base, &ours, &theirs)));
        }
    }
    // What is added below something that the other branch has dropped.
    for (one, other) in [(&ours, &theirs), (&theirs, &ours)] {
        for path in one.places.iter().filter(|path| one.leaves.contains_key(*path)) {
            if other.gone.iter().any(|gone| path.starts_with(gone)) {
                meetings.insert(meeting(path, both(path, &base, &ours, &theirs)));
            }
        }
    }
    for (needed, user) in needs(&theirs, &ours) {
        meetings.insert(meeting(&needed, How::NeededHere(user)));
    }
    for (needed, user) in needs(&ours, &theirs) {
        meetings.insert(meeting(&needed, How::NeededThere(user)));
    }
    // What is told of a whole relation is not told of its parts again.
    let whole: BTreeSet<Name> = meetings
        .iter()
        .filter(|one| one.part.is_none() && matches!(one.how, How::Both { .. }))
        .filter_map(|one| one.relation.clone())
        .collect();
    meetings
        .into_iter()
        .filter(|one| one.part.is_none() || one.relation.as_ref().is_none_or(|name| !whole.contains(name)))
        .collect()
}

/// What a branch has changed.
struct Changed {
    leaves: Leaves,
    /// Places where something else stands than before, or nothing any more.
    places: BTreeSet<Path>,
    /// Relations and columns that are not there any more.
    gone: BTreeSet<Path>,
    /// Relations and columns that are not there under the name of before.
    unnamed: BTreeSet<Path>,
}

impl Changed {
    fn of(base: &Leaves, side: &Side<'_>) -> Self {
        let leaves = leaves(side.model, side.evolution);
        let places = base.keys().chain(leaves.keys());
        let places: BTreeSet<Path> =
            places.filter(|path| base.get(*path) != leaves.get(*path)).cloned().collect();
        let units = |of: &Leaves| -> BTreeSet<Path> { of.keys().flat_map(|path| units(path)).collect() };
        let still = units(&leaves);
        let gone: BTreeSet<Path> = units(base).into_iter().filter(|unit| !still.contains(unit)).collect();
        let renamed = still.iter().filter(|unit| {
            let called = leaves.get(&[unit.as_slice(), &["name".to_owned()]].concat());
            called.is_some_and(|name| *name != Value::String(bare(unit).to_owned()))
        });
        let unnamed = gone.iter().chain(renamed).cloned().collect();
        Self { leaves, places, gone, unnamed }
    }
}

/// What a place belongs to that a spec says in one line or so, and two branches do not change beside each other.
fn atom(path: &[String]) -> Path {
    let most = match path {
        [section, ..] if !RELATIONS.contains(&section.as_str()) => 1,
        [_, _, part, ..] if matches!(part.as_str(), "columns" | "lookups" | "grain" | "measures") => 4,
        _ => 3,
    };
    path.iter().take(most).cloned().collect()
}

/// The relation and the column that a place is in.
fn units(path: &[String]) -> Vec<Path> {
    let is_relation = path.len() > 1 && RELATIONS.contains(&path[0].as_str());
    let is_column = is_relation && path.len() > 3 && path[2] == "columns";
    let mut units = Vec::new();
    units.extend(is_relation.then(|| path[..2].to_vec()));
    units.extend(is_column.then(|| path[..4].to_vec()));
    units
}

/// A unit's own name.
fn bare(unit: &[String]) -> &str {
    let last = unit.last().map_or("", String::as_str);
    if unit.len() == 2 { last.split_once('\u{1f}').map_or(last, |(_, name)| name) } else { last }
}

/// What each branch does at a place: to the column or the relation as far as one is there or goes as a whole.
fn both(path: &[String], base: &Leaves, ours: &Changed, theirs: &Changed) -> How {
    let deed = |side: &Changed| {
        let units = units(path);
        let is_there = |leaves: &Leaves, unit: &Path| leaves.keys().any(|one| one.starts_with(unit));
        for unit in &units {
            match (is_there(base, unit), is_there(&side.leaves, unit)) {
                (false, true) => return Deed::Adds,
                (true, false) => return Deed::Drops,
                _ => {}
            }
        }
        if units.last().is_some_and(|unit| side.unnamed.contains(unit)) {
            Deed::Renames
        } else {
            Deed::Changes
        }
    };
    How::Both { ours: deed(ours), theirs: deed(theirs) }
}

fn meeting(path: &[String], how: How) -> Meeting {
    let is_relation = path.len() > 1 && RELATIONS.contains(&path[0].as_str());
    if !is_relation {
        return Meeting { relation: None, part: path.first().cloned(), how };
    }
    let (schema, name) = path[1].split_once('\u{1f}').unwrap_or(("", &path[1]));
    let whole = matches!(how, How::Both { ours: Deed::Adds | Deed::Drops, theirs: Deed::Adds | Deed::Drops });
    let part = match path.get(2).map(String::as_str) {
        Some("columns" | "lookups" | "grain" | "measures") => path.get(3).cloned(),
        _ if whole => None,
        Some("name") => None,
        part => part.map(str::to_owned),
    };
    Meeting { relation: Some(Name::new(schema, name)), part, how }
}

/// What one branch lets go and the other one has come to need: the place, and where it is needed.
fn needs(gone: &Changed, other: &Changed) -> BTreeSet<(Path, String)> {
    let mut needs = BTreeSet::new();
    for unit in &gone.unnamed {
        let relation = unit[..2].to_vec();
        let relation = bare(&relation);
        for path in &other.places {
            let Some(value) = other.leaves.get(path).filter(|_| is_reading(path)) else { continue };
            // What happens to the thing itself has been told.
            if path.starts_with(unit) || !mentions(value, bare(unit)) {
                continue;
            }
            let is_own = path.starts_with(&unit[..2]);
            let reads = unit.len() == 2 || is_own || other.reads(&path[..path.len().min(2)], relation);
            if reads {
                let user = meeting(path, How::Both { ours: Deed::Changes, theirs: Deed::Changes });
                let name = user.relation.map(|name| name.name).unwrap_or_default();
                needs.insert((unit.clone(), user.part.map_or(name.clone(), |part| format!("{name}.{part}"))));
            }
        }
    }
    needs
}

impl Changed {
    /// What stands below a place.
    fn below<'c>(&'c self, place: &'c Path) -> impl Iterator<Item = (&'c Path, &'c Value)> {
        self.leaves.range(place.clone()..).take_while(move |(path, _)| path.starts_with(place))
    }

    /// Whether a relation mentions another one, or what shows its current rows.
    fn reads(&self, relation: &[String], other: &str) -> bool {
        let current = other.strip_suffix("_hist").unwrap_or(other);
        self.leaves
            .iter()
            .filter(|(path, _)| path.starts_with(relation))
            .any(|(path, value)| is_reading(path) && (mentions(value, other) || mentions(value, current)))
    }
}

/// Whether a place can refer to something of the warehouse's: not by a name of its own, a text for readers, or a field of
/// the source's.
fn is_reading(path: &[String]) -> bool {
    let [section, .., before, last] = path else { return false };
    let own = last == "name" && matches!(path.len(), 3 | 5);
    let is_field = before == "from" && last == "Field";
    section != "enums" && !own && !is_field && !matches!(last.as_str(), "description" | "schema")
}

/// Whether a text is a name, or has it among its identifiers.
fn mentions(value: &Value, name: &str) -> bool {
    match value {
        Value::String(text) => {
            text == name
                || text
                    .split(|one: char| !(one.is_alphanumeric() || one == '_' || one == '$'))
                    .any(|word| word == name)
        }
        Value::Array(list) => list.iter().any(|one| mentions(one, name)),
        Value::Object(map) => map.values().any(|one| mentions(one, name)),
        _ => false,
    }
}

/// All that a model says, by places in which order does not matter.
fn leaves(model: &Value, evolution: &Evolution) -> Leaves {
    let mut leaves = Leaves::new();
    for (word, value) in model.as_object().into_iter().flatten() {
        // What says nothing about what stands in a database, or follows from the rest.
        if matches!(word.as_str(), "scripts" | "demo" | "evolution" | "name") {
            continue;
        }
        match value.as_array().filter(|_| RELATIONS.contains(&word.as_str())) {
            Some(relations) => {
                for relation in relations {
                    add_relation(word, relation, evolution, &mut leaves);
                }
            }
            None => add(vec![word.clone()], value, &mut leaves),
        }
    }
    leaves
}

fn add_relation(section: &str, relation: &Value, evolution: &Evolution, leaves: &mut Leaves) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let name = Name::new(text(&relation["name"]["schema"]), text(&relation["name"]["name"]));
    let before = evolution.relations.iter().find(|(_, now)| *now == name).map_or(&name, |(before, _)| before);
    let place = [section.to_owned(), format!("{}\u{1f}{}", before.schema, before.name)];
    let at = |words: &[&str]| -> Path {
        place.iter().cloned().chain(words.iter().map(|word| (*word).to_owned())).collect()
    };
    leaves.insert(at(&["name"]), Value::String(name.name.clone()));
    for (word, value) in relation.as_object().into_iter().flatten() {
        match (word.as_str(), value.as_array()) {
            // Follows from the definition.
            ("name" | "reads", _) => {}
            ("columns" | "lookups" | "grain" | "measures", Some(list)) => {
                for (number, one) in list.iter().enumerate() {
                    let called = one["name"].as_str().or_else(|| one["alias"].as_str());
                    let called = called.map_or_else(|| number.to_string(), str::to_owned);
                    let renamed =
                        evolution.columns.iter().find(|(table, _, now)| *table == name && *now == called);
                    let was = renamed.filter(|_| word == "columns").map_or(&called, |(_, was, _)| was);
                    add(at(&[word, was]), one, leaves);
                }
            }
            _ => add(at(&[word]), value, leaves),
        }
    }
}

fn add(path: Path, value: &Value, leaves: &mut Leaves) {
    match value.as_object().filter(|map| !map.is_empty()) {
        Some(map) => {
            for (word, value) in map {
                add(path.iter().cloned().chain([word.clone()]).collect(), value, leaves);
            }
        }
        None => {
            leaves.insert(path, value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn model(columns: Value, lookups: Value) -> Value {
        json!({ "time_zone": "UTC", "silver": [
            { "name": { "schema": "s", "name": "dim_a_hist" }, "columns": columns, "lookups": [], "key": ["id"] },
            { "name": { "schema": "s", "name": "fact_b" }, "columns": [], "lookups": lookups, "key": ["id"] },
        ] })
    }

    fn column(name: &str, data_type: &str) -> Value {
        json!({ "name": name, "data_type": data_type, "from": { "Field": name }, "description": null })
    }

    fn met(ours: &Value, theirs: &Value) -> Vec<Meeting> {
        let before = model(json!([column("id", "integer"), column("mail", "text")]), json!([]));
        let none = Evolution::default();
        let side = |model| Side { model, evolution: &none };
        let there = meetings(&before, &side(ours), &side(theirs));
        // Told from the other side it is the same.
        let back = meetings(&before, &side(theirs), &side(ours));
        assert_eq!(there.len(), back.len());
        there
    }

    #[test]
    fn changes_meet_where_they_touch_the_same() {
        let id = column("id", "integer");
        let unchanged = model(json!([id, column("mail", "text")]), json!([]));
        let adds_x = model(json!([id, column("x", "text"), column("mail", "text")]), json!([]));
        let adds_y = model(json!([column("mail", "text"), id, column("y", "text")]), json!([]));
        let adds_other_x = model(json!([id, column("mail", "text"), column("x", "date")]), json!([]));
        let retypes = model(json!([id, column("mail", "varchar")]), json!([]));
        let drops = model(json!([id]), json!([]));
        let looks_up = model(
            json!([id, column("mail", "text")]),
            json!([{ "alias": "a", "relation": { "schema": "s", "name": "dim_a_hist" }, "on": [["x", "mail"]] }]),
        );
        assert_eq!(met(&unchanged, &adds_x), []);
        assert_eq!(met(&adds_x, &adds_y), []);
        assert_eq!(met(&adds_x, &adds_x), []);
        assert_eq!(met(&adds_x, &retypes), []);
        assert_eq!(met(&drops, &drops), []);
        let at = |part: &str, how| {
            [Meeting { relation: Some(Name::new("s", "dim_a_hist")), part: Some(part.to_owned()), how }]
        };
        assert_eq!(met(&adds_x, &adds_other_x), at("x", How::Both { ours: Deed::Adds, theirs: Deed::Adds }));
        assert_eq!(met(&retypes, &drops), at("mail", How::Both { ours: Deed::Changes, theirs: Deed::Drops }));
        assert_eq!(met(&drops, &looks_up), at("mail", How::NeededThere("fact_b.a".to_owned())));
        assert_eq!(met(&looks_up, &drops), at("mail", How::NeededHere("fact_b.a".to_owned())));
    }

    #[test]
    fn a_rename_meets_what_happens_under_the_old_name() {
        let before = model(json!([column("mail", "text")]), json!([]));
        let renames = model(
            json!([
                json!({ "name": "email", "data_type": "text", "from": { "Field": "mail" }, "description": null })
            ]),
            json!([]),
        );
        let retypes = model(json!([column("mail", "varchar")]), json!([]));
        let evolution = Evolution {
            columns: vec![(Name::new("s", "dim_a_hist"), "mail".to_owned(), "email".to_owned())],
            ..Evolution::default()
        };
        let none = Evolution::default();
        let ours = Side { model: &renames, evolution: &evolution };
        let met = meetings(&before, &ours, &Side { model: &retypes, evolution: &none });
        assert_eq!(met.len(), 1);
        assert_eq!(met[0].how, How::Both { ours: Deed::Renames, theirs: Deed::Changes });
        let looks_up = model(
            json!([column("mail", "text")]),
            json!([{ "alias": "a", "relation": { "schema": "s", "name": "dim_a_hist" }, "on": [["x", "mail"]] }]),
        );
        let met = meetings(&before, &ours, &Side { model: &looks_up, evolution: &none });
        assert_eq!(met.len(), 1);
        assert_eq!(met[0].how, How::NeededThere("fact_b.a".to_owned()));
    }
}
