//! SQL expressions of a spec: the measures and filters of declared marts, the rules of tests. Checks what they name, and tells
//! the type of simple aggregates. Knows one relation at a time.

use std::ops::{ControlFlow, Range};

use sqlparser::ast::{Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Query, Visit, Visitor};

use super::report::Report;
use super::scope::Readable;
use super::sql::{self, Clock, Places};
use super::{type_name, unit, volatile, zone};
use crate::finding::{Code, Finding};
use crate::model::data_type::BuiltIn;
use crate::model::{DataType, Nullability};
use crate::spec::At;

/// Functions that make one value of many rows.
const AGGREGATES: &[&str] = &[
    "any_value",
    "array_agg",
    "avg",
    "bit_and",
    "bit_or",
    "bit_xor",
    "bool_and",
    "bool_or",
    "corr",
    "count",
    "covar_pop",
    "covar_samp",
    "every",
    "json_agg",
    "json_object_agg",
    "jsonb_agg",
    "jsonb_object_agg",
    "max",
    "min",
    "mode",
    "percentile_cont",
    "percentile_disc",
    "range_agg",
    "range_intersect_agg",
    "regr_avgx",
    "regr_avgy",
    "regr_count",
    "regr_intercept",
    "regr_r2",
    "regr_slope",
    "regr_sxx",
    "regr_sxy",
    "regr_syy",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "string_agg",
    "sum",
    "var_pop",
    "var_samp",
    "variance",
    "xmlagg",
];

/// What an expression is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It makes one value of a group's rows.
    Measure,
    /// It says of one row whether it counts.
    Filter,
    /// It says of one row what is true of it.
    Rule,
}

/// Where an expression stands.
pub(super) struct Place<'a> {
    /// The source's alias in the mart.
    pub alias: &'a str,
    /// The relation that it is about.
    pub relation: &'a Readable,
    /// Whether the mart's rows are kept.
    pub stored: bool,
    /// Where days are cut.
    pub time_zone: &'a str,
}

/// The type of a value, and whether it can be missing.
pub(super) type Typed = (DataType, Nullability);

/// What an expression turned out to be.
pub(super) enum Checked {
    /// A count: 0 where there is nothing.
    Count,
    /// An aggregate of a column whose type is simple to tell.
    Typed(Typed),
    /// Something else that can be.
    Untyped,
    /// Wrong, and said to be.
    Refused,
}

/// Checks an expression.
pub(super) fn check(
    written: &At<String>,
    purpose: Purpose,
    place: &Place<'_>,
    report: &mut Report<'_>,
) -> Checked {
    let (tree, places) = match sql::expression(written) {
        Ok(parsed) => parsed,
        Err(broken) => {
            let span = report.within(written, broken.offset..broken.offset);
            let message = format!("this SQL cannot be read: {}", broken.message);
            report.push(Finding::new(Code::SqlSyntax, message, span));
            return Checked::Refused;
        }
    };
    let before = report.count();
    let mut reading = Reading { written, places, purpose, place, report, aggregates: 0, within: 0 };
    let _ = tree.visit(&mut reading);
    let aggregates = reading.aggregates;
    if purpose == Purpose::Measure && aggregates == 0 {
        let span = report.at(&written.span);
        report.push(
            Finding::new(Code::UnfitExpression, "a measure is an aggregate of a group's rows", span)
                .label("no aggregate in it")
                .help("such as `sum(…)`, `count(*)`, `max(…)`"),
        );
    }
    if report.count() > before {
        return Checked::Refused;
    }
    match aggregate(&tree) {
        Some((name, _)) if name == "count" => Checked::Count,
        _ => typed(&tree, place.relation).map_or(Checked::Untyped, Checked::Typed),
    }
}

struct Reading<'r, 'a, 'p> {
    written: &'r At<String>,
    places: Places,
    purpose: Purpose,
    place: &'r Place<'p>,
    report: &'r mut Report<'a>,
    /// How many aggregates there are.
    aggregates: usize,
    /// How many there are around what is being looked at.
    within: usize,
}

impl Reading<'_, '_, '_> {
    fn refuse(&mut self, range: Range<usize>, message: impl Into<String>, label: &str) {
        let span = self.report.within(self.written, range);
        self.report.push(Finding::new(Code::UnfitExpression, message, span).label(label));
    }

    /// A day of a `timestamptz` is a day of some zone.
    fn check_zone(&mut self, expression: &Expr) {
        let ident = match zone::cut_by_session(expression) {
            Some(Expr::Identifier(ident)) => ident,
            Some(Expr::CompoundIdentifier(parts)) => match parts.as_slice() {
                [alias, column] if sql::meant(alias) == self.place.alias => column,
                _ => return,
            },
            _ => return,
        };
        let name = sql::meant(ident);
        let zoned = DataType::BuiltIn(BuiltIn::TimestampTz);
        if self.place.relation.column(&name).is_some_and(|column| column.data_type.as_ref() == Some(&zoned)) {
            let span = self.report.within(self.written, self.places.range(ident.span));
            self.report.push(unit::by_session(&name, span, self.place.time_zone));
        }
    }

    fn column(&mut self, ident: &sqlparser::ast::Ident) {
        let name = sql::meant(ident);
        let range = self.places.range(ident.span);
        let relation = self.place.relation;
        if relation.column(&name).is_none() {
            let owner = &relation.read.name.name;
            let span = self.report.within(self.written, range);
            let (code, message) = match self.purpose {
                Purpose::Measure => {
                    (Code::UnknownInMart, format!("`{owner}` has no column `{name}` to measure"))
                }
                Purpose::Filter => {
                    (Code::UnknownColumn, format!("`{owner}` has no column `{name}` to filter by"))
                }
                Purpose::Rule => (Code::UnknownColumn, format!("`{owner}` has no column `{name}` to test")),
            };
            let finding = Finding::new(code, message, span)
                .label(format!("not a column of `{owner}`"))
                .did_you_mean(&name, relation.names());
            self.report.push_absent(finding, relation.complete);
        } else if self.purpose == Purpose::Measure && self.within == 0 {
            let message = format!("`{name}` has a value for each row, and a measure one for each group");
            self.refuse(range, message, "outside of an aggregate");
        }
    }
}

/// The name of an aggregate that is called, if one is.
fn aggregate(expression: &Expr) -> Option<(String, Range<u64>)> {
    let Expr::Function(function) = expression else { return None };
    let parts = sql::parts(&function.name)?;
    let last = parts.last()?;
    let name = sql::meant(last);
    let place = last.span.start.column..last.span.end.column;
    (AGGREGATES.contains(&name.as_str()) && function.over.is_none()).then_some((name, place))
}

impl Visitor for Reading<'_, '_, '_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        let message = match self.purpose {
            Purpose::Rule => "a test's expression holds no query",
            Purpose::Measure | Purpose::Filter => "an expression of a declared mart holds no query",
        };
        self.refuse(0..self.written.len(), message, "a query in it");
        ControlFlow::Break(())
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        if let Some((clock, span, name)) = sql::clock(expression) {
            let range = self.places.range(span);
            let span = self.report.within(self.written, range);
            let finding = Finding::new(Code::ClockInMart, format!("`{name}` looks at a clock"), span);
            match clock {
                _ if self.place.stored => {
                    let finding = finding.label("the rows that are kept would change by themselves");
                    self.report.push(finding.help("make it `storage = \"view\"`, or leave the clock out"));
                }
                Clock::Server => {
                    let finding = finding.label("the server's, which no time travel reaches");
                    self.report.push(finding.help("use `medallion.now()`"));
                }
                Clock::Warehouse => {}
            }
        }
        if let (true, Some((span, name))) = (self.place.stored, volatile::called(expression)) {
            let span = self.report.within(self.written, self.places.range(span));
            self.report.push(volatile::refused(&name, span));
        }
        self.check_zone(expression);
        match expression {
            Expr::Function(function) if function.over.is_some() => {
                let message = match self.purpose {
                    Purpose::Rule => "a test's expression looks at one row, and takes no window function",
                    Purpose::Measure | Purpose::Filter => "a declared mart takes no window function",
                };
                self.refuse(0..self.written.len(), message, "`OVER` in it");
            }
            _ => {}
        }
        if aggregate(expression).is_some() {
            self.aggregates += 1;
            self.within += 1;
            if self.purpose != Purpose::Measure {
                let message = match self.purpose {
                    Purpose::Rule => "a test's expression looks at one row, and takes no aggregate",
                    Purpose::Measure | Purpose::Filter => "a filter looks at one row, and takes no aggregate",
                };
                self.refuse(0..self.written.len(), message, "an aggregate in it");
            } else if self.within > 1 {
                self.refuse(0..self.written.len(), "aggregates cannot be nested", "one within another");
            }
        }
        match expression {
            Expr::Identifier(ident) => self.column(ident),
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [alias, column] if sql::meant(alias) == self.place.alias => self.column(column),
                [alias, ..] => {
                    let range = self.places.range(alias.span);
                    let span = self.report.within(self.written, range);
                    let message = format!("`{}` is not what this is taken from", alias.value);
                    self.report.push(
                        Finding::new(Code::UnknownInMart, message, span)
                            .label(format!("it is taken from `{}`", self.place.alias)),
                    );
                }
                [] => {}
            },
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        if aggregate(expression).is_some() {
            self.within -= 1;
        }
        ControlFlow::Continue(())
    }
}

/// The type of an aggregate of one column, as PostgreSQL has it.
fn typed(tree: &Expr, relation: &Readable) -> Option<Typed> {
    let Expr::Function(function) = tree else { return None };
    let (name, _) = aggregate(tree)?;
    let FunctionArguments::List(list) = &function.args else { return None };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))] = list.args.as_slice() else { return None };
    let column = match argument {
        Expr::Identifier(ident) => sql::meant(ident),
        Expr::CompoundIdentifier(parts) => sql::meant(parts.last()?),
        _ => return None,
    };
    let column = relation.column(&column)?;
    let data_type = result(&name, column.data_type.as_ref()?)?;
    // A group has at least one row; a filter can leave none.
    let nullability = if function.filter.is_some() { Nullability::Nullable } else { column.nullability };
    Some((data_type, nullability))
}

fn result(aggregate: &str, of: &DataType) -> Option<DataType> {
    use BuiltIn::{BigInt, Boolean, DoublePrecision, Integer, Json, Jsonb, Numeric, Real, SmallInt, Uuid};
    let numeric = DataType::BuiltIn(Numeric(None));
    let DataType::BuiltIn(built_in) = of else {
        return matches!(aggregate, "min" | "max").then(|| of.clone());
    };
    match (aggregate, built_in) {
        ("sum", SmallInt | Integer) => Some(DataType::BuiltIn(BigInt)),
        ("sum" | "avg", BigInt | Numeric(_)) | ("avg", SmallInt | Integer) => Some(numeric),
        ("sum", Real) => Some(DataType::BuiltIn(Real)),
        ("sum" | "avg", DoublePrecision) | ("avg", Real) => Some(DataType::BuiltIn(DoublePrecision)),
        ("sum" | "avg", BuiltIn::Other(name)) if name == "interval" => Some(of.clone()),
        ("sum", BuiltIn::Other(name)) if name == "money" => Some(of.clone()),
        ("min" | "max", Boolean | Uuid | Json | Jsonb | BuiltIn::Bytea) => None,
        // `max` of varchar is text, of char(n) is char.
        ("min" | "max", BuiltIn::Varchar(_)) => Some(DataType::BuiltIn(BuiltIn::Text)),
        ("min" | "max", Numeric(_)) => Some(numeric),
        ("min" | "max", _) if type_name::is_ordered(of) => Some(of.clone()),
        ("bool_and" | "bool_or" | "every", Boolean) => Some(of.clone()),
        _ => None,
    }
}
