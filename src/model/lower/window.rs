//! Windows over a mart's rows: what may stand before OVER, which rows a window takes together, what it gives. Knows the
//! mart's columns and no relation.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{
    DuplicateTreatment, Expr, Function, FunctionArguments, WindowFrameUnits, WindowSpec, WindowType,
    visit_expressions,
};

use super::expression::{self, Place, Typed};
use super::{reproducible, sql};
use crate::model::data_type::BuiltIn;
use crate::model::{DataType, Nullability};

/// Functions that stand before OVER only.
const WINDOWS: &[&str] = &[
    "cume_dist",
    "dense_rank",
    "first_value",
    "lag",
    "last_value",
    "lead",
    "nth_value",
    "ntile",
    "percent_rank",
    "rank",
    "row_number",
];

/// Those for which rows that are equal in the window's order are not.
const BY_PLACE: &[&str] = &["first_value", "lag", "last_value", "lead", "nth_value", "ntile", "row_number"];

pub(super) fn is_window(name: &str) -> bool {
    WINDOWS.contains(&name)
}

pub(super) fn names() -> impl Iterator<Item = &'static str> {
    WINDOWS.iter().copied()
}

/// Whether rows that are equal in the window's order are not for a function.
pub(super) fn is_by_place(name: &str) -> bool {
    BY_PLACE.contains(&name)
}

/// What is wrong with a call before OVER: a message and a label.
pub(super) fn unfit(
    name: &str,
    is_aggregate: bool,
    called: &Function,
    over: &WindowType,
    place: &Place<'_>,
) -> Option<(String, String)> {
    if !is_aggregate && !is_window(name) {
        return Some((format!("`{name}` looks at one row"), "not to be followed by `OVER`".to_owned()));
    }
    let WindowType::WindowSpec(window) = over else {
        let label = "write it out: `OVER (PARTITION BY … ORDER BY …)`".to_owned();
        return Some(("no window has a name here".to_owned(), label));
    };
    if window.window_name.is_some() {
        let label = "write it out: `OVER (PARTITION BY … ORDER BY …)`".to_owned();
        return Some(("no window has a name here".to_owned(), label));
    }
    let distinct = matches!(&called.args, FunctionArguments::List(list)
        if list.duplicate_treatment == Some(DuplicateTreatment::Distinct));
    if distinct || !called.within_group.is_empty() {
        let what = if distinct { "DISTINCT" } else { "WITHIN GROUP" };
        let label = format!("PostgreSQL has no `{what}` before `OVER`");
        return Some((format!("`{name}` cannot be taken across rows so"), label));
    }
    let rows = window.window_frame.as_ref().is_some_and(|frame| frame.units == WindowFrameUnits::Rows);
    let by_place = BY_PLACE.contains(&name) || reproducible::IN_ORDER.contains(&name) || rows;
    if place.stored && by_place && !orders_all(window, place) {
        let message = format!("`{name}` tells rows apart that its window holds to be equal");
        return Some((message, format!("order by what tells them apart: {}", list(&place.grain))));
    }
    None
}

/// Whether no two rows of a part are equal in the window's order.
fn orders_all(window: &WindowSpec, place: &Place<'_>) -> bool {
    let ordered = window.order_by.iter().map(|by| &by.expr);
    let named: BTreeSet<String> = window.partition_by.iter().chain(ordered).filter_map(bare).collect();
    place.grain.iter().all(|column| named.contains(*column))
}

fn list(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn bare(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Identifier(ident) => Some(sql::meant(ident)),
        Expr::CompoundIdentifier(parts) => parts.last().map(sql::meant),
        Expr::Nested(inner) => bare(inner),
        _ => None,
    }
}

/// The columns that each window of an expression takes rows together by.
pub(super) fn partitions(tree: &Expr) -> Vec<BTreeSet<String>> {
    let mut all = Vec::new();
    let _ = visit_expressions(tree, |expression| {
        if let Expr::Function(Function { over: Some(WindowType::WindowSpec(window)), .. }) = expression {
            all.push(window.partition_by.iter().filter_map(bare).collect());
        }
        ControlFlow::<()>::Continue(())
    });
    all
}

/// The type of a call, where it is simple to tell.
pub(super) fn typed(tree: &Expr, place: &Place<'_>) -> Option<Typed> {
    use BuiltIn::{BigInt, DoublePrecision, Integer};
    use Nullability::{NotNull, Nullable};
    if let Some((_, column)) = place.column(tree) {
        return Some((column.data_type.clone()?, column.nullability));
    }
    let Expr::Function(function) = tree else { return None };
    function.over.as_ref()?;
    let name = sql::built_in(function)?;
    let built_in = |built_in| Some((DataType::BuiltIn(built_in), NotNull));
    match name.as_str() {
        "rank" | "dense_rank" | "row_number" | "count" => built_in(BigInt),
        "ntile" => built_in(Integer),
        "percent_rank" | "cume_dist" => built_in(DoublePrecision),
        "lag" | "lead" | "first_value" | "last_value" | "nth_value" => {
            let (_, column) = place.column(sql::arguments(function)?.first()?)?;
            Some((column.data_type.clone()?, Nullable))
        }
        _ => {
            let arguments = sql::arguments(function)?;
            let (_, column) = place.column(arguments.first()?)?;
            Some((expression::result(&name, column.data_type.as_ref()?)?, Nullable))
        }
    }
}
