//! The rules of tests as SQL over the columns of the relation that they are about. Knows nothing of how they are
//! looked at together.

use super::definition::Binding;
use super::quote::{identifier, literal};
use crate::model::data_test::{Condition, Literal};
use crate::model::data_type::BuiltIn;
use crate::model::{DataType, Piece};

/// What no row may break: false where it does. NULL breaks nothing but what asks for it.
pub fn condition(condition: &Condition) -> String {
    match condition {
        Condition::NotNull(columns) => {
            let each = columns.iter().map(|column| format!("{} IS NOT NULL", identifier(column)));
            each.collect::<Vec<_>>().join(" AND ")
        }
        Condition::Accepted(column, values) => {
            let values: Vec<String> = values.iter().map(value).collect();
            format!("{} IN ({})", identifier(column), values.join(", "))
        }
        Condition::Range { column, min, max } => {
            let column = identifier(column);
            let least = min.iter().map(|min| format!("{column} >= {}", value(min)));
            let most = max.iter().map(|max| format!("{column} <= {}", value(max)));
            least.chain(most).collect::<Vec<_>>().join(" AND ")
        }
        Condition::Expression(expression) => expression.clone(),
    }
}

/// A column's latest time, as an aggregate: a `timestamptz`, whatever the column's type.
pub(in crate::emit) fn latest(column: &str, data_type: &DataType, time_zone: &str) -> String {
    let column = identifier(column);
    let latest = format!("max({column}) FILTER (WHERE isfinite({column}))");
    match data_type {
        DataType::BuiltIn(BuiltIn::Date) => {
            format!("({latest})::timestamp AT TIME ZONE {}", literal(time_zone))
        }
        DataType::BuiltIn(BuiltIn::Timestamp) => format!("({latest}) AT TIME ZONE {}", literal(time_zone)),
        _ => latest,
    }
}

/// The query for what is wrong, over the warehouse's own relations.
pub(in crate::emit) fn failures(pieces: &[Piece]) -> String {
    let text = pieces.iter().map(|piece| match piece {
        Piece::Sql(text) => text.clone(),
        Piece::Relation(name) => Binding::Present.relation(name),
    });
    text.collect()
}

fn value(literal_value: &Literal) -> String {
    match literal_value {
        Literal::Plain(text) => text.clone(),
        Literal::Text(text) => literal(text),
    }
}
