//! The SQL of a mart: a view, a materialized view, or a table beside its definition.

use askama::Template;

use super::definition::{Binding, query};
use super::dimension::nullable_column;
use super::lines::Lines;
use super::quote::{data_type, derived, identifier, identifiers, relation};
use super::script::{Script, comment, comment_column};
use crate::model::{Mart, Name, Nullability, Storage, TOOL_SCHEMA, TRAVEL_SCHEMA};

#[derive(Template)]
#[template(path = "generated/sql/warehouse/30_gold/mart.sql", escape = "none")]
struct MartSql {
    storage: Kept,
    name: String,
    definition: String,
    definition_view: String,
    travel_view: String,
    travel_definition: String,
    columns: Lines,
    grain: String,
    grain_index: String,
    /// How a table holds its grain unique.
    constraint: &'static str,
    /// What an index on the grain ends with.
    nulls: &'static str,
}

/// How the mart's rows are kept.
enum Kept {
    Not,
    Materialized,
    Table,
}

pub(super) fn script(mart: &Mart, time_zone: &str) -> Script {
    let definition_view = definition_view(mart);
    let travel_view = Name::new(TRAVEL_SCHEMA, &mart.name.name);
    let nullable = mart.grain.iter().any(|column| column.nullability == Nullability::Nullable);
    let columns = mart.grain.iter().chain(&mart.measures);
    let (storage, index) = match mart.storage {
        Storage::View => (Kept::Not, "grain"),
        Storage::MaterializedView => (Kept::Materialized, "grain"),
        Storage::Incremental { .. } => (Kept::Table, if nullable { "grain" } else { "pkey" }),
    };
    let definition = MartSql {
        storage,
        name: relation(&mart.name),
        definition: query(mart, time_zone, Binding::Present),
        definition_view: relation(&definition_view),
        travel_view: relation(&travel_view),
        travel_definition: query(mart, time_zone, Binding::Travel),
        columns: columns
            .map(|column| nullable_column(&column.name, &data_type(&column.data_type), column.nullability))
            .collect(),
        grain: identifiers(mart.grain.iter().map(|column| column.name.as_str())),
        grain_index: identifier(&derived(&mart.name.name, index)),
        constraint: if nullable { "UNIQUE NULLS NOT DISTINCT" } else { "PRIMARY KEY" },
        nulls: if nullable { "\n    NULLS NOT DISTINCT" } else { "" },
    };
    Script::of_relation("30_gold", &mart.name, super::render(&definition))
        .commented(comments(mart, &definition_view, &travel_view))
        .dropped_by(drops(mart, &definition_view, &travel_view))
}

/// The view that defines a stored mart.
pub(in crate::emit) fn definition_view(mart: &Mart) -> Name {
    Name::new(TOOL_SCHEMA, derived(&mart.name.name, "definition"))
}

fn kind(mart: &Mart) -> &'static str {
    match mart.storage {
        Storage::View => "VIEW",
        Storage::MaterializedView => "MATERIALIZED VIEW",
        Storage::Incremental { .. } => "TABLE",
    }
}

fn comments(mart: &Mart, definition_view: &Name, travel_view: &Name) -> Vec<String> {
    let mut comments = Vec::new();
    comments.extend(mart.description.as_ref().map(|text| comment(kind(mart), &mart.name, text)));
    for column in mart.grain.iter().chain(&mart.measures) {
        comments
            .extend(column.description.as_ref().map(|text| comment_column(&mart.name, &column.name, text)));
    }
    if let Storage::Incremental { .. } = mart.storage {
        let text = format!("The definition of `{}`.", mart.name.name);
        comments.push(comment("VIEW", definition_view, &text));
    }
    let text = format!("`{}` as of the setting `medallion.as_of`.", mart.name.name);
    comments.push(comment("VIEW", travel_view, &text));
    comments
}

fn drops(mart: &Mart, definition_view: &Name, travel_view: &Name) -> Vec<String> {
    let mut drops = vec![format!("DROP VIEW {};", relation(travel_view))];
    if let Storage::Incremental { .. } = mart.storage {
        drops.push(format!("DROP VIEW {};", relation(definition_view)));
    }
    drops.push(format!("DROP {} {};", kind(mart), relation(&mart.name)));
    drops
}
