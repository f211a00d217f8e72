//! Which marts are refreshed by adding: one source, whose every change is told row by row, and nothing but counts and
//! sums of exact numbers, so that what comes and goes can be added to what is stored without a difference; averages that
//! follow from these; and counts of distinct values, where an index tells whether a group has one. Knows expressions and
//! types.

use sqlparser::ast::{
    BinaryOperator, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments,
    UnaryOperator, Value,
};

use super::expression::Place;
use super::sql;
use crate::model::data_type::BuiltIn;
use crate::model::{Average, DataType, Distinct, MartColumn, Nullability, Sum, Sums};

/// Whether an index finds the rows of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Groups {
    Found,
    Searched,
}

/// How the measures of a source follow from what comes and goes; none where one of them does not.
pub(super) fn of(all: &[(MartColumn, Expr)], place: &Place<'_>, groups: Groups) -> Option<Sums> {
    let mut measures = Vec::new();
    let mut means = Vec::new();
    let mut distinct_values = Vec::new();
    for (column, tree) in all {
        if let Some(counted) = distinct(tree, &column.data_type, place) {
            if groups == Groups::Searched {
                return None;
            }
            distinct_values.push((column.name.clone(), counted));
        } else if let Some(mean) = mean(tree, place) {
            means.push((&column.name, mean));
        } else {
            measures.push((column.name.clone(), sum(tree, &column.data_type, place)?));
        }
    }
    let rows = measures.iter().find(|(_, sum)| *sum == Sum::Rows(None)).map(|(name, _)| name.clone());
    if rows.is_none() && groups == Groups::Searched {
        return None;
    }
    let averages: Option<Vec<Average>> =
        means.into_iter().map(|(name, mean)| average(name, &mean, &measures, all)).collect();
    Some(Sums { rows, measures, averages: averages?, distinct: distinct_values })
}

/// The column of which each value counts once.
fn distinct(tree: &Expr, stored: &DataType, place: &Place<'_>) -> Option<Distinct> {
    let Expr::Function(called) = tree else { return None };
    let FunctionArguments::List(list) = &called.args else { return None };
    let counts = sql::built_in(called)? == "count" && is_whole(stored);
    let is_distinct = list.duplicate_treatment == Some(DuplicateTreatment::Distinct);
    if !counts || !is_distinct || called.over.is_some() || !list.clauses.is_empty() {
        return None;
    }
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))] = list.args.as_slice() else { return None };
    let (_, column) = place.column(argument)?;
    Some(Distinct { column: column.name.clone(), condition: called.filter.as_ref().map(ToString::to_string) })
}

/// What an average is taken of.
struct Mean {
    value: String,
    condition: Option<String>,
    number: Exact,
    places: Option<String>,
}

fn mean(tree: &Expr, place: &Place<'_>) -> Option<Mean> {
    let Expr::Function(called) = tree else { return None };
    if sql::built_in(called)? == "round" && called.over.is_none() {
        let [inner, places @ Expr::Value(_)] = sql::arguments(called)?[..] else { return None };
        return Some(Mean { places: Some(places.to_string()), ..mean(inner, place)? });
    }
    if sql::built_in(called)? != "avg" || called.over.is_some() || !called.within_group.is_empty() {
        return None;
    }
    let value = argument(called)??;
    let condition = called.filter.as_ref().map(ToString::to_string);
    Some(Mean { value: value.to_string(), condition, number: exact(value, place)?, places: None })
}

/// An average follows where the mart has its sum, to as many decimal places, and its count.
fn average(
    name: &str,
    mean: &Mean,
    measures: &[(String, Sum)],
    all: &[(MartColumn, Expr)],
) -> Option<Average> {
    let of = Sum::Of(mean.value.clone(), mean.condition.clone());
    let keeps = |name: &String| {
        let column = all.iter().find(|(column, _)| column.name == *name);
        column.is_some_and(|(column, _)| match &column.data_type {
            DataType::BuiltIn(BuiltIn::Numeric(Some((_, scale)))) => *scale == mean.number.scale,
            DataType::BuiltIn(BuiltIn::Numeric(None)) => true,
            whole => is_whole(whole),
        })
    };
    let (sum, _) = measures.iter().find(|(name, sum)| *sum == of && keeps(name))?;
    let counts = match mean.number.nullable {
        true => Sum::Known(mean.value.clone(), mean.condition.clone()),
        false => Sum::Rows(mean.condition.clone()),
    };
    let (count, _) = measures.iter().find(|(_, sum)| *sum == counts)?;
    let (name, places) = (name.to_owned(), mean.places.clone());
    Some(Average { name, sum: sum.clone(), count: count.clone(), places })
}

fn sum(tree: &Expr, stored: &DataType, place: &Place<'_>) -> Option<Sum> {
    let (called, or_zero) = match tree {
        Expr::Function(outer) if sql::built_in(outer)? == "coalesce" => {
            match sql::arguments(outer)?.as_slice() {
                [Expr::Function(inner), zero] if is_zero(zero) => (inner, true),
                _ => return None,
            }
        }
        Expr::Function(called) => (called, false),
        _ => return None,
    };
    let name = sql::built_in(called)?;
    if called.over.is_some() || !called.within_group.is_empty() {
        return None;
    }
    let argument = argument(called)?;
    let condition = called.filter.as_ref().map(ToString::to_string);
    match (name.as_str(), argument) {
        ("count", None) if is_whole(stored) => Some(Sum::Rows(condition)),
        ("count", Some(argument)) if is_whole(stored) => Some(match place.column(argument) {
            Some((_, column)) if column.nullability == Nullability::NotNull => Sum::Rows(condition),
            _ => Sum::Known(argument.to_string(), condition),
        }),
        ("sum", Some(argument)) => {
            let number = exact(argument, place)?;
            let holds = match stored {
                DataType::BuiltIn(BuiltIn::Numeric(None)) => !or_zero,
                DataType::BuiltIn(BuiltIn::Numeric(Some((_, scale)))) => *scale >= number.scale,
                whole => number.scale <= 0 && number.whole && is_whole(whole),
            };
            // A sum of nothing is NULL.
            let never_null = or_zero || (!number.nullable && condition.is_none());
            (holds && never_null).then(|| Sum::Of(argument.to_string(), condition))
        }
        _ => None,
    }
}

/// The argument of a plain call; none of `count(*)`.
fn argument(called: &Function) -> Option<Option<&Expr>> {
    let FunctionArguments::List(list) = &called.args else { return None };
    if list.duplicate_treatment == Some(DuplicateTreatment::Distinct) || !list.clauses.is_empty() {
        return None;
    }
    match list.args.as_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)] => Some(None),
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))] => Some(Some(argument)),
        _ => None,
    }
}

fn is_zero(expression: &Expr) -> bool {
    matches!(expression, Expr::Value(value) if matches!(&value.value, Value::Number(text, _) if text == "0"))
}

fn is_whole(data_type: &DataType) -> bool {
    use BuiltIn::{BigInt, Integer, SmallInt};
    matches!(data_type, DataType::BuiltIn(SmallInt | Integer | BigInt))
}

/// A number without rounding, of as many decimal places in every row.
#[derive(Clone, Copy)]
struct Exact {
    scale: i16,
    /// Whether it is of a type of whole numbers.
    whole: bool,
    nullable: bool,
}

fn exact(expression: &Expr, place: &Place<'_>) -> Option<Exact> {
    if let Some((_, column)) = place.column(expression) {
        let (scale, whole) = match column.data_type.as_ref()? {
            DataType::BuiltIn(BuiltIn::Numeric(Some((_, scale)))) => (*scale, false),
            whole if is_whole(whole) => (0, true),
            _ => return None,
        };
        return Some(Exact { scale, whole, nullable: column.nullability == Nullability::Nullable });
    }
    match expression {
        Expr::Nested(inner)
        | Expr::UnaryOp { op: UnaryOperator::Minus | UnaryOperator::Plus, expr: inner } => {
            exact(inner, place)
        }
        Expr::Value(value) => match &value.value {
            Value::Number(text, _) if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') => {
                let places = text.split_once('.').map(|(_, places)| places.len());
                let scale = i16::try_from(places.unwrap_or_default()).ok()?;
                Some(Exact { scale, whole: places.is_none(), nullable: false })
            }
            _ => None,
        },
        Expr::BinaryOp { left, op, right } => {
            let (left, right) = (exact(left, place)?, exact(right, place)?);
            let scale = match op {
                BinaryOperator::Plus | BinaryOperator::Minus => left.scale.max(right.scale),
                BinaryOperator::Multiply => left.scale.checked_add(right.scale)?,
                _ => return None,
            };
            Some(Exact { scale, whole: left.whole && right.whole, nullable: left.nullable || right.nullable })
        }
        _ => None,
    }
}
