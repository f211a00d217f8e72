//! What the value of one expression comes from: names, calls, conditions, windows, and what subqueries give it.
//! Resolves names by the scope that a query makes for it; knows no FROM.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, NamedWindowExpr, OrderByExpr,
    Query, Value, Visit, Visitor, WindowSpec, WindowType,
};

use super::query::{Reader, Scope, indirect};
use super::{How, Origin, Origins};
use crate::model::{is_aggregate, meant, parts};

impl Reader<'_> {
    /// A column that is shown. One that is the same in each row says that the row is there.
    pub(super) fn shown(&self, expression: &Expr, scope: &Scope<'_>) -> Origins {
        if says_something(expression) { scope.counted() } else { self.value(expression, scope) }
    }

    /// What an expression's value comes from.
    pub(super) fn value(&self, expression: &Expr, scope: &Scope<'_>) -> Origins {
        match expression {
            Expr::Identifier(name) => scope.bare(&meant(name)).unwrap_or_else(|| self.unknown()),
            Expr::CompoundIdentifier(names) => match names.as_slice() {
                [alias, column] => {
                    scope.qualified(&meant(alias), &meant(column)).unwrap_or_else(|| self.unknown())
                }
                _ => self.unknown(),
            },
            Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => self.value(inner, scope),
            Expr::BinaryOp { .. } => {
                // Chains lean to the left, and may be long.
                let (mut first, mut from) = (expression, Origins::new());
                while let Expr::BinaryOp { left, right, .. } = first {
                    from.extend(self.value(right, scope));
                    first = left;
                }
                from.extend(self.value(first, scope));
                made(from, How::Transformation)
            }
            Expr::Function(function) => self.function(function, scope),
            Expr::Case { operand, conditions, else_result, .. } => {
                let asked =
                    operand.iter().map(|one| &**one).chain(conditions.iter().map(|one| &one.condition));
                let asked = asked.flat_map(|one| self.value(one, scope)).collect();
                let given =
                    conditions.iter().map(|one| &one.result).chain(else_result.iter().map(|one| &**one));
                let given = given.flat_map(|one| self.value(one, scope)).collect();
                let mut from = made(given, How::Transformation);
                from.extend(indirect(asked, How::Conditional));
                from
            }
            Expr::Subquery(query) => {
                let table = self.query(query, &scope.names, Some(scope));
                let mut from = made(table.all(), How::Transformation);
                from.extend(table.rows);
                from
            }
            Expr::Exists { subquery, .. } => self.asked(subquery, scope),
            Expr::InSubquery { expr, subquery, .. } => {
                let mut from = made(self.value(expr, scope), How::Transformation);
                from.extend(self.asked(subquery, scope));
                from
            }
            other => {
                let mut within = Within { reader: self, scope, depth: 0, from: Origins::new() };
                let _ = other.visit(&mut within);
                made(within.from, How::Transformation)
            }
        }
    }

    /// A query of which only the answer to a question counts.
    fn asked(&self, query: &Query, scope: &Scope<'_>) -> Origins {
        let table = self.query(query, &scope.names, Some(scope));
        let mut from = indirect(table.all(), How::Conditional);
        from.extend(table.rows);
        from
    }

    fn function(&self, function: &Function, scope: &Scope<'_>) -> Origins {
        let name =
            parts(&function.name).and_then(|parts| parts.last().map(|last| meant(last))).unwrap_or_default();
        let aggregate = is_aggregate(&name);
        let how = if aggregate { How::Aggregation } else { How::Transformation };
        let mut from = match &function.args {
            FunctionArguments::List(list) => {
                let mut from = self.arguments(&list.args, scope);
                let whole = list
                    .args
                    .iter()
                    .any(|one| matches!(one, FunctionArg::Unnamed(FunctionArgExpr::Wildcard)));
                let same = aggregate && name == "count" && from.is_empty();
                if whole || same {
                    from.extend(scope.counted());
                }
                from
            }
            FunctionArguments::Subquery(query) => self.query(query, &scope.names, Some(scope)).all(),
            FunctionArguments::None => Origins::new(),
        };
        from.extend(function.within_group.iter().flat_map(|one| self.value(&one.expr, scope)));
        let mut from = made(from, how);
        if let Some(filter) = &function.filter {
            from.extend(indirect(self.value(filter, scope), How::Filter));
        }
        match &function.over {
            Some(WindowType::WindowSpec(window)) => from.extend(self.window(window, scope)),
            Some(WindowType::NamedWindow(name)) => from.extend(self.named_window(name, scope)),
            None => {}
        }
        from
    }

    pub(super) fn arguments(&self, arguments: &[FunctionArg], scope: &Scope<'_>) -> Origins {
        let values = arguments.iter().filter_map(|argument| match argument {
            FunctionArg::Unnamed(value)
            | FunctionArg::Named { arg: value, .. }
            | FunctionArg::ExprNamed { arg: value, .. } => match value {
                FunctionArgExpr::Expr(expression) => Some(expression),
                _ => None,
            },
        });
        values.flat_map(|value| self.value(value, scope)).collect()
    }

    fn window(&self, window: &WindowSpec, scope: &Scope<'_>) -> Origins {
        let ordered = window.order_by.iter().map(|one: &OrderByExpr| &one.expr);
        let by = window.partition_by.iter().chain(ordered).flat_map(|one| self.value(one, scope));
        let mut from = indirect(by.collect(), How::Window);
        if let Some(name) = &window.window_name {
            from.extend(self.named_window(name, scope));
        }
        from
    }

    fn named_window(&self, name: &Ident, scope: &Scope<'_>) -> Origins {
        let place = scope.windows.iter().position(|window| meant(&window.0) == meant(name));
        match place.map(|place| &scope.windows[place].1) {
            Some(NamedWindowExpr::WindowSpec(window)) => self.window(window, scope),
            Some(NamedWindowExpr::NamedWindow(other)) if meant(other) != meant(name) => {
                self.named_window(other, scope)
            }
            _ => self.unknown(),
        }
    }
}

/// Looks at what stands directly within an expression.
struct Within<'w, 'k, 's> {
    reader: &'w Reader<'k>,
    scope: &'w Scope<'s>,
    depth: usize,
    from: Origins,
}

impl Visitor for Within<'_, '_, '_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        if self.depth == 1 {
            self.from.extend(self.reader.value(expression, self.scope));
        }
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, _: &Expr) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        if self.depth == 1 {
            self.from.extend(self.reader.asked(query, self.scope));
        }
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }
}
/// What is made of values in a way: what was aggregated once stays so, what only decides goes on deciding.
pub(super) fn made(from: Origins, how: How) -> Origins {
    let made = |one: Origin| match one.how {
        How::Identity | How::Transformation => Origin { how, ..one },
        _ => one,
    };
    from.into_iter().map(made).collect()
}

/// Whether an expression is a constant that counts for something: not NULL, and not zero.
fn says_something(expression: &Expr) -> bool {
    match expression {
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => says_something(inner),
        Expr::Value(value) => match &value.value {
            Value::Null => false,
            Value::Number(number, _) => number.to_string().chars().any(|digit| ('1'..='9').contains(&digit)),
            _ => true,
        },
        _ => false,
    }
}

/// The name that PostgreSQL gives to a column without one.
pub(super) fn name_of(expression: &Expr) -> String {
    match expression {
        Expr::Identifier(name) => meant(name),
        Expr::CompoundIdentifier(names) => names.last().map(meant).unwrap_or_default(),
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => name_of(inner),
        Expr::Function(function) => {
            parts(&function.name).and_then(|parts| parts.last().map(|last| meant(last))).unwrap_or_default()
        }
        _ => "?column?".to_owned(),
    }
}
