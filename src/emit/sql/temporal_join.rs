//! The SQL of a join over time: a view, and the same over what was known as of a time.

use askama::Template;

use super::definition::Binding;
use super::quote::{identifier, literal, relation};
use super::script::{Script, comment, comment_column};
use crate::model::data_type::BuiltIn;
use crate::model::{
    ColumnFrom, DataType, Lookup, LookupTime, Name, Nullability, Silver, SilverKind, Stretch, TRAVEL_SCHEMA,
    TemporalJoin, Warehouse,
};

#[derive(Template)]
#[template(path = "generated/sql/warehouse/20_silver/temporal_join.sql", escape = "none")]
struct TemporalJoinSql {
    name: String,
    at_own_time: bool,
    definition: String,
    travel_view: String,
    travel_definition: String,
}

pub(super) fn script(join: &TemporalJoin, warehouse: &Warehouse) -> Script {
    let travel_view = Name::new(TRAVEL_SCHEMA, &join.name.name);
    let definition = TemporalJoinSql {
        name: relation(&join.name),
        at_own_time: join.stretch == Stretch::OwnTime,
        definition: query(join, warehouse, Binding::Present),
        travel_view: relation(&travel_view),
        travel_definition: query(join, warehouse, Binding::Travel),
    };
    Script::of_relation("20_silver", &join.name, super::render(&definition))
        .commented(comments(join, &travel_view))
        .dropped_by(vec![
            format!("DROP VIEW {};", relation(&travel_view)),
            format!("DROP VIEW {};", relation(&join.name)),
        ])
}

/// What is said of the view.
pub(in crate::emit) fn description(join: &TemporalJoin) -> String {
    let joined: Vec<String> = join.joins.iter().map(|joined| format!("`{}`", joined.relation.name)).collect();
    let joined = joined.join(", ");
    join.description.clone().unwrap_or_else(|| match join.stretch {
        Stretch::Period { .. } => format!("`{}` with {joined}, over all of time.", join.base.name),
        Stretch::OwnTime => format!("`{}` with {joined} of each event's own time.", join.base.name),
    })
}

fn query(join: &TemporalJoin, warehouse: &Warehouse, binding: Binding) -> String {
    let mut columns: Vec<String> = join
        .columns
        .iter()
        .map(|column| {
            let (alias, source) = match &column.of {
                ColumnFrom::Field(source) => (&join.base_alias, source),
                ColumnFrom::Lookup { lookup, column } => (lookup, column),
                ColumnFrom::Computed(_) | ColumnFrom::Composed(_) | ColumnFrom::Change(_) => {
                    unreachable!("a join shows columns of relations")
                }
            };
            let value = qualified(alias, source);
            if *source == column.name { value } else { format!("{value} AS {}", identifier(&column.name)) }
        })
        .collect();
    let joins = match &join.stretch {
        Stretch::Period { start, end } => {
            let (joins, starts, ends) = intersected(join, warehouse, binding);
            columns.push(format!("{} AS {}", of_all("GREATEST", &starts), identifier(start)));
            columns.push(format!("{} AS {}", of_all("LEAST", &ends), identifier(end)));
            joins
        }
        Stretch::OwnTime => {
            join.joins.iter().map(|joined| at_own_time(join, joined, warehouse, binding)).collect()
        }
    };
    format!(
        "SELECT\n    {}\nFROM {} AS {}{joins}",
        columns.join(",\n    "),
        binding.relation(&join.base),
        identifier(&join.base_alias),
    )
}

/// Versions whose periods meet, one relation after the other: the joins, and all starts and ends.
fn intersected(
    join: &TemporalJoin,
    warehouse: &Warehouse,
    binding: Binding,
) -> (String, Vec<String>, Vec<String>) {
    let (start, end) = period(&join.base, warehouse);
    let mut starts = vec![qualified(&join.base_alias, start)];
    let mut ends = vec![qualified(&join.base_alias, end)];
    let mut joins = String::new();
    for joined in &join.joins {
        let (start, end) = period(&joined.relation, warehouse);
        let (start, end) = (qualified(&joined.alias, start), qualified(&joined.alias, end));
        joins.push_str(&format!(
            "\nJOIN {} AS {}\n    ON {}\n    AND {start} < {}\n    AND {end} > {}",
            binding.relation(&joined.relation),
            identifier(&joined.alias),
            same_key(join, joined, "    AND "),
            of_all("LEAST", &ends),
            of_all("GREATEST", &starts),
        ));
        starts.push(start);
        ends.push(end);
    }
    (joins, starts, ends)
}

/// The last version that had begun at the event's own time, else the first. Within the questions for them the
/// alias means what they look through.
fn at_own_time(join: &TemporalJoin, joined: &Lookup, warehouse: &Warehouse, binding: Binding) -> String {
    let LookupTime::OwnTime(at) = &joined.at else {
        unreachable!("lower has checked that what is joined to a fact says at which time")
    };
    let own_time = own_time(join, at, warehouse);
    let table = format!("{} AS {}", binding.relation(&joined.relation), identifier(&joined.alias));
    let start = qualified(&joined.alias, period(&joined.relation, warehouse).0);
    let begun = format!("AND {start} <= {own_time}");
    let same = same_key(join, joined, "            AND ");
    let bound = |function: &str, rest: &str| {
        format!(
            "        (\n            SELECT {function}({start})\n            FROM {table}\n            \
             WHERE {same}{rest}\n        )"
        )
    };
    format!(
        "\nLEFT JOIN {table}\n    ON {}{}\n    AND {start} = COALESCE(\n{},\n{}\n    )",
        same_key(join, joined, "    AND "),
        if is_nullable(join, at, warehouse) {
            format!("\n    AND {own_time} IS NOT NULL")
        } else {
            String::new()
        },
        bound("max", &format!("\n            {begun}")),
        bound("min", ""),
    )
}

fn is_nullable(join: &TemporalJoin, column: &str, warehouse: &Warehouse) -> bool {
    let mut columns = silver(&join.base, warehouse).columns.iter();
    columns.any(|own| own.name == column && own.nullability == Nullability::Nullable)
}

/// An event's own time as an instant: what has no zone is in the warehouse's.
fn own_time(join: &TemporalJoin, at: &str, warehouse: &Warehouse) -> String {
    let time = qualified(&join.base_alias, at);
    let column = silver(&join.base, warehouse).columns.iter().find(|column| column.name == at);
    match column.map(|column| &column.data_type) {
        Some(DataType::BuiltIn(BuiltIn::TimestampTz)) | None => time,
        Some(_) => format!("({time}::timestamp AT TIME ZONE {})", literal(&warehouse.time_zone)),
    }
}

fn same_key(join: &TemporalJoin, joined: &Lookup, and: &str) -> String {
    let pairs = joined.on.iter().map(|(here, there)| {
        format!("{} = {}", qualified(&joined.alias, there), qualified(&join.base_alias, here))
    });
    pairs.collect::<Vec<_>>().join(&format!("\n{and}"))
}

fn qualified(alias: &str, column: &str) -> String {
    format!("{}.{}", identifier(alias), identifier(column))
}

fn of_all(function: &str, values: &[String]) -> String {
    match values {
        [only] => only.clone(),
        values => format!("{function}({})", values.join(", ")),
    }
}

fn silver<'a>(name: &Name, warehouse: &'a Warehouse) -> &'a Silver {
    let found = warehouse.silver.iter().find(|silver| silver.name == *name);
    found.expect("lower has checked that every relation is declared")
}

fn period<'a>(name: &Name, warehouse: &'a Warehouse) -> (&'a str, &'a str) {
    match &silver(name, warehouse).kind {
        SilverKind::Dimension(dimension) => (&dimension.start, &dimension.end),
        SilverKind::Fact(_) => unreachable!("lower has checked that versions are joined"),
    }
}

fn comments(join: &TemporalJoin, travel_view: &Name) -> Vec<String> {
    let mut comments = vec![comment("VIEW", &join.name, &description(join))];
    for column in &join.columns {
        comments
            .extend(column.description.as_ref().map(|text| comment_column(&join.name, &column.name, text)));
    }
    if let Stretch::Period { start, end } = &join.stretch {
        comments.push(comment_column(&join.name, start, STRETCH_START));
        comments.push(comment_column(&join.name, end, STRETCH_END));
    }
    let travel = format!("`{}` as of the setting `medallion.as_of`.", join.name.name);
    comments.push(comment("VIEW", travel_view, &travel));
    comments
}

/// What is said of a stretch's start.
pub(in crate::emit) const STRETCH_START: &str = "Since when the rows stood so together, in system time.";
/// What is said of a stretch's end.
pub(in crate::emit) const STRETCH_END: &str =
    "Until when the rows stood so together; infinity while they do.";
