//! The file that tells the runtime where columns come from, a line a relation: what events of lineage are made of.

use askama::Template;
use serde_json::{Value, json};

use crate::emit::lineage::{Layer, Origins, lineage};
use crate::emit::sql;
use crate::model::{Calendar, Dimension, Made, Name, SilverKind, Warehouse};

#[derive(Template)]
#[template(path = "generated/src/warehouse/lineage.rs", escape = "none")]
struct LineageRs<'a> {
    mark: &'a str,
    fence: String,
    lines: String,
}

/// The file.
pub(super) fn file(warehouse: &Warehouse, mark: &str) -> String {
    let lineage = lineage(warehouse);
    let number = |name: &Name| lineage.relations.iter().position(|one| one.name == *name);
    let origins = |from: &Origins| -> Vec<Value> {
        let told = from
            .iter()
            .filter_map(|one| Some(json!([number(&one.relation)?, one.column.as_ref()?, one.how.word()])));
        told.collect()
    };
    let lines: Vec<String> = lineage
        .relations
        .iter()
        .map(|one| {
            let columns: Vec<Value> = one
                .columns
                .iter()
                .map(|column| json!([column.name, data_type(warehouse, &one.name, &column.name), origins(&column.from)]))
                .collect();
            let layer = match one.layer {
                Layer::Source => "source",
                Layer::Bronze => "bronze",
                Layer::Silver => "silver",
                Layer::Gold => "gold",
            };
            let (schema, name) = (&one.name.schema, &one.name.name);
            json!({ "layer": layer, "schema": schema, "name": name, "columns": columns, "rows": origins(&one.rows) })
                .to_string()
        })
        .collect();
    let lines = lines.join(",\n");
    // A raw string ends with as many signs as it begins with: more than stand together anywhere in it.
    let mut fence = "#".to_owned();
    while lines.contains(&format!("\"{fence}")) {
        fence.push('#');
    }
    sql::render(&LineageRs { mark, fence, lines })
}

/// A column's type, where the warehouse gives it one.
fn data_type(warehouse: &Warehouse, relation: &Name, column: &str) -> String {
    let silver = warehouse.silver.iter().filter(|one| one.name == *relation);
    let known = silver.clone().flat_map(|one| one.columns.iter().map(|one| (&one.name, &one.data_type)));
    let staged = warehouse.stagings.iter().filter(|one| one.name == *relation);
    let known = known.chain(staged.flat_map(|one| one.columns.iter().map(|one| (&one.name, &one.data_type))));
    let is_calendar = warehouse.calendars.iter().any(|one| one.name == *relation);
    let days = Calendar::columns().into_iter().find(|(name, ..)| is_calendar && *name == column);
    if let Some((_, data_type, _)) = days {
        return sql::data_type(&data_type);
    }
    let joins = warehouse.temporal_joins.iter().filter(|one| one.name == *relation);
    let known = known.chain(joins.flat_map(|one| one.columns.iter().map(|one| (&one.name, &one.data_type))));
    let marts = warehouse.marts.iter().filter(|one| one.name == *relation);
    let known =
        known
            .chain(marts.flat_map(|one| {
                one.grain.iter().chain(&one.measures).map(|one| (&one.name, &one.data_type))
            }));
    let mut known = known.filter(|(name, _)| *name == column).map(|(_, known)| sql::data_type(known));
    let added = || {
        silver.clone().find_map(|one| match &one.kind {
            SilverKind::Dimension(Dimension { surrogate: Some(one), .. }) if one.name == column => {
                Some(if one.made == Made::Identity { "bigint" } else { "text" })
            }
            SilverKind::Dimension(dimension) if column == dimension.row_hash => Some("bytea"),
            SilverKind::Dimension(dimension)
                if [&dimension.start, &dimension.end].contains(&&column.to_owned()) =>
            {
                Some("timestamptz")
            }
            SilverKind::Fact(fact) if column == fact.snapshot => Some("timestamptz"),
            _ => None,
        })
    };
    known.next().unwrap_or_else(|| added().unwrap_or_default().to_owned())
}
