//! The query that defines a mart, bound to the warehouse's own relations or to those of the travel schema.
//! Its columns come in the declared order and types, whatever the query says.

use super::dress;
use super::quote::{data_type, identifier, literal, relation};
use crate::model::data_type::BuiltIn;
use crate::model::{
    CutColumn, DataType, Declared, Definition, Direction, GrainValue, Mart, MartColumn, MartJoin, MartSource,
    Name, Nullability, Nulls, Piece, TRAVEL_SCHEMA, Unit, Without,
};

/// Which relations a definition reads.
#[derive(Clone, Copy)]
pub(super) enum Binding {
    /// The warehouse's own.
    Present,
    /// Those that answer as of `medallion.as_of`, of the same names.
    Travel,
}

impl Binding {
    pub(super) fn relation(self, name: &Name) -> String {
        match self {
            Self::Present => relation(name),
            Self::Travel => relation(&Name::new(TRAVEL_SCHEMA, &name.name)),
        }
    }
}

/// The query over the warehouse's own relations.
pub(in crate::emit) fn present(mart: &Mart, time_zone: &str) -> String {
    query(mart, time_zone, Binding::Present)
}

/// The query, without a final semicolon.
pub(super) fn query(mart: &Mart, time_zone: &str, binding: Binding) -> String {
    let rows = match &mart.definition {
        Definition::Sql(pieces) => written(mart, pieces, binding),
        Definition::Shown(shown) => dress::query(shown, time_zone, binding),
        Definition::Declared(declared) if declared.derived.is_empty() => {
            groups(mart, declared, time_zone, binding)
        }
        Definition::Declared(declared) => {
            let groups = indented(&groups(mart, declared, time_zone, binding));
            layered(mart, declared, &format!("(\n{groups}\n) AS \"grouped\""))
        }
    };
    format!("{rows}{}", order(mart))
}

/// The order of a mart's rows.
fn order(mart: &Mart) -> String {
    if mart.order.is_empty() {
        return String::new();
    }
    format!("\nORDER BY\n    {}", order_list(mart).join(",\n    "))
}

/// The columns of a mart's order, as ORDER BY and an index have them.
pub(super) fn order_list(mart: &Mart) -> Vec<String> {
    let columns = mart.order.iter().map(|by| {
        let name = identifier(&by.column);
        match (by.direction, by.nulls) {
            (Direction::Ascending, Nulls::Last) => name,
            (Direction::Ascending, Nulls::First) => format!("{name} NULLS FIRST"),
            (Direction::Descending, Nulls::First) => format!("{name} DESC"),
            (Direction::Descending, Nulls::Last) => format!("{name} DESC NULLS LAST"),
        }
    });
    columns.collect()
}

/// The groups of a declared mart: its grain, and the measures that are taken of rows.
pub(super) fn groups(mart: &Mart, declared: &Declared, time_zone: &str, binding: Binding) -> String {
    match declared.sources.as_slice() {
        [source] => grouped(mart, source, time_zone, binding, Others::Absent),
        sources => drilled_across(mart, sources, time_zone, binding),
    }
}

/// A declared mart's measures that are taken of rows.
pub(in crate::emit) fn measured<'a>(
    mart: &'a Mart,
    declared: &'a Declared,
) -> impl Iterator<Item = &'a MartColumn> {
    mart.measures
        .iter()
        .filter(|measure| !declared.derived.iter().flatten().any(|(name, _)| *name == measure.name))
}

/// What is made of the groups, over what stands for them.
pub(super) fn layered(mart: &Mart, declared: &Declared, groups: &str) -> String {
    let mut from = groups.to_owned();
    let mut known: Vec<String> =
        mart.grain.iter().chain(measured(mart, declared)).map(|column| identifier(&column.name)).collect();
    for (number, layer) in declared.derived.iter().enumerate() {
        let made = layer.iter().filter_map(|(name, value)| {
            let column = mart.measures.iter().find(|measure| measure.name == *name)?;
            Some((identifier(name), cast(value, column)))
        });
        let made: Vec<(String, String)> = made.collect();
        // The last one gives the columns in their order.
        let columns: Vec<String> = if number + 1 == declared.derived.len() {
            let all = mart.grain.iter().chain(&mart.measures).map(|column| identifier(&column.name));
            all.map(|name| made.iter().find(|(own, _)| *own == name).map_or(name, |(_, value)| value.clone()))
                .collect()
        } else {
            known.iter().cloned().chain(made.iter().map(|(_, value)| value.clone())).collect()
        };
        let query = format!("SELECT\n    {}\nFROM {from}", columns.join(",\n    "));
        if number + 1 == declared.derived.len() {
            return query;
        }
        from = format!("(\n{}\n) AS \"made\"", indented(&query));
        known.extend(made.into_iter().map(|(name, _)| name));
    }
    from
}

/// The value of a grain's column in a row: cut to its unit of the calendar, in the column's own type.
pub(in crate::emit) fn unit(column: &MartColumn, of: &CutColumn, value: &str, time_zone: &str) -> String {
    let value = cut(of, value, time_zone);
    let value_type = match of.cut {
        Some(_) => &DataType::BuiltIn(BuiltIn::Date),
        None => &of.data_type,
    };
    if *value_type == column.data_type {
        return value;
    }
    format!("CAST({value} AS {})", data_type(&column.data_type))
}

/// A column's value, cut to its unit of the calendar: a date, the unit's first day.
fn cut(column: &CutColumn, value: &str, time_zone: &str) -> String {
    let Some(unit) = column.cut else {
        return value.to_owned();
    };
    let local = match &column.data_type {
        DataType::BuiltIn(BuiltIn::TimestampTz) => format!("{value} AT TIME ZONE {}", literal(time_zone)),
        DataType::BuiltIn(BuiltIn::Date) => format!("{value}::timestamp"),
        _ => value.to_owned(),
    };
    let unit = match unit {
        Unit::Day => "day",
        Unit::Week => "week",
        Unit::Month => "month",
        Unit::Quarter => "quarter",
        Unit::Year => "year",
    };
    format!("date_trunc('{unit}', {local})::date")
}

/// SQL as its author wrote it, within a query that holds it to the declared columns.
fn written(mart: &Mart, pieces: &[Piece], binding: Binding) -> String {
    let body: String = pieces
        .iter()
        .map(|piece| match piece {
            Piece::Sql(text) => text.clone(),
            Piece::Relation(name) => binding.relation(name),
        })
        .collect();
    let columns: Vec<String> = columns(mart)
        .map(|column| {
            let name = identifier(&column.name);
            format!("CAST({name} AS {}) AS {name}", data_type(&column.data_type))
        })
        .collect();
    format!("SELECT\n    {}\nFROM (\n{}\n) AS \"definition\"", columns.join(",\n    "), body.trim())
}

/// Whether a source's query has columns for the measures of the mart's other sources.
#[derive(Clone, Copy)]
enum Others {
    Absent,
    Null,
}

/// One relation, grouped by the grain.
fn grouped(mart: &Mart, source: &MartSource, time_zone: &str, binding: Binding, others: Others) -> String {
    let mut columns: Vec<String> = mart
        .grain
        .iter()
        .zip(&source.grain)
        .map(|(column, value)| {
            let name = identifier(&column.name);
            let value = grain_value(column, source, value, time_zone);
            if value == name { name } else { format!("{value} AS {name}") }
        })
        .collect();
    for measure in &mart.measures {
        let own = source.measures.iter().find(|(name, _)| *name == measure.name);
        let value = match (own, others) {
            (Some((_, aggregate)), _) => aggregate.as_str(),
            (None, Others::Null) if is_taken(mart, measure) => "NULL",
            (None, Others::Null | Others::Absent) => continue,
        };
        columns.push(cast(value, measure));
    }
    let filter = source.filter.as_ref().map_or_else(String::new, |filter| format!("WHERE {filter}\n"));
    format!(
        "SELECT\n    {}\nFROM {} AS {}\n{}{filter}GROUP BY {}",
        columns.join(",\n    "),
        binding.relation(&source.relation),
        identifier(&source.alias),
        source.joins.iter().map(|join| joined(join, binding)).collect::<String>(),
        grain_positions(mart),
    )
}

/// Whether a measure is taken of the rows of some source.
fn is_taken(mart: &Mart, measure: &MartColumn) -> bool {
    match &mart.definition {
        Definition::Declared(declared) => measured(mart, declared).any(|one| one.name == measure.name),
        Definition::Sql(_) | Definition::Shown(_) => true,
    }
}

fn joined(join: &MartJoin, binding: Binding) -> String {
    let alias = identifier(&join.alias);
    let on = join.on.iter().map(|((of, own), theirs)| {
        format!("{alias}.{} = {}.{}", identifier(theirs), identifier(of), identifier(own))
    });
    let on = on.collect::<Vec<_>>().join("\n    AND ");
    let kind = match join.without {
        Without::Kept => "LEFT JOIN",
        Without::LeftOut => "JOIN",
    };
    format!("{kind} {} AS {alias}\n    ON {on}\n", binding.relation(&join.relation))
}

/// The value of a grain's column in a row of a source, in the column's own type.
pub(in crate::emit) fn grain_value(
    column: &MartColumn,
    source: &MartSource,
    value: &GrainValue,
    time_zone: &str,
) -> String {
    match value {
        GrainValue::Column(alias, of) => {
            let name = identifier(&of.column);
            let name = if source.joins.is_empty() { name } else { format!("{}.{name}", identifier(alias)) };
            unit(column, of, &name, time_zone)
        }
        GrainValue::Expression(expression) => {
            format!("CAST({expression} AS {})", data_type(&column.data_type))
        }
    }
}

/// Several relations, each grouped on its own, meeting at the grain.
fn drilled_across(mart: &Mart, sources: &[MartSource], time_zone: &str, binding: Binding) -> String {
    let grouped: Vec<String> = sources
        .iter()
        .map(|source| indented(&grouped(mart, source, time_zone, binding, Others::Null)))
        .collect();
    let grain = mart.grain.iter().map(|column| identifier(&column.name));
    let measures = mart.measures.iter().filter(|measure| is_taken(mart, measure));
    let measures = measures.map(|measure| cast(&only_value(measure), measure));
    let columns: Vec<String> = grain.chain(measures).collect();
    format!(
        "SELECT\n    {}\nFROM (\n{}\n) AS \"source\"\nGROUP BY {}",
        columns.join(",\n    "),
        grouped.join("\n    UNION ALL\n"),
        grain_positions(mart),
    )
}

fn columns(mart: &Mart) -> impl Iterator<Item = &MartColumn> {
    mart.grain.iter().chain(&mart.measures)
}

fn cast(value: &str, column: &MartColumn) -> String {
    format!("CAST({value} AS {}) AS {}", data_type(&column.data_type), identifier(&column.name))
}

/// The value of the one source that has it. A count or a sum of nothing is 0 where NULL is not allowed.
fn only_value(measure: &MartColumn) -> String {
    let name = identifier(&measure.name);
    let value = if has_maximum(&measure.data_type) {
        format!("max({name})")
    } else {
        format!("(array_agg({name}) FILTER (WHERE {name} IS NOT NULL))[1]")
    };
    match measure.nullability {
        Nullability::NotNull if is_number(&measure.data_type) => format!("coalesce({value}, 0)"),
        _ => value,
    }
}

fn is_number(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::BuiltIn(
            BuiltIn::SmallInt
                | BuiltIn::Integer
                | BuiltIn::BigInt
                | BuiltIn::Real
                | BuiltIn::DoublePrecision
                | BuiltIn::Numeric(_)
        )
    )
}

/// Whether PostgreSQL has `max` for the type.
fn has_maximum(data_type: &DataType) -> bool {
    match data_type {
        DataType::BuiltIn(built_in) => {
            is_number(data_type)
                || matches!(
                    built_in,
                    BuiltIn::Text
                        | BuiltIn::Varchar(_)
                        | BuiltIn::Char(_)
                        | BuiltIn::Date
                        | BuiltIn::Time
                        | BuiltIn::Timestamp
                        | BuiltIn::TimestampTz
                )
        }
        DataType::Enum(_) | DataType::Array(_) => true,
    }
}

fn grain_positions(mart: &Mart) -> String {
    let positions: Vec<String> = (1..=mart.grain.len()).map(|position| position.to_string()).collect();
    positions.join(", ")
}

fn indented(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| format!("    {line}")).collect();
    lines.join("\n")
}
