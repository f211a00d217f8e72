//! Aggregates whose value hangs on the order in which rows come, so that rows that are kept would not agree with what
//! is computed anew. Knows names and types, and no relation.

use sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArgumentClause, FunctionArguments, UnaryOperator, WindowType,
};

use super::{sql, window};
use crate::finding::{Code, Finding, Span};
use crate::model::DataType;
use crate::model::data_type::BuiltIn;

/// Aggregates that keep the order in which they meet the rows.
pub(super) const IN_ORDER: &[&str] = &[
    "any_value",
    "array_agg",
    "json_agg",
    "json_agg_strict",
    "json_arrayagg",
    "json_object_agg",
    "json_object_agg_strict",
    "json_objectagg",
    "jsonb_agg",
    "jsonb_agg_strict",
    "jsonb_object_agg",
    "jsonb_object_agg_strict",
    "string_agg",
    "xmlagg",
];

/// Aggregates that add, which is exact or not as the numbers are.
const ADDING: &[&str] =
    &["avg", "stddev", "stddev_pop", "stddev_samp", "sum", "var_pop", "var_samp", "variance"];

/// Aggregates that compute in floating point whatever they are given.
const FLOATING: &[&str] = &[
    "corr",
    "covar_pop",
    "covar_samp",
    "regr_avgx",
    "regr_avgy",
    "regr_intercept",
    "regr_r2",
    "regr_slope",
    "regr_sxx",
    "regr_sxy",
    "regr_syy",
];

/// Functions that give floating point whatever they are given.
const FLOATS: &[&str] = &[
    "acos",
    "acosd",
    "acosh",
    "asin",
    "asind",
    "asinh",
    "atan",
    "atan2",
    "atan2d",
    "atand",
    "atanh",
    "cbrt",
    "cos",
    "cosd",
    "cosh",
    "cot",
    "cotd",
    "date_part",
    "degrees",
    "float4",
    "float8",
    "percent_rank",
    "pi",
    "radians",
    "sin",
    "sind",
    "sinh",
    "tan",
    "tand",
    "tanh",
];

/// Functions that give floating point of whole numbers, too.
const FLOATS_OF_WHOLE: &[&str] = &["exp", "ln", "log", "log10", "pow", "power", "sqrt"];

/// Functions whose value is of another kind than what they are given.
const OTHERS: &[&str] = &["length", "octet_length", "sign", "to_char", "to_number", "width_bucket"];

/// What an expression's columns are.
pub(super) trait Columns {
    /// The type of a column; none of what is no column.
    fn data_type(&self, expression: &Expr) -> Option<DataType>;

    /// The columns of which no two rows have the same.
    fn key(&self) -> Vec<String>;
}

/// What is said of a call where rows are kept, if its value hangs on their order.
pub(super) fn refused(called: &Function, columns: &impl Columns, place: Span) -> Option<Finding> {
    let name = sql::built_in(called)?;
    if called.over.is_none() && IN_ORDER.contains(&name.as_str()) && !is_ordered(called, columns) {
        let finding =
            Finding::new(Code::OrderInMart, format!("`{name}` hangs on the order in which rows come"), place)
                .label("the rows that are kept would not agree with what is computed anew");
        return Some(match name.as_str() {
            "any_value" => finding.help("say which one: `min(…)` or `max(…)`"),
            _ => finding.help(format!(
                "order them within it by what it takes, or by a key: `{}`",
                ordered(called, &name)
            )),
        });
    }
    if let Some(WindowType::WindowSpec(window)) = &called.over
        && window.window_name.is_none()
        && window.order_by.is_empty()
        && window::is_by_place(&name)
    {
        let message = format!("`{name}` hangs on the order in which rows come");
        let finding = Finding::new(Code::OrderInMart, message, place)
            .label("the rows that are kept would not agree with what is computed anew");
        return Some(finding.help("say in which: `OVER (… ORDER BY …)`"));
    }
    let arguments = sql::arguments(called).unwrap_or_default();
    let inexact = match name.as_str() {
        name if FLOATING.contains(&name) => true,
        name if ADDING.contains(&name) => arguments.first().is_some_and(|one| is_float(one, columns)),
        _ => false,
    };
    inexact.then(|| {
        let message = format!("`{name}` of floating point hangs on the order in which rows come");
        let finding = Finding::new(Code::OrderInMart, message, place)
            .label("each addition rounds: the rows that are kept would not agree with what is computed anew");
        match (arguments.first(), ADDING.contains(&name.as_str())) {
            (Some(argument), true) => {
                let argument = match argument {
                    Expr::Identifier(_) | Expr::CompoundIdentifier(_) => argument.to_string(),
                    _ => format!("({argument})"),
                };
                finding.help(format!("add exact numbers: `{name}({argument}::numeric)`"))
            }
            _ => finding.help("make it `storage = \"view\"`"),
        }
    })
}

/// What is said where some rows are taken of many, and no order tells which.
pub(super) fn unordered(word: &str, place: Span) -> Finding {
    let message = format!("which rows `{word}` takes hangs on the order in which they come");
    let finding = Finding::new(Code::OrderInMart, message, place)
        .label("the rows that are kept would not agree with what is computed anew");
    match word {
        "DISTINCT ON" => finding.help("order by these columns, and by what tells the rows of each apart"),
        _ => finding.help("say which: `ORDER BY` columns of which no two rows have the same"),
    }
}

/// The call as it could be written.
fn ordered(called: &Function, name: &str) -> String {
    let arguments = sql::arguments(called).unwrap_or_default();
    let all: Vec<String> = arguments.iter().map(ToString::to_string).collect();
    let by = arguments.iter().filter(|one| !is_constant(one)).map(ToString::to_string);
    let distinct = match &called.args {
        FunctionArguments::List(list) if list.duplicate_treatment.is_some() => "DISTINCT ",
        _ => "",
    };
    format!("{name}({distinct}{} ORDER BY {})", all.join(", "), by.collect::<Vec<_>>().join(", "))
}

/// Whether no two rows that differ in what is taken of them are equal in the call's order.
fn is_ordered(called: &Function, columns: &impl Columns) -> bool {
    let FunctionArguments::List(list) = &called.args else { return false };
    let by: Vec<&Expr> = list
        .clauses
        .iter()
        .filter_map(|clause| match clause {
            FunctionArgumentClause::OrderBy(by) => Some(by.iter().map(|by| &by.expr)),
            _ => None,
        })
        .flatten()
        .collect();
    if by.is_empty() {
        return false;
    }
    let named: Vec<String> = by.iter().filter_map(|by| column(by)).collect();
    let key = columns.key();
    if !key.is_empty() && key.iter().all(|column| named.contains(column)) {
        return true;
    }
    let Some(arguments) = sql::arguments(called) else { return false };
    arguments.iter().all(|argument| {
        is_constant(argument)
            || by.contains(argument)
            || column(argument).is_some_and(|argument| named.contains(&argument))
    })
}

fn column(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Identifier(ident) => Some(sql::meant(ident)),
        Expr::CompoundIdentifier(parts) => parts.last().map(sql::meant),
        Expr::Nested(inner) => column(inner),
        _ => None,
    }
}

fn is_constant(expression: &Expr) -> bool {
    match expression {
        Expr::Value(_) => true,
        Expr::Cast { expr, .. } | Expr::Nested(expr) => is_constant(expr),
        _ => false,
    }
}

/// Whether a value is of floating point, as far as that can be told.
fn is_float(expression: &Expr, columns: &impl Columns) -> bool {
    if let Some(data_type) = columns.data_type(expression) {
        return matches!(data_type, DataType::BuiltIn(BuiltIn::Real | BuiltIn::DoublePrecision));
    }
    let float = |one: &Expr| is_float(one, columns);
    match expression {
        Expr::Nested(inner)
        | Expr::UnaryOp { op: UnaryOperator::Minus | UnaryOperator::Plus, expr: inner } => float(inner),
        // Roots.
        Expr::UnaryOp { op: UnaryOperator::PGSquareRoot | UnaryOperator::PGCubeRoot, .. } => true,
        Expr::UnaryOp { op: UnaryOperator::PGAbs, expr } => float(expr),
        Expr::Cast { data_type, .. } => {
            let name = data_type.to_string().to_uppercase();
            ["REAL", "FLOAT", "DOUBLE"].iter().any(|kind| name.starts_with(kind))
        }
        Expr::BinaryOp { left, op, right } => {
            use BinaryOperator::{Divide, LtDashGt, Minus, Modulo, Multiply, PGExp, Plus};
            match op {
                // A distance.
                LtDashGt => true,
                PGExp if is_whole(left, columns) && is_whole(right, columns) => true,
                Plus | Minus | Multiply | Divide | Modulo | PGExp => float(left) || float(right),
                _ => false,
            }
        }
        // An element of an array.
        Expr::CompoundFieldAccess { root, .. } => match columns.data_type(root) {
            Some(DataType::Array(of)) => {
                matches!(*of, DataType::BuiltIn(BuiltIn::Real | BuiltIn::DoublePrecision))
            }
            _ => false,
        },
        Expr::Case { conditions, else_result, .. } => {
            conditions.iter().any(|when| float(&when.result)) || else_result.as_deref().is_some_and(float)
        }
        Expr::Function(called) => {
            let Some(name) = sql::built_in(called) else { return false };
            let arguments = sql::arguments(called).unwrap_or_default();
            if FLOATS.contains(&name.as_str()) {
                return true;
            }
            if FLOATS_OF_WHOLE.contains(&name.as_str()) && arguments.iter().all(|one| is_whole(one, columns))
            {
                return true;
            }
            !OTHERS.contains(&name.as_str()) && arguments.into_iter().any(float)
        }
        _ => false,
    }
}

fn is_whole(expression: &Expr, columns: &impl Columns) -> bool {
    use BuiltIn::{BigInt, Integer, SmallInt};
    match columns.data_type(expression) {
        Some(data_type) => matches!(data_type, DataType::BuiltIn(SmallInt | Integer | BigInt)),
        None => match expression {
            Expr::UnaryOp { op: UnaryOperator::Minus | UnaryOperator::Plus, expr } => is_constant(expr),
            _ => is_constant(expression),
        },
    }
}
