//! Where an expression takes a time to pieces by the session's zone: days, months and texts of a
//! `timestamptz` differ from session to session. Knows no type of a column.

use sqlparser::ast::{DataType, DateTimeField, Expr, Function, TimezoneInfo, Value};

use super::sql;

/// Parts of a time that are the same in every zone.
const ZONELESS: &[&str] =
    &["epoch", "microsecond", "microseconds", "millisecond", "milliseconds", "second", "seconds"];

/// The column that an expression would cut by the session's zone, were it a `timestamptz`.
pub(super) fn cut_by_session(expression: &Expr) -> Option<&Expr> {
    let inner = match expression {
        Expr::Cast { expr, data_type, .. } if loses_zone(data_type) => expr,
        Expr::Extract { field, expr, .. } if !is_zoneless(field) => expr,
        Expr::Function(function) => called(function)?,
        _ => return None,
    };
    column(inner)
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

fn called(function: &Function) -> Option<&Expr> {
    let name = sql::built_in(function)?;
    let arguments = sql::arguments(function)?;
    match (name.as_str(), arguments.as_slice()) {
        ("date", [time]) | ("to_char", [time, _]) => Some(time),
        // A third argument is the zone.
        ("date_trunc", [_, time]) => Some(time),
        ("date_part", [Expr::Value(part), time]) => match &part.value {
            Value::SingleQuotedString(part) if !ZONELESS.contains(&part.to_lowercase().as_str()) => {
                Some(time)
            }
            _ => None,
        },
        _ => None,
    }
}

fn column(mut expression: &Expr) -> Option<&Expr> {
    while let Expr::Nested(inner) = expression {
        expression = inner;
    }
    matches!(expression, Expr::Identifier(_) | Expr::CompoundIdentifier(_)).then_some(expression)
}
