//! SQL expressions of a spec: the grains, measures and filters of declared marts, the rules of tests. Checks what they
//! name and call, and tells the type of simple aggregates. Knows the relations of one source at a time.

use std::ops::{ControlFlow, Range};

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Query, Visit, Visitor, visit_expressions,
};
use sqlparser::tokenizer::Location;

use super::report::Report;
use super::scope::{ReadColumn, Readable};
use super::sql::{self, Clock, Places};
use super::{compared, function, reproducible, type_name, unit, volatile, window, zone};
use crate::finding::{Code, Finding};
use crate::model::data_type::BuiltIn;
use crate::model::{DataType, Enum, Nullability};
use crate::spec::At;

/// What an expression is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It makes one value of a group's rows.
    Measure,
    /// It makes one value of a mart's other columns, row by row or across rows.
    Derived,
    /// It says of one row which group it belongs to.
    Grain,
    /// It says of one row whether it counts.
    Filter,
    /// It says of one row what is true of it.
    Rule,
    /// It makes one value of a landed row.
    Computed,
    /// It makes one value of a relation's row.
    Composed,
}

impl Purpose {
    /// Whether it makes a value that is kept with its row.
    fn is_of_a_row(self) -> bool {
        matches!(self, Self::Computed | Self::Composed)
    }
}

/// Where an expression stands.
pub(super) struct Place<'a> {
    /// What it can name: the source, then what is joined to it, each with its alias.
    pub relations: Vec<(&'a str, &'a Readable)>,
    /// Whether the mart's rows are kept.
    pub stored: bool,
    /// Where days are cut.
    pub time_zone: &'a str,
    /// The columns that tell a row from all others, where they are known.
    pub grain: Vec<&'a str>,
    /// The enumerated types of the warehouse.
    pub enums: &'a [Enum],
}

impl<'a> Place<'a> {
    /// The columns of a name, those of an alias alone if it is given.
    pub fn columns(&self, alias: Option<&str>, name: &str) -> Vec<(&'a str, &'a ReadColumn)> {
        let meant = self.relations.iter().filter(|(known, _)| alias.is_none_or(|alias| alias == *known));
        meant.filter_map(|(known, relation)| Some((*known, relation.column(name)?))).collect()
    }

    /// The column that an expression is.
    pub fn column(&self, expression: &Expr) -> Option<(&'a str, &'a ReadColumn)> {
        match expression {
            Expr::Identifier(ident) => self.columns(None, &sql::meant(ident)).first().copied(),
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [alias, column] => {
                    self.columns(Some(&sql::meant(alias)), &sql::meant(column)).first().copied()
                }
                _ => None,
            },
            _ => None,
        }
    }
}

impl reproducible::Columns for Place<'_> {
    fn data_type(&self, expression: &Expr) -> Option<DataType> {
        self.column(expression).and_then(|(_, column)| column.data_type.clone())
    }

    fn key(&self) -> Vec<String> {
        self.relations.first().map_or_else(Vec::new, |(_, relation)| relation.key.clone())
    }
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

/// An expression as a tree.
pub(super) struct Parsed {
    pub tree: Expr,
    places: Places,
}

impl Parsed {
    /// Whether it makes one value of many rows.
    pub fn is_aggregate(&self) -> bool {
        let mut found = false;
        let _ = visit_expressions(&self.tree, |expression| {
            found |= aggregate(expression).is_some();
            ControlFlow::<()>::Continue(())
        });
        found
    }
}

/// Reads an expression; a finding where it is none.
pub(super) fn parse(written: &At<String>, report: &mut Report<'_>) -> Option<Parsed> {
    match sql::expression(written) {
        Ok((tree, places)) => Some(Parsed { tree, places }),
        Err(broken) => {
            let span = report.within(written, broken.offset..broken.offset);
            let message = format!("this SQL cannot be read: {}", broken.message);
            report.push(Finding::new(Code::SqlSyntax, message, span));
            None
        }
    }
}

/// An expression as it is written into SQL.
pub(super) fn text(written: &At<String>) -> String {
    // A remark ends with its line.
    let end = if written.contains("--") { "\n" } else { "" };
    format!("{}{end}", written.trim())
}

/// Reads an expression and checks it.
pub(super) fn check(
    written: &At<String>,
    purpose: Purpose,
    place: &Place<'_>,
    report: &mut Report<'_>,
) -> Checked {
    match parse(written, report) {
        Some(parsed) => check_parsed(written, &parsed, purpose, place, report),
        None => Checked::Refused,
    }
}

/// Checks an expression that could be read.
pub(super) fn check_parsed(
    written: &At<String>,
    parsed: &Parsed,
    purpose: Purpose,
    place: &Place<'_>,
    report: &mut Report<'_>,
) -> Checked {
    let before = report.count();
    let Parsed { tree, places } = parsed;
    let mut reading = Reading {
        written,
        places,
        purpose,
        place,
        report,
        argument_names: Vec::new(),
        aggregates: 0,
        within: 0,
        windows: 0,
    };
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
    if purpose == Purpose::Derived {
        return window::typed(tree, place).map_or(Checked::Untyped, Checked::Typed);
    }
    if purpose == Purpose::Grain {
        let column = place
            .column(tree)
            .and_then(|(_, column)| Some(Checked::Typed((column.data_type.clone()?, column.nullability))));
        return column.unwrap_or(Checked::Untyped);
    }
    match aggregate(tree) {
        Some((name, _)) if name == "count" => Checked::Count,
        _ => typed(tree, place).map_or(Checked::Untyped, Checked::Typed),
    }
}

struct Reading<'r, 'a, 'p> {
    written: &'r At<String>,
    places: &'r Places,
    purpose: Purpose,
    place: &'r Place<'p>,
    report: &'r mut Report<'a>,
    /// Where names of arguments stand, which look like columns to the parser.
    argument_names: Vec<Location>,
    /// How many aggregates there are.
    aggregates: usize,
    /// How many there are around what is being looked at.
    within: usize,
    /// How many windows there are around it.
    windows: usize,
}

impl Reading<'_, '_, '_> {
    fn refuse(&mut self, range: Range<usize>, message: impl Into<String>, label: &str) {
        let span = self.report.within(self.written, range);
        self.report.push(Finding::new(Code::UnfitExpression, message, span).label(label));
    }

    /// A day of a `timestamptz` is a day of some zone.
    fn check_zone(&mut self, expression: &Expr) {
        let zoned = DataType::BuiltIn(BuiltIn::TimestampTz);
        for column in zone::cut_by_session(expression) {
            let ident = match column {
                Expr::Identifier(ident) => ident,
                Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                    [_, column] => column,
                    _ => continue,
                },
                _ => continue,
            };
            let data_type = self.place.column(column).and_then(|(_, column)| column.data_type.as_ref());
            if data_type == Some(&zoned) {
                let name = sql::meant(ident);
                let span = self.report.within(self.written, self.places.range(ident.span));
                self.report.push(unit::by_session(&name, span, self.place.time_zone));
            }
        }
    }

    fn column(&mut self, alias: Option<&str>, ident: &sqlparser::ast::Ident) {
        let name = sql::meant(ident);
        let range = self.places.range(ident.span);
        match self.place.columns(alias, &name).as_slice() {
            [] => self.report_unknown(alias, &name, range),
            [_] => {
                if self.purpose == Purpose::Measure && self.within == 0 {
                    let message =
                        format!("`{name}` has a value for each row, and a measure one for each group");
                    self.refuse(range, message, "outside of an aggregate");
                }
            }
            several => {
                let aliases = several.iter().map(|(alias, _)| format!("`{alias}`")).collect::<Vec<_>>();
                let span = self.report.within(self.written, range);
                let message = format!("`{name}` is a column of {}", aliases.join(" and of "));
                self.report.push(
                    Finding::new(Code::UnknownInMart, message, span)
                        .label("which of them is not said")
                        .help(format!("write `{}.{name}`", several[0].0)),
                );
            }
        }
    }

    fn report_unknown(&mut self, alias: Option<&str>, name: &str, range: Range<usize>) {
        let meant =
            self.place.relations.iter().filter(|(known, _)| alias.is_none_or(|alias| alias == *known));
        let meant: Vec<&Readable> = meant.map(|(_, relation)| *relation).collect();
        let owners = meant.iter().map(|relation| format!("`{}`", relation.read.name.name));
        let owners = owners.collect::<Vec<_>>().join(" or ");
        let span = self.report.within(self.written, range);
        let owner = format!("`{}`", meant.first().map_or("", |relation| relation.read.name.name.as_str()));
        let (code, message) = match self.purpose {
            Purpose::Measure => (Code::UnknownInMart, format!("{owner} has no column `{name}` to measure")),
            Purpose::Derived => {
                (Code::UnknownInMart, format!("{owner} has no column `{name}` to make a measure of"))
            }
            Purpose::Grain => (Code::UnknownInMart, format!("{owner} has no column `{name}` to group by")),
            Purpose::Filter => (Code::UnknownColumn, format!("{owner} has no column `{name}` to filter by")),
            Purpose::Rule => (Code::UnknownColumn, format!("{owner} has no column `{name}` to test")),
            Purpose::Computed => {
                (Code::UnknownColumn, format!("{owner} reads no field `{name}` to compute of"))
            }
            Purpose::Composed => {
                (Code::UnknownColumn, format!("{owner} has no column `{name}` to compute of"))
            }
        };
        let finding = Finding::new(code, message, span);
        let finding = match self.purpose {
            Purpose::Derived => finding.label("neither of the grain nor a measure").help(
                "the rows of a source are measured by an aggregate, such as `sum(…)`, `count(*)`, `max(…)`",
            ),
            Purpose::Computed => finding
                .label("neither a column that is a field nor one of `fields`")
                .help(format!("add `{{ name = \"{name}\", type = \"…\" }}` to `fields`")),
            Purpose::Composed => finding.label("none of its columns that are the row's own or looked up"),
            _ => finding.label(format!("not a column of {owners}")),
        };
        let finding = finding.did_you_mean(name, meant.iter().flat_map(|relation| relation.names()));
        self.report.push_absent(finding, meant.iter().all(|relation| relation.complete));
    }

    /// What is kept has to come out alike another time.
    fn check_order(&mut self, called: &Function) {
        if !self.place.stored {
            return;
        }
        let Some(last) = sql::parts(&called.name).and_then(|parts| parts.last().copied()) else { return };
        let place = self.report.within(self.written, self.places.range(last.span));
        if let Some(finding) = reproducible::refused(called, self.place, place) {
            self.report.push(finding);
        }
    }

    /// A schema that is named is not PostgreSQL's own.
    fn check_own(&mut self, called: &Function) {
        let Some(parts) = sql::parts(&called.name) else { return };
        let names: Vec<String> = parts.iter().map(|part| sql::meant(part)).collect();
        let (Some(first), Some(last)) = (parts.first(), parts.last()) else { return };
        // The warehouse's clock has findings of its own where it may not stand.
        if names.iter().eq(["medallion", "now"]) {
            return;
        }
        let range = self.places.range(first.span).start..self.places.range(last.span).end;
        let message = format!("`{}` is no function that is known here", names.join("."));
        let span = self.report.within(self.written, range);
        self.report.push(
            Finding::new(Code::UnknownFunction, message, span)
                .label("none of PostgreSQL's that makes one value"),
        );
    }

    /// What is called has to be there, and to stand where it may.
    fn check_call(&mut self, called: &Function) {
        let Some(name) = sql::built_in(called) else {
            self.check_own(called);
            return;
        };
        let Some(last) = sql::parts(&called.name).and_then(|parts| parts.last().map(|last| last.span)) else {
            return;
        };
        let range = self.places.range(last);
        let is_aggregate = function::is_aggregate(&name);
        if !is_aggregate && !window::is_window(&name) && !function::is_known(&name) {
            let span = self.report.within(self.written, range);
            let message = format!("there is no function `{name}`");
            let known = function::names().chain(function::aggregates()).chain(window::names());
            self.report.push(
                Finding::new(Code::UnknownFunction, message, span)
                    .label("none of PostgreSQL's that makes one value")
                    .did_you_mean(&name, known),
            );
            return;
        }
        let Some(over) = &called.over else {
            if window::is_window(&name) && called.within_group.is_empty() {
                self.refuse(range, format!("`{name}` looks across rows"), "no `OVER` behind it");
            } else if ["mode", "percentile_cont", "percentile_disc"].contains(&name.as_str())
                && called.within_group.is_empty()
            {
                let label = "no `WITHIN GROUP (ORDER BY …)` behind it";
                self.refuse(range, format!("`{name}` is taken of rows in an order"), label);
            }
            return;
        };
        match self.purpose {
            Purpose::Derived => {
                if let Some((message, label)) = window::unfit(&name, is_aggregate, called, over, self.place) {
                    self.refuse(range, message, &label);
                }
                if self.windows > 0 {
                    self.refuse(0..self.written.len(), "windows cannot be nested", "one within another");
                }
            }
            Purpose::Measure => {
                let span = self.report.within(self.written, range);
                let message = format!("`{name}` looks across groups, and within them there is an aggregate");
                self.report.push(
                    Finding::new(Code::UnfitExpression, message, span)
                        .label("`OVER` and an aggregate in one expression")
                        .help("make the aggregate a measure of its own, and write the window over its name"),
                );
            }
            Purpose::Rule => self.refuse(
                0..self.written.len(),
                "a test's expression looks at one row, and takes no window function",
                "`OVER` in it",
            ),
            Purpose::Computed | Purpose::Composed => {
                self.refuse(
                    0..self.written.len(),
                    "what is computed of a row takes no window function",
                    "`OVER` in it",
                );
            }
            Purpose::Grain | Purpose::Filter => {
                let what = if self.purpose == Purpose::Grain { "a grain" } else { "a filter" };
                let message = format!("{what} looks at one row, and takes no window function");
                self.refuse(0..self.written.len(), message, "`OVER` in it");
            }
        }
    }
}

/// The name of an aggregate that is called, if one is.
pub(super) fn aggregate(expression: &Expr) -> Option<(String, Range<u64>)> {
    let Expr::Function(function) = expression else { return None };
    let parts = sql::parts(&function.name)?;
    let last = parts.last()?;
    let name = sql::meant(last);
    let place = last.span.start.column..last.span.end.column;
    (function::is_aggregate(&name) && function.over.is_none()).then_some((name, place))
}

impl Visitor for Reading<'_, '_, '_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        let message = match self.purpose {
            Purpose::Rule => "a test's expression holds no query",
            Purpose::Computed | Purpose::Composed => "what is computed of a row holds no query",
            _ => "an expression of a declared mart holds no query",
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
                _ if self.purpose.is_of_a_row() => {
                    let finding = finding.label("the same row would give another value another time");
                    self.report.push(finding.help("take a time that the row says"));
                }
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
            let message = format!("`{name}` gives another value another time");
            self.report.push(match self.purpose {
                Purpose::Computed | Purpose::Composed => Finding::new(Code::VolatileInMart, message, span)
                    .label("the same row would give another value another time")
                    .help("leave it out"),
                _ => volatile::refused(&name, span),
            });
        }
        self.check_zone(expression);
        for unfit in compared::unfit(expression, self.place) {
            let span = self.report.within(self.written, self.places.range(unfit.span));
            self.report.push(unfit.finding(span));
        }
        if let Expr::Function(called) = expression {
            self.argument_names.extend(sql::argument_names(called));
            self.check_call(called);
            self.check_order(called);
            self.windows += usize::from(called.over.is_some());
        }
        if aggregate(expression).is_some() {
            self.aggregates += 1;
            self.within += 1;
            if self.purpose != Purpose::Measure {
                let message = match self.purpose {
                    Purpose::Rule => "a test's expression looks at one row, and takes no aggregate",
                    Purpose::Computed | Purpose::Composed => "what is computed of a row takes no aggregate",
                    Purpose::Grain => "a grain looks at one row, and takes no aggregate",
                    _ => "a filter looks at one row, and takes no aggregate",
                };
                self.refuse(0..self.written.len(), message, "an aggregate in it");
            } else if self.within > 1 {
                self.refuse(0..self.written.len(), "aggregates cannot be nested", "one within another");
            }
        }
        match expression {
            Expr::CompoundIdentifier(parts) if self.purpose.is_of_a_row() => {
                let range =
                    parts.first().map_or(0..self.written.len(), |first| self.places.range(first.span));
                self.refuse(
                    range,
                    "what is computed of a row names what it is computed of by its name alone",
                    "leave this out",
                );
            }
            Expr::Identifier(ident) if self.argument_names.contains(&ident.span.start) => {}
            Expr::Identifier(ident) => self.column(None, ident),
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [alias, column]
                    if self.place.relations.iter().any(|(known, _)| *known == sql::meant(alias)) =>
                {
                    self.column(Some(&sql::meant(alias)), column);
                }
                [alias, ..] => {
                    let range = self.places.range(alias.span);
                    let span = self.report.within(self.written, range);
                    let message = format!("`{}` is not what this is taken from", alias.value);
                    let known = self.place.relations.iter().map(|(alias, _)| format!("`{alias}`"));
                    let known = known.collect::<Vec<_>>().join(", ");
                    self.report.push(
                        Finding::new(Code::UnknownInMart, message, span)
                            .label(format!("it is taken from {known}")),
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
        if matches!(expression, Expr::Function(called) if called.over.is_some()) {
            self.windows -= 1;
        }
        ControlFlow::Continue(())
    }
}

/// The type of an aggregate of one column, as PostgreSQL has it.
fn typed(tree: &Expr, place: &Place<'_>) -> Option<Typed> {
    let Expr::Function(function) = tree else { return None };
    let (name, _) = aggregate(tree)?;
    let FunctionArguments::List(list) = &function.args else { return None };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))] = list.args.as_slice() else { return None };
    let (_, column) = place.column(argument)?;
    let data_type = result(&name, column.data_type.as_ref()?)?;
    // A group has at least one row; a filter can leave none.
    let nullability = if function.filter.is_some() { Nullability::Nullable } else { column.nullability };
    Some((data_type, nullability))
}

pub(super) fn result(aggregate: &str, of: &DataType) -> Option<DataType> {
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
