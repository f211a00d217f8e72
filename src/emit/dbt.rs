//! What dbt is told of a warehouse: silver and gold as sources, with their columns and the tests that dbt has itself; marts
//! as exposures of what they read. Pure. Knows no dbt project.

use std::collections::BTreeSet;

use askama::Template;

use super::lineage::{self, Layer};
use super::page::{self, Observed};
use super::schedule::{Names, quoted};
use super::sql::{self, identifier, render};
use crate::model::data_test::{Condition, DataTest, Literal, Rule};
use crate::model::data_type::BuiltIn;
use crate::model::{DataType, Mart, Name, Origin, SilverKind, Warehouse};

#[derive(Template)]
#[template(path = "neighbour/dbt.yml", escape = "none")]
struct Schema {
    warehouse: String,
    sources: Vec<Source>,
    exposures: Vec<Exposure>,
}

/// A schema. Texts are as YAML writes them, here and below.
struct Source {
    name: String,
    description: String,
    tables: Vec<Table>,
}

struct Table {
    name: String,
    description: Option<String>,
    freshness: Option<Freshness>,
    /// What dbt has no test for.
    other: Vec<String>,
    tests: Vec<Test>,
    columns: Vec<Column>,
}

struct Column {
    name: String,
    data_type: String,
    description: Option<String>,
    /// Whether it has to be quoted.
    quote: bool,
    tests: Vec<Test>,
}

struct Freshness {
    field: String,
    after: &'static str,
    count: u64,
    period: &'static str,
}

struct Test {
    kind: &'static str,
    name: String,
    description: Option<String>,
    arguments: Vec<(&'static str, String)>,
    /// Severity and thresholds, where they are not an error at the first failure.
    config: Vec<(&'static str, String)>,
}

struct Exposure {
    name: String,
    description: Option<String>,
    reads: Vec<String>,
}

/// dbt calls files after tests.
const LONGEST: usize = 200;

/// The properties of the sources: a file for the models of a dbt project.
pub fn schema(warehouse: &Warehouse) -> String {
    let mut names = Names::new('_', LONGEST);
    let sources: Vec<Source> = [&warehouse.schemas.silver, &warehouse.schemas.gold]
        .into_iter()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .map(|schema| source(warehouse, schema, &mut names))
        .filter(|source| !source.tables.is_empty())
        .collect();
    let marts = warehouse.marts.iter().filter(|mart| !mart.is_shown());
    let known: BTreeSet<Name> = relations(warehouse).into_iter().map(|(name, ..)| name).collect();
    let mut exposures = Names::new('_', LONGEST);
    let schema = Schema {
        warehouse: quoted(&plain(&warehouse.name)),
        exposures: marts.map(|mart| exposure(mart, &known, &mut exposures)).collect(),
        sources,
    };
    render(&schema).trim_end().to_owned() + "\n"
}

/// Each relation of silver and gold that is asked, with what is said of it and of its columns, in the lineage's order.
fn relations(warehouse: &Warehouse) -> Vec<(Name, Option<String>, Vec<page::Column>)> {
    let lineage = lineage::lineage(warehouse);
    let shown = page::relations(warehouse, &lineage, &Observed::default());
    let mut relations = Vec::new();
    for (traced, shown) in lineage.relations.iter().zip(shown) {
        if !matches!(traced.layer, Layer::Silver | Layer::Gold) {
            continue;
        }
        let silver = warehouse.silver.iter().find(|one| one.name == traced.name);
        let Some(SilverKind::Dimension(dimension)) = silver.map(|one| &one.kind) else {
            relations.push((traced.name.clone(), shown.description, shown.columns));
            continue;
        };
        let beyond = [&dimension.row_hash, &dimension.end];
        let current = shown.columns.iter().filter(|one| !beyond.contains(&&one.name)).cloned().collect();
        let silver = silver.expect("it has a kind");
        let (versions, said) = sql::descriptions(silver, dimension);
        relations.push((dimension.current_view.clone(), Some(said), current));
        // The versions behind reference data are the tool's own.
        if dimension.origin == Origin::Declared {
            relations.push((traced.name.clone(), Some(versions), shown.columns));
        }
    }
    relations
}

fn source(warehouse: &Warehouse, schema: &str, names: &mut Names) -> Source {
    let tables = relations(warehouse).into_iter().filter(|(name, ..)| name.schema == schema);
    let layer = if schema == warehouse.schemas.gold { "gold" } else { "silver" };
    let about = warehouse.description.as_ref().map_or(String::new(), |said| format!(": {said}"));
    Source {
        name: quoted(&plain(schema)),
        description: quoted(&plain(&format!("The {layer} of warehouse {}{about}", warehouse.name))),
        tables: tables.map(|(name, said, columns)| table(warehouse, &name, said, columns, names)).collect(),
    }
}

fn table(
    warehouse: &Warehouse,
    name: &Name,
    said: Option<String>,
    columns: Vec<page::Column>,
    names: &mut Names,
) -> Table {
    let mut table = Table {
        name: quoted(&plain(&name.name)),
        description: said.map(|said| quoted(&plain(&said))),
        freshness: None,
        other: Vec::new(),
        tests: Vec::new(),
        columns: columns.iter().map(column).collect(),
    };
    for test in warehouse.tests.iter().filter(|test| test.relation == *name) {
        if !is_askable(name) {
            table.other.push(other(test));
            continue;
        }
        let mut on = |name: &str, test: Test| match columns.iter().position(|one| one.name == *name) {
            Some(place) => table.columns[place].tests.push(test),
            None => table.tests.push(test),
        };
        match &test.rule {
            Rule::Unique(columns) => match columns.as_slice() {
                [column] => on(column, of("unique", names.make(&test.name), test, Vec::new())),
                several => {
                    let row: Vec<String> = several.iter().map(|column| identifier(column)).collect();
                    let row = quoted(&plain(&format!("({})", row.join(", "))));
                    table.tests.push(of("unique", names.make(&test.name), test, vec![("column_name", row)]));
                }
            },
            Rule::Each(Condition::NotNull(columns)) => {
                for column in columns {
                    let name = match columns.len() {
                        1 => names.make(&test.name),
                        _ => names.make(&format!("{}_{column}", test.name)),
                    };
                    on(column, of("not_null", name, test, Vec::new()));
                }
            }
            Rule::Each(Condition::Accepted(column, values)) => {
                let mut quote = "true";
                let values = values.iter().map(|value| match value {
                    Literal::Plain(text) => {
                        quote = "false";
                        quoted(&plain(text))
                    }
                    // dbt puts it between quotes as it is.
                    Literal::Text(text) => quoted(&plain(&text.replace('\'', "''"))),
                });
                let values = format!("[{}]", values.collect::<Vec<_>>().join(", "));
                let arguments = vec![("values", values), ("quote", quote.to_owned())];
                on(column, of("accepted_values", names.make(&test.name), test, arguments));
            }
            Rule::Relationship { on: pairs, relation, .. } if pairs.len() == 1 && is_askable(relation) => {
                let (own, there) = &pairs[0];
                let to = quoted(&plain(&reference(relation)));
                let arguments = vec![("to", to), ("field", quoted(&plain(&identifier(there))))];
                on(own, of("relationships", names.make(&test.name), test, arguments));
            }
            Rule::Freshness { column, data_type, within } if table.freshness.is_none() => {
                table.freshness = Some(freshness(warehouse, test, column, data_type, *within));
            }
            _ => table.other.push(other(test)),
        }
    }
    table
}

/// What dbt has no test for.
fn other(test: &DataTest) -> String {
    quoted(&plain(&format!("{}: {}", test.name, page::rule(&test.rule))))
}

/// Whether dbt can test a relation: for that it puts the names into a template, between quotes, as they are.
fn is_askable(name: &Name) -> bool {
    ![&name.schema, &name.name].iter().any(|part| part.contains(['\'', '\\']))
}

fn column(column: &page::Column) -> Column {
    Column {
        name: quoted(&plain(&column.name)),
        data_type: quoted(&plain(&column.data_type)),
        description: column.description.as_deref().map(|said| quoted(&plain(said))),
        quote: !column.name.chars().all(|one| matches!(one, 'a'..='z' | '0'..='9' | '_')),
        tests: Vec::new(),
    }
}

/// A test of a kind, by a name that dbt takes.
fn of(kind: &'static str, name: String, test: &DataTest, arguments: Vec<(&'static str, String)>) -> Test {
    let above = |most: u64| quoted(&format!(">{most}"));
    let mut config = Vec::new();
    match test.error_above {
        None => config.push(("severity", "warn".to_owned())),
        Some(0) => {}
        Some(most) => config.push(("error_if", above(most))),
    }
    if test.warn_above > 0 {
        config.push(("warn_if", above(test.warn_above)));
    }
    Test {
        kind,
        name: quoted(&name),
        description: test.description.as_deref().map(|said| quoted(&plain(said))),
        arguments,
        config,
    }
}

fn freshness(
    warehouse: &Warehouse,
    test: &DataTest,
    column: &str,
    data_type: &DataType,
    within: u64,
) -> Freshness {
    const UNITS: [(u64, &str); 2] = [(86_400, "day"), (3_600, "hour")];
    let exact = UNITS.into_iter().find(|(unit, _)| within >= *unit && within.is_multiple_of(*unit));
    let (unit, period) = exact.unwrap_or((60, "minute"));
    let field = match data_type {
        DataType::BuiltIn(BuiltIn::TimestampTz) => identifier(column),
        _ => format!("{}::timestamp AT TIME ZONE {}", identifier(column), sql::literal(&warehouse.time_zone)),
    };
    Freshness {
        field: quoted(&plain(&field)),
        after: if test.error_above.is_some() { "error_after" } else { "warn_after" },
        count: within.div_ceil(unit),
        period,
    }
}

fn exposure(mart: &Mart, known: &BTreeSet<Name>, names: &mut Names) -> Exposure {
    let reads: BTreeSet<&Name> =
        mart.reads.iter().map(|read| &read.name).filter(|name| known.contains(name)).collect();
    Exposure {
        name: quoted(&names.make(&mart.name.name)),
        description: mart.description.as_deref().map(|said| quoted(&plain(said))),
        reads: reads.into_iter().map(|name| quoted(&plain(&reference(name)))).collect(),
    }
}

/// How dbt names a source.
fn reference(name: &Name) -> String {
    let word = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
    format!("source({}, {})", word(&name.schema), word(&name.name))
}

/// A text that dbt's templates leave alone.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    for one in text.chars() {
        if plain.ends_with('{') && "{%#".contains(one) {
            plain.push(' ');
        }
        plain.push(one);
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn no_text_is_a_template() {
        for text in ["{{ x }}", "{{{ x }}}", "{{%", "{%- x %}", "a{#{#{{{{"] {
            let plain = plain(text);
            assert!(!["{{", "{%", "{#"].iter().any(|begin| plain.contains(begin)), "{plain}");
            assert_eq!(plain.replace(' ', ""), text.replace(' ', ""));
        }
    }
}
