//! Unit tests beside the spec, `tests/*.toml`: their words, and the relations and columns that they name. What their
//! values are is left to who runs them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::report::Report;
use crate::finding::{Code, Finding, SourceText, Span};
use crate::model::{Landing, Mart, Name, Silver, SilverKind};
use crate::spec::{At, Files, parse_text};

/// A file of unit tests.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Written {
    /// The tests.
    unit_test: Vec<At<UnitTest>>,
}

type Row = BTreeMap<At<String>, Value>;
type Rows = BTreeMap<At<String>, Vec<Row>>;

/// A test.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct UnitTest {
    /// What it proves.
    #[schemars(required)]
    name: Option<At<String>>,
    /// More of it.
    #[serde(rename = "description")]
    _description: Option<String>,
    /// Changes of landing tables, or rows of silver.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Vec<Value>>")]
    given: Rows,
    /// Rows of silver or gold.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Vec<Value>>")]
    expect: Rows,
    /// Rows of a past time.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, BTreeMap<String, Vec<Value>>>")]
    as_of: BTreeMap<At<String>, Rows>,
    /// What `medallion.now()` says.
    #[serde(rename = "now")]
    _now: Option<Value>,
}

/// What the warehouse has.
pub(super) struct Known<'a> {
    pub landings: &'a [Landing],
    pub silver: &'a [Silver],
    pub marts: &'a [Mart],
    /// Whether all that is declared could be read.
    pub complete: bool,
}

/// A relation that a test can name.
struct Relation<'a> {
    name: &'a Name,
    /// What its name may begin with in place of the schema.
    layer: &'static str,
    /// Its columns, where they are known.
    columns: Option<Vec<&'a str>>,
}

/// Words for when a version or state begins and ends.
const PERIOD: [&str; 2] = ["from", "to"];

pub(super) fn check(files: &Files, known: &Known<'_>, report: &mut Report<'_>) {
    let relations = relations(known);
    let mut names: BTreeMap<String, Span> = BTreeMap::new();
    for text in &files.unit_tests {
        let parsed = parse_text::<Written>(text);
        for finding in parsed.findings {
            report.push(finding);
        }
        for test in &parsed.value.unit_test {
            let reading = Reading { text, relations: &relations, complete: known.complete };
            if let Some(name) = &test.name {
                let place = reading.place(name);
                if let Some(first) = names.get(&name.value) {
                    let message = format!("a second test is called `{}`", name.value);
                    report.push(
                        Finding::new(Code::DuplicateName, message, place)
                            .label("give it a name of its own")
                            .also(first.clone(), "the first"),
                    );
                } else {
                    names.insert(name.value.clone(), place);
                }
            }
            reading.rows(&test.given, ("gold", "a mart is computed: give what it reads"), report);
            for expected in std::iter::once(&test.expect).chain(test.as_of.values()) {
                reading.rows(expected, ("bronze", "a landing table has what is given"), report);
            }
        }
    }
}

fn relations<'a>(known: &Known<'a>) -> Vec<Relation<'a>> {
    let mut relations = Vec::new();
    for landing in known.landings {
        relations.push(Relation { name: &landing.name, layer: "bronze", columns: None });
    }
    for silver in known.silver {
        let own = silver.columns.iter().map(|column| column.name.as_str());
        let own = own.chain(PERIOD).chain(["row_hash", "sys_start", "sys_end", "snapshot_ts"]);
        let mut columns: Vec<&str> = own.collect();
        let mut names = vec![&silver.name];
        match &silver.kind {
            SilverKind::Dimension(dimension) => {
                columns.extend([dimension.row_hash.as_str(), &dimension.start, &dimension.end]);
                names.push(&dimension.current_view);
            }
            SilverKind::Fact(fact) => columns.push(&fact.snapshot),
        }
        relations.extend(names.into_iter().map(|name| Relation {
            name,
            layer: "silver",
            columns: Some(columns.clone()),
        }));
    }
    for mart in known.marts {
        let columns = mart.grain.iter().chain(&mart.measures).map(|column| column.name.as_str()).collect();
        relations.push(Relation { name: &mart.name, layer: "gold", columns: Some(columns) });
    }
    for landing in known.landings {
        relations.push(Relation { name: &landing.source, layer: "bronze", columns: None });
    }
    relations
}

struct Reading<'r> {
    text: &'r SourceText,
    relations: &'r [Relation<'r>],
    complete: bool,
}

impl Reading<'_> {
    fn place<T>(&self, at: &At<T>) -> Span {
        Span::new(self.text.path(), at.span.clone())
    }

    /// Rows of relations, of which one layer has none here.
    fn rows(&self, all: &Rows, (refused, why): (&str, &str), report: &mut Report<'_>) {
        for (said, rows) in all {
            let Some(relation) = self.find(said, report) else { continue };
            if relation.layer == refused {
                let message = format!("`{}` is not to be here", said.value);
                report.push(Finding::new(Code::WrongRelation, message, self.place(said)).label(why));
                continue;
            }
            let Some(columns) = &relation.columns else { continue };
            let mut told: Vec<&str> = Vec::new();
            for column in rows.iter().flat_map(BTreeMap::keys) {
                if columns.contains(&column.value.as_str()) || told.contains(&column.value.as_str()) {
                    continue;
                }
                told.push(&column.value);
                let message = format!("`{}` has no column `{}`", said.value, column.value);
                let finding = Finding::new(Code::UnknownColumn, message, self.place(column))
                    .did_you_mean(&column.value, columns.iter().copied());
                report.push_absent(finding, self.complete);
            }
        }
    }

    fn find(&self, said: &At<String>, report: &mut Report<'_>) -> Option<&Relation<'_>> {
        let is_meant = |relation: &&Relation<'_>| {
            relation.name.name == said.value
                || said.value.split_once('.').is_some_and(|(schema, table)| {
                    table == relation.name.name
                        && (schema == relation.name.schema || schema == relation.layer)
                })
        };
        let found = self.relations.iter().find(is_meant);
        if found.is_none() {
            let message = format!("the warehouse has no relation `{}`", said.value);
            let names = self.relations.iter().map(|relation| relation.name.name.as_str());
            let finding = Finding::new(Code::UnknownRelation, message, self.place(said))
                .label("no landing table, dimension, fact, lookup or mart")
                .did_you_mean(&said.value, names);
            report.push_absent(finding, self.complete);
        }
        found
    }
}
