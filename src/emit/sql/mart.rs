//! The SQL of a mart: a view, a materialized view, or a table beside its definition.

use askama::Template;

use super::definition::{Binding, layered, order_list, query};
use super::dimension::nullable_column;
use super::group_index::{GroupIndex, group_indexes};
use super::lines::Lines;
use super::quote::{data_type, derived, identifier, identifiers, relation};
use super::script::{Script, comment, comment_column};
use crate::model::{Definition, Mart, Name, Nullability, Storage, TOOL_SCHEMA, TRAVEL_SCHEMA, Warehouse};

#[derive(Template)]
#[template(path = "generated/sql/warehouse/30_gold/mart.sql", escape = "none")]
struct MartSql {
    storage: Kept,
    name: String,
    definition: String,
    definition_view: String,
    /// The view of the groups, and its query, where something is made of them.
    groups: Option<(String, String)>,
    /// Indexes by which a change finds the rows of a group.
    indexes: Vec<GroupIndex>,
    /// The index by which rows are read in the mart's order.
    order: Option<(String, String)>,
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

pub(super) fn script(mart: &Mart, warehouse: &Warehouse) -> Script {
    let time_zone = warehouse.time_zone.as_str();
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
        definition: definition(mart, time_zone),
        definition_view: relation(&definition_view),
        groups: groups(mart, time_zone),
        indexes: group_indexes(mart, warehouse),
        order: (mart.storage.is_kept() && !mart.order.is_empty())
            .then(|| (identifier(&derived(&mart.name.name, "order")), order_list(mart).join(", "))),
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
    let schemas = definition.indexes.iter().filter_map(|index| index.table.split('.').next());
    let names = definition.indexes.iter().map(|index| index.name.as_str());
    let indexes: Vec<String> = schemas.zip(names).map(|(schema, name)| format!("{schema}.{name}")).collect();
    let folder = if mart.is_shown() { "20_silver" } else { "30_gold" };
    Script::of_relation(folder, &mart.name, super::render(&definition))
        .commented(comments(mart, &definition_view, &travel_view))
        .dropped_by(drops(mart, &indexes, &definition_view, &travel_view))
}

/// The query that defines it; over the view of its groups where there is one.
fn definition(mart: &Mart, time_zone: &str) -> String {
    match &mart.definition {
        Definition::Declared(declared) if has_groups(mart) => {
            let groups = format!("{} AS \"grouped\"", relation(&groups_view(mart)));
            layered(mart, declared, &groups)
        }
        _ => query(mart, time_zone, Binding::Present),
    }
}

fn groups(mart: &Mart, time_zone: &str) -> Option<(String, String)> {
    let Definition::Declared(declared) = &mart.definition else { return None };
    has_groups(mart).then(|| {
        let query = super::definition::groups(mart, declared, time_zone, Binding::Present);
        (relation(&groups_view(mart)), query)
    })
}

/// Whether something is made of a stored mart's groups, so that they are a view of their own.
pub(in crate::emit) fn has_groups(mart: &Mart) -> bool {
    let made = matches!(&mart.definition, Definition::Declared(declared) if !declared.derived.is_empty());
    made && mart.storage.is_table()
}

/// The view of a stored mart's groups.
pub(in crate::emit) fn groups_view(mart: &Mart) -> Name {
    Name::new(TOOL_SCHEMA, derived(&mart.name.name, "groups"))
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
    if mart.storage.is_table() {
        let text = format!("The definition of `{}`.", mart.name.name);
        comments.push(comment("VIEW", definition_view, &text));
        if has_groups(mart) {
            let text = format!("The groups of `{}`, as it is defined.", mart.name.name);
            comments.push(comment("VIEW", &groups_view(mart), &text));
        }
    }
    let text = format!("`{}` as of the setting `medallion.as_of`.", mart.name.name);
    comments.push(comment("VIEW", travel_view, &text));
    comments
}

fn drops(mart: &Mart, indexes: &[String], definition_view: &Name, travel_view: &Name) -> Vec<String> {
    let mut drops = vec![format!("DROP VIEW {};", relation(travel_view))];
    drops.extend(indexes.iter().map(|index| format!("DROP INDEX {index};")));
    if mart.storage.is_table() {
        drops.push(format!("DROP VIEW {};", relation(definition_view)));
        if has_groups(mart) {
            drops.push(format!("DROP VIEW {};", relation(&groups_view(mart))));
        }
    }
    drops.push(format!("DROP {} {};", kind(mart), relation(&mart.name)));
    drops
}
