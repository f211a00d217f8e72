//! Where an expression takes a time to pieces by the session's zone: days, months, texts and JSON of a
//! `timestamptz` differ from session to session. Knows no type of a column.

use sqlparser::ast::{BinaryOperator, DataType, DateTimeField, Expr, Function, TimezoneInfo, Value};

use super::sql;

/// Parts of a time that are the same in every zone.
const ZONELESS: &[&str] =
    &["epoch", "microsecond", "microseconds", "millisecond", "milliseconds", "second", "seconds"];

/// Functions that write each of their arguments as a text or as JSON.
const WRITING: &[&str] = &[
    "array_to_json",
    "array_to_string",
    "concat",
    "concat_ws",
    "format",
    "json_agg",
    "json_agg_strict",
    "json_array",
    "json_build_array",
    "json_build_object",
    "json_object_agg",
    "jsonb_agg",
    "jsonb_agg_strict",
    "jsonb_build_array",
    "jsonb_build_object",
    "jsonb_object_agg",
    "quote_literal",
    "quote_nullable",
    "row_to_json",
    "to_json",
    "to_jsonb",
];

/// The columns that an expression would cut, or write, by the session's zone, were they a `timestamptz`.
pub(super) fn cut_by_session(expression: &Expr) -> Vec<&Expr> {
    match expression {
        Expr::Cast { expr, data_type, .. } if loses_zone(data_type) => columns(expr),
        Expr::Extract { field, expr, .. } if !is_zoneless(field) => columns(expr),
        Expr::BinaryOp { left, op: BinaryOperator::StringConcat, right } => {
            [left, right].into_iter().flat_map(|side| column(side)).collect()
        }
        Expr::Function(function) => called(function),
        _ => Vec::new(),
    }
}

fn loses_zone(data_type: &DataType) -> bool {
    match data_type {
        DataType::Timestamp(_, zone) => matches!(zone, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone),
        DataType::Date | DataType::Time(..) | DataType::Text | DataType::Varchar(_) => true,
        _ => false,
    }
}

fn is_zoneless(field: &DateTimeField) -> bool {
    ZONELESS.contains(&field.to_string().trim_matches('\'').to_lowercase().as_str())
}

fn called(function: &Function) -> Vec<&Expr> {
    let (Some(name), Some(arguments)) = (sql::built_in(function), sql::arguments(function)) else {
        return Vec::new();
    };
    match (name.as_str(), arguments.as_slice()) {
        ("date", [time]) | ("to_char", [time, _]) => columns(time),
        // A third argument is the zone.
        ("date_trunc", [_, time]) => columns(time),
        ("date_part", [Expr::Value(part), time]) => match &part.value {
            Value::SingleQuotedString(part) if !ZONELESS.contains(&part.to_lowercase().as_str()) => {
                columns(time)
            }
            _ => Vec::new(),
        },
        (name, arguments) if WRITING.contains(&name) => {
            arguments.iter().flat_map(|argument| columns(argument)).collect()
        }
        _ => Vec::new(),
    }
}

/// The columns that an expression is, or is put together of: an array, a row.
fn columns(expression: &Expr) -> Vec<&Expr> {
    match expression {
        Expr::Nested(inner) => columns(inner),
        Expr::Array(array) => array.elem.iter().flat_map(columns).collect(),
        Expr::Tuple(parts) => parts.iter().flat_map(columns).collect(),
        Expr::Function(function) => {
            let puts_together = ["array_agg", "row"];
            let together = sql::built_in(function).is_some_and(|name| puts_together.contains(&name.as_str()));
            let arguments = sql::arguments(function).filter(|_| together);
            arguments.into_iter().flatten().flat_map(columns).collect()
        }
        _ => column(expression).into_iter().collect(),
    }
}

fn column(mut expression: &Expr) -> Option<&Expr> {
    while let Expr::Nested(inner) = expression {
        expression = inner;
    }
    matches!(expression, Expr::Identifier(_) | Expr::CompoundIdentifier(_)).then_some(expression)
}
