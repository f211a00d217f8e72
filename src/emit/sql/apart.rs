//! The SQL of a dimension whose closed versions stand apart: one partitioned table by whose name all of it is
//! read and written, a partition for the current versions, and one for the closed ones that is partitioned
//! again, by the time at which they ended. The planner leaves out what a question cannot meet.

use askama::Template;

use super::dimension::{LookupIndex, column_definition, lookup_indexes};
use super::lines::Lines;
use super::quote::{derived, identifier, identifiers, relation};
use super::script::comment;
use super::versioning;
use crate::model::{Dimension, Name, Silver, Writes};

#[derive(Template)]
#[template(path = "generated/sql/warehouse/20_silver/apart.sql", escape = "none")]
struct ApartSql {
    table: String,
    current: String,
    closed: String,
    closed_default: String,
    /// All that TRUNCATE could name: statement triggers are not handed down.
    emptied: Vec<String>,
    definitions: Lines,
    row_hash: String,
    start: String,
    end: String,
    key: String,
    primary_key: String,
    period_check: String,
    period_index: String,
    lookups: Vec<LookupIndex>,
    versioning: Option<String>,
}

pub(super) fn definition(silver: &Silver, dimension: &Dimension) -> String {
    let constraint = |suffix: &str| identifier(&derived(&silver.name.name, suffix));
    let tables = [current(silver), closed(silver), closed_default(silver)].map(|table| relation(&table));
    let table = relation(&silver.name);
    let versioned = dimension.writes == Writes::Versioned;
    // Versioning says by itself that its table is not emptied.
    let emptied = (!versioned).then_some(&table).into_iter().chain(&tables).cloned().collect();
    let [current, closed, closed_default] = tables;
    super::render(&ApartSql {
        table,
        current,
        closed,
        closed_default,
        emptied,
        definitions: silver.columns.iter().map(column_definition).collect(),
        row_hash: identifier(&dimension.row_hash),
        start: identifier(&dimension.start),
        end: identifier(&dimension.end),
        key: identifiers(silver.key.iter().map(String::as_str)),
        primary_key: constraint("pkey"),
        period_check: constraint("period_check"),
        period_index: constraint("period_brin"),
        lookups: lookup_indexes(silver),
        versioning: versioned.then(|| versioning::definition(silver, dimension)),
    })
}

pub(super) fn comments(silver: &Silver) -> Vec<String> {
    let table = &silver.name.name;
    let says = |name: Name, text: String| comment("TABLE", &name, &text);
    vec![
        says(current(silver), format!("The current versions of `{table}`.")),
        says(closed(silver), format!("The closed versions of `{table}`, by when they ended.")),
        says(
            closed_default(silver),
            format!("The closed versions of `{table}` that no other partition holds."),
        ),
    ]
}

/// The table of the closed versions.
pub(in crate::emit) fn closed(silver: &Silver) -> Name {
    Name::new(&silver.name.schema, derived(&silver.name.name, "closed"))
}

fn closed_default(silver: &Silver) -> Name {
    Name::new(&silver.name.schema, derived(&silver.name.name, "closed_default"))
}

/// The table of the current versions.
pub(super) fn current(silver: &Silver) -> Name {
    Name::new(&silver.name.schema, derived(&silver.name.name, "current"))
}
