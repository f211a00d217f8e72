//! Draws up a spec: a landing table and a dimension for each table that has a key, a fact where a table is plainly one
//! of events. What cannot be said in a spec becomes a remark that says why. Pure: the same tables give the same text.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::Serialize;

use super::source::{Column, Key, Relation};
use super::type_word::{self, Word};
use crate::model;
use crate::plan::quote;

/// The longest name that others are made of: what follows it has to fit as well.
const LONGEST: usize = 40;

/// Columns that medallion adds to relations.
const ADDED: [&str; 4] = ["row_hash", "snapshot_ts", "sys_end", "sys_start"];

/// What a column is called that says when a row was last written: a change of it alone is no version, and it is no
/// time of an event.
const HOUSEKEEPING: [&str; 10] = [
    "changed_at",
    "date_modified",
    "last_change",
    "last_modified",
    "last_update",
    "last_updated",
    "modified",
    "modified_at",
    "updated",
    "updated_at",
];

/// What a column is called that marks a row as deleted.
const MARKS: [&str; 7] =
    ["archived_at", "deleted", "deleted_at", "deleted_on", "is_archived", "is_deleted", "removed_at"];

/// A spec's text, and what is said of it.
pub(in crate::cli) struct Draft {
    pub text: String,
    pub said: String,
}

/// A table that lands.
struct Landed<'s> {
    relation: &'s Relation,
    /// What names are made of.
    base: String,
    key: &'s Key,
    kind: Kind,
    columns: Vec<Drafted<'s>>,
}

/// What becomes of a landed table.
enum Kind {
    Dimension,
    /// An event, at the time in this column.
    Fact(String),
    /// Nothing, and why.
    LandsOnly(String),
}

/// A column, or why there is none.
struct Drafted<'s> {
    column: &'s Column,
    written: Result<Written, String>,
    remark: Option<String>,
}

/// A column as the spec has it.
#[derive(Serialize)]
struct Written {
    name: String,
    #[serde(rename = "type")]
    data_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    null: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tracked: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    references: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
}

/// Draws it up.
pub(super) fn draw_up(name: &str, database: &str, relations: &[Relation]) -> Draft {
    let mut left_out = Vec::new();
    let mut enums = Enums::default();
    let default = default_schema(relations);
    let mut bases = Names::default();
    let mut landed = Vec::new();
    for relation in relations {
        match reason_to_leave_out(relation).map_or_else(|| key(relation), Err) {
            Err(why) => left_out.push((relation, why)),
            Ok(key) => {
                let base = match relation.schema == default {
                    true => plain(&relation.name),
                    false => plain(&format!("{}_{}", relation.schema, relation.name)),
                };
                let base = bases.take(&base);
                let columns = columns(relation, &mut enums);
                let kind = kind(relation, key, &columns, relations);
                landed.push(Landed { relation, base, key, kind, columns });
            }
        }
    }
    refer(&mut landed);
    for one in &mut landed {
        if matches!(one.kind, Kind::Fact(_)) {
            one.columns
                .iter_mut()
                .filter_map(|column| column.written.as_mut().ok())
                .for_each(|one| one.tracked = None);
        }
    }
    let text = text(name, database, default, &landed, &enums, &left_out);
    Draft { text, said: said(&landed, left_out.len()) }
}

/// A name of lower-case letters, digits and underscores, a letter first.
pub(in crate::cli) fn plain(name: &str) -> String {
    let mut plain = String::new();
    for character in name.to_lowercase().chars() {
        match character {
            'a'..='z' | '0'..='9' => plain.push(character),
            _ if plain.ends_with('_') || plain.is_empty() => {}
            _ => plain.push('_'),
        }
    }
    let plain = plain.trim_end_matches('_');
    let plain = if plain.starts_with(|first: char| first.is_ascii_lowercase()) {
        plain.to_owned()
    } else {
        format!("t_{plain}").trim_end_matches('_').to_owned()
    };
    plain.chars().take(LONGEST).collect::<String>().trim_end_matches('_').to_owned()
}

/// Names that are given once.
#[derive(Default)]
struct Names {
    taken: BTreeSet<String>,
}

impl Names {
    /// The name, or the first after it that is not taken, in whatever case of its letters.
    fn take(&mut self, name: &str) -> String {
        let others = (2..).map(|number| format!("{name}_{number}"));
        let mut free = std::iter::once(name.to_owned()).chain(others);
        let free = free.find(|name| self.taken.insert(name.to_lowercase()));
        free.expect("there are more numbers than names")
    }
}

/// Enumerated types by their schema and name at the source: the word here, and the labels.
#[derive(Default)]
struct Enums {
    known: BTreeMap<(String, String), (String, Vec<String>)>,
    names: Names,
}

impl Enums {
    fn word(&mut self, schema: String, name: String, labels: Vec<String>) -> String {
        let names = &mut self.names;
        let (word, _) = self.known.entry((schema, name)).or_insert_with_key(|(_, name)| {
            let plain = plain(name);
            let plain = if model::is_type(&plain) { format!("{plain}_type") } else { plain };
            (names.take(&plain), labels)
        });
        word.clone()
    }
}

/// The schema of tables that are named without one.
fn default_schema(relations: &[Relation]) -> &str {
    let schemas: BTreeSet<&str> = relations.iter().map(|one| one.schema.as_str()).collect();
    match schemas.first() {
        Some(only) if schemas.len() == 1 => only,
        _ => "public",
    }
}

/// Why nothing can be captured from a relation.
fn reason_to_leave_out(relation: &Relation) -> Option<String> {
    let why = match relation.kind {
        'v' => "a view: what it reads is captured",
        'm' => "a materialized view: what it reads is captured",
        'f' => "a foreign table: its changes are in the log of another server",
        _ if !relation.is_logged => "unlogged: its changes are in no log",
        _ if [&relation.schema, &relation.name].iter().any(|name| name.contains('.')) => {
            "a spec names no table with a dot in its name"
        }
        _ => {
            let why = [&relation.schema, &relation.name].into_iter().find_map(|name| unnamed(name))?;
            return Some(format!("a spec names no table with {why} in its name"));
        }
    };
    Some(why.to_owned())
}

/// What a name holds that none in a spec does.
fn unnamed(name: &str) -> Option<String> {
    if name.contains(char::is_control) {
        return Some("a control character".to_owned());
    }
    model::ending_bodies(name).map(|tag| format!("`{tag}`, which ends SQL bodies,"))
}

/// What tells its rows apart, in the log too where that can be had.
fn key(relation: &Relation) -> Result<&Key, String> {
    let identity = relation.keys.iter().find(|key| relation.identity == 'i' && key.is_identity);
    let Some(key) = identity.or_else(|| relation.keys.first()) else {
        return Err(
            "nothing tells its rows apart: give it a primary key, or a unique index without NULL".to_owned()
        );
    };
    let of_key = |column: &&Column| key.columns.contains(&column.name);
    let mut columns = relation.columns.iter().filter(of_key);
    if let Some(column) = columns.clone().find(|column| column.is_generated) {
        let name = shown(&column.name);
        return Err(format!("its key has {name}, which is generated, and not every server sends it"));
    }
    match columns.find(|column| unnamed(&column.name).is_some()) {
        Some(column) => {
            Err(format!("its key has {}, and a spec names no column like that", shown(&column.name)))
        }
        None => Ok(key),
    }
}

fn columns<'s>(relation: &'s Relation, enums: &mut Enums) -> Vec<Drafted<'s>> {
    let mut names = Names::default();
    for added in ADDED {
        names.take(added);
    }
    relation
        .columns
        .iter()
        .map(|column| {
            let (written, remark) = match written(column, enums, &mut names) {
                Ok((written, remark)) => (Ok(written), remark),
                Err(why) => (Err(why), None),
            };
            Drafted { column, written, remark }
        })
        .collect()
}

fn written(
    column: &Column,
    enums: &mut Enums,
    names: &mut Names,
) -> Result<(Written, Option<String>), String> {
    if column.is_generated {
        return Err("it is generated, and PostgreSQL before 18 does not send it".to_owned());
    }
    if let Some(why) = unnamed(&column.name) {
        return Err(format!("a spec names no column with {why} in its name"));
    }
    let (data_type, remark) = match type_word::word(column) {
        Word::Unwritable(why) => return Err(why),
        Word::Written(word, remark) => (word, remark),
        Word::Enum { schema, name, labels, is_array } => {
            let word = enums.word(schema, name, labels);
            (if is_array { format!("{word}[]") } else { word }, None)
        }
    };
    let wanted =
        if column.name.starts_with("m$") { column.name.replacen("m$", "m_", 1) } else { column.name.clone() };
    let name = names.take(&wanted);
    let from = (name != column.name).then(|| column.name.clone());
    if from.as_ref().is_some_and(|from| from.contains('.')) {
        return Err(
            "its name is taken, and a field with a dot in its name cannot be given another one".to_owned()
        );
    }
    let remark = remark.or_else(|| {
        column.domain.as_ref().map(|domain| format!("a domain at the source, {}", shown(domain)))
    });
    let remark = remark.or_else(|| mark(column));
    let tracked = is_housekeeping(column).then_some(false);
    let null = (!column.not_null).then_some(true);
    let description = column.comment.as_deref().and_then(description);
    Ok((Written { name, data_type, null, from, tracked, references: None, description }, remark))
}

/// What can be done about rows that are marked as deleted and stay.
fn mark(column: &Column) -> Option<String> {
    let name = MARKS.iter().find(|name| **name == column.name)?;
    let is_boolean = column.type_schema == "pg_catalog" && !column.is_array && column.data_type == "bool";
    let test = match (is_time(column), is_boolean) {
        (true, _) => "IS NULL",
        (_, true) => "IS NOT TRUE",
        _ => return None,
    };
    Some(format!("rows that are marked so end by a [[staging]] with filter = \"{name} {test}\""))
}

fn is_housekeeping(column: &Column) -> bool {
    is_time(column) && HOUSEKEEPING.contains(&column.name.to_lowercase().as_str())
}

fn is_time(column: &Column) -> bool {
    column.type_schema == "pg_catalog"
        && !column.is_array
        && matches!(column.data_type.as_str(), "date" | "timestamp" | "timestamptz")
}

/// An event where that is plain, else a row with versions.
fn kind(relation: &Relation, key: &Key, columns: &[Drafted<'_>], all: &[Relation]) -> Kind {
    let of_key = |column: &&Drafted<'_>| key.columns.contains(&column.column.name);
    if let Some(why) = columns.iter().filter(of_key).find_map(|column| column.written.as_ref().err()) {
        return Kind::LandsOnly(format!("a column of its key cannot be written: {why}"));
    }
    let times =
        || columns.iter().filter(|one| is_time(one.column) && one.column.not_null && one.written.is_ok());
    let named =
        |column: &Drafted<'_>| column.written.as_ref().map(|one| one.name.clone()).unwrap_or_default();
    // Split by time, or told apart by time among other things: the source says itself that they are events.
    let split = times().find(|one| relation.split_by.as_ref() == Some(&one.column.name));
    let in_key = || times().find(|one| key.columns.len() > 1 && key.columns.contains(&one.column.name));
    if let Some(time) = split.or_else(in_key) {
        return Kind::Fact(named(time));
    }
    // Refers to several, is referred to by none, has a key of its own, and exactly one time.
    let refers = relation.references.len() > 1;
    let is_referred_to = all
        .iter()
        .flat_map(|one| &one.references)
        .any(|reference| reference.schema == relation.schema && reference.table == relation.name);
    let refers_by = |column: &String| {
        relation.references.iter().flat_map(|one| &one.columns).any(|(own, _)| own == column)
    };
    let mut plain_times = times().filter(|one| !is_housekeeping(one.column));
    match (plain_times.next(), plain_times.next()) {
        (Some(only), None) if refers && !is_referred_to && !key.columns.iter().any(refers_by) => {
            Kind::Fact(named(only))
        }
        _ => Kind::Dimension,
    }
}

/// Says which dimensions columns are keys of, as far as foreign keys do.
fn refer(landed: &mut [Landed<'_>]) {
    let mut dimensions = BTreeMap::new();
    for one in landed.iter() {
        if let (Kind::Dimension, [only]) = (&one.kind, one.key.columns.as_slice()) {
            let key = one.columns.iter().find(|column| column.column.name == *only);
            let data_type =
                key.and_then(|column| column.written.as_ref().ok()).map(|column| column.data_type.clone());
            let place = (one.relation.schema.clone(), one.relation.name.clone(), only.clone());
            dimensions.insert(place, (dimension(&one.base), data_type));
        }
    }
    for one in landed.iter_mut() {
        for reference in &one.relation.references {
            let [(own, there)] = reference.columns.as_slice() else { continue };
            let place = (reference.schema.clone(), reference.table.clone(), there.clone());
            let Some((target, data_type)) = dimensions.get(&place) else { continue };
            let column = one.columns.iter_mut().find(|column| column.column.name == *own);
            let Some(Ok(column)) = column.map(|column| &mut column.written) else { continue };
            if Some(&column.data_type) == data_type.as_ref() {
                column.references = Some(target.clone());
            }
        }
    }
}

fn landing(base: &str) -> String {
    format!("br_{base}_cdc")
}

fn dimension(base: &str) -> String {
    format!("dim_{base}_hist")
}

/// One line of what a comment says.
fn description(comment: &str) -> Option<String> {
    let words: Vec<&str> = comment
        .split(|one: char| one.is_whitespace() || one.is_control())
        .filter(|one| !one.is_empty())
        .collect();
    (!words.is_empty()).then(|| words.join(" "))
}

fn text(
    name: &str,
    database: &str,
    default: &str,
    landed: &[Landed<'_>],
    enums: &Enums,
    left_out: &[(&Relation, String)],
) -> String {
    let mut text = format!(
        "#:schema ../spec.schema.json\n\
         # A first draft, from the tables of database {}. It passes `medallion check`; what it ought to say is\n\
         # yours to decide. Every table that has a key lands and is a dimension, or a fact where it is split by time,\n\
         # has a time in its key, or has one time, refers to several tables and is referred to by none. Reference data\n\
         # that nobody asks about alone may rather be a [[lookup]]; marts are for you to add.\n\n\
         [warehouse]\nname = {}\n\n[source]\ncapture = \"logical\"\n",
        shown(database),
        quoted(name),
    );
    if default != "public" {
        let _ = writeln!(text, "schema = {}", quoted(default));
    }
    if !enums.known.is_empty() {
        text.push_str("\n[types]\n");
        let by_word: BTreeMap<&String, &Vec<String>> =
            enums.known.values().map(|(word, labels)| (word, labels)).collect();
        for (word, labels) in by_word {
            let _ = writeln!(text, "{word} = {}", value(labels));
        }
    }
    if !landed.is_empty() {
        text.push_str("\n# Bronze: every change as it came.\n");
    }
    for one in landed {
        let _ = write!(
            text,
            "\n{}[[landing]]\nname = {}\nfrom = {}\nkey = {}\n",
            hint(one.relation, one.key),
            quoted(&landing(&one.base)),
            quoted(&from(one.relation, default)),
            value(&one.key.columns),
        );
        if let Kind::LandsOnly(why) = &one.kind {
            let _ = writeln!(text, "# It feeds nothing yet: {why}.");
        }
    }
    let is_dimension = |one: &&Landed<'_>| matches!(one.kind, Kind::Dimension);
    if landed.iter().any(|one| is_dimension(&one)) {
        text.push_str("\n# Silver, dimensions: rows as they were at any time.\n");
    }
    for one in landed.iter().filter(is_dimension) {
        relation(&mut text, "dimension", &dimension(&one.base), one, None);
    }
    if landed.iter().any(|one| matches!(one.kind, Kind::Fact(_))) {
        text.push_str("\n# Silver, facts: events as they are now.\n");
    }
    for one in landed {
        if let Kind::Fact(by) = &one.kind {
            relation(&mut text, "fact", &format!("fact_{}", one.base), one, Some(by));
        }
    }
    if !left_out.is_empty() {
        text.push_str("\n# Left out\n#\n");
    }
    for (relation, why) in left_out {
        let name = format!("{}.{}", relation.schema, relation.name);
        let _ = writeln!(text, "# - {}: {why}", shown(&name));
    }
    text
}

/// What the source has to be told, so that it writes enough of old rows.
fn hint(relation: &Relation, key: &Key) -> String {
    let is_written = match relation.identity {
        'f' => true,
        'i' => key.is_identity,
        'd' => key.is_primary,
        _ => false,
    };
    if is_written {
        return String::new();
    }
    let table = format!("{}.{}", identifier(&relation.schema), identifier(&relation.name));
    format!(
        "# The source does not log the key of old rows; once it is published, the table takes no update without:\n\
         # ALTER TABLE {table} REPLICA IDENTITY USING INDEX {};\n",
        identifier(&key.name)
    )
}

fn relation(text: &mut String, section: &str, name: &str, one: &Landed<'_>, by: Option<&str>) {
    let _ = write!(text, "\n[[{section}]]\nname = {}\n", quoted(name));
    if let Some(description) = one.relation.comment.as_deref().and_then(description) {
        let _ = writeln!(text, "description = {}", quoted(&description));
    }
    let key: Vec<&str> = one
        .key
        .columns
        .iter()
        .filter_map(|key| one.columns.iter().find(|column| column.column.name == *key))
        .filter_map(|column| column.written.as_ref().ok().map(|column| column.name.as_str()))
        .collect();
    let _ = write!(text, "from = {}\nkey = {}\n", quoted(&landing(&one.base)), value(&key));
    if let Some(by) = by {
        let _ = writeln!(text, "partition = {{ by = {}, every = \"month\" }}", quoted(by));
    }
    text.push_str("columns = [\n");
    for column in &one.columns {
        let remark = column.remark.as_ref().map_or_else(String::new, |remark| format!("  # {remark}"));
        let _ = match &column.written {
            Ok(written) => writeln!(text, "    {},{remark}", value(written)),
            Err(why) => writeln!(text, "    # {} is not here: {why}", shown(&column.column.name)),
        };
    }
    text.push_str("]\n");
}

fn from(relation: &Relation, default: &str) -> String {
    if relation.schema == default {
        relation.name.clone()
    } else {
        format!("{}.{}", relation.schema, relation.name)
    }
}

/// A value as TOML has it, in one line.
fn value(value: &impl Serialize) -> String {
    let mut text = String::new();
    value
        .serialize(toml::ser::ValueSerializer::new(&mut text))
        .expect("texts, lists and tables of them are TOML");
    text
}

fn quoted(text: &str) -> String {
    value(&text)
}

/// An identifier in a remark.
fn identifier(name: &str) -> String {
    in_one_line(&quote::identifier(name))
}

/// A name in a remark.
fn shown(name: &str) -> String {
    format!("`{}`", in_one_line(name))
}

fn in_one_line(text: &str) -> String {
    text.chars()
        .map(|one| if one.is_control() { one.escape_unicode().to_string() } else { one.to_string() })
        .collect()
}

fn said(landed: &[Landed<'_>], left_out: usize) -> String {
    let count = |wanted: fn(&Kind) -> bool| landed.iter().filter(|one| wanted(&one.kind)).count();
    let counts = [
        (landed.len(), "landing table", "landing tables"),
        (count(|kind| matches!(kind, Kind::Dimension)), "dimension", "dimensions"),
        (count(|kind| matches!(kind, Kind::Fact(_))), "fact", "facts"),
    ];
    let mut said: Vec<String> = counts
        .iter()
        .map(|(count, one, many)| format!("{count} {}", if *count == 1 { one } else { many }))
        .collect();
    match left_out {
        0 => {}
        1 => said.push("1 relation left out".to_owned()),
        count => said.push(format!("{count} relations left out")),
    }
    said.join(", ")
}
