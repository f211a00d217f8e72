//! A query that is written as SQL, bound to the relations of the warehouse: what it names is there, and what
//! it calls reads nothing else. Knows not what the query is for.

use std::collections::BTreeSet;
use std::ops::Range;

use sqlparser::ast::Expr;

use super::catalog::Catalog;
use super::query::{ColumnMention, Mention, Query};
use super::report::Report;
use super::reserved::SYSTEM_COLUMNS;
use super::scope::{Readable, Scope};
use super::sql::Clock;
use super::{reproducible, unit, volatile};
use crate::finding::{Code, Finding, SourceText, Span};
use crate::model::data_type::BuiltIn;
use crate::model::{DataType, Piece, Read, TOOL_SCHEMA, TRAVEL_SCHEMA};

/// How the functions end by which a dimension is asked about the past.
const ASKING: [&str; 4] = ["_as_of", "_between", "_history", "_changes"];

/// Who reads what the query gives.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    /// A mart, whose rows are kept or not.
    Mart { stored: bool },
    /// A test, which reads what has landed too.
    Test,
}

impl Reader {
    fn limits(self) -> &'static str {
        match self {
            Self::Mart { .. } => "a mart reads silver and gold only",
            Self::Test => "a test reads bronze, silver and gold only",
        }
    }
}

/// A query, and what it can read.
pub(super) struct Bound<'r> {
    pub reader: Reader,
    pub query: &'r Query,
    pub file: &'r SourceText,
    pub scope: &'r Scope,
    pub catalog: &'r Catalog<'r>,
}

impl<'r> Bound<'r> {
    /// Reports what is wrong with it; returns what it reads.
    pub fn check(&self, report: &mut Report<'_>) -> BTreeSet<Read> {
        let mut reads = BTreeSet::new();
        for mention in &self.query.relations {
            match self.find(mention) {
                Some(readable) => {
                    reads.insert(readable.read.clone());
                    self.check_clock_of(mention, readable, report);
                }
                None => self.report_unknown(mention, report),
            }
        }
        self.check_columns(report);
        self.check_zones(report);
        self.check_clocks(report);
        self.check_functions(report);
        self.check_order(report);
        reads
    }

    /// What is kept has to come out alike another time.
    fn check_order(&self, report: &mut Report<'_>) {
        if !self.stored() {
            return;
        }
        for call in &self.query.calls {
            let columns = Called { bound: self, columns: &call.columns };
            let finding = reproducible::refused(&call.function, &columns, self.place(&call.range));
            if let Some(finding) = finding {
                report.push(finding);
            }
        }
        for (range, word) in &self.query.unordered {
            report.push(reproducible::unordered(word, self.place(range)));
        }
    }

    fn stored(&self) -> bool {
        matches!(self.reader, Reader::Mart { stored: true })
    }

    fn place(&self, range: &Range<usize>) -> Span {
        Span::new(self.file.path(), range.clone())
    }

    /// The relation that is meant.
    pub fn find(&self, mention: &Mention) -> Option<&'r Readable> {
        self.scope.find(mention.schema.as_deref(), &mention.name)
    }

    /// The text, with the relations left open.
    pub fn pieces(&self) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut from = 0;
        for mention in &self.query.relations {
            let Some(readable) = self.find(mention) else { continue };
            pieces.push(Piece::Sql(self.query.text[from..mention.range.start].to_owned()));
            pieces.push(Piece::Relation(readable.read.name.clone()));
            from = mention.range.end;
        }
        pieces.push(Piece::Sql(format!("{}{}", &self.query.text[from..], self.query.tail)));
        pieces.retain(|piece| !matches!(piece, Piece::Sql(text) if text.is_empty()));
        pieces
    }

    fn report_unknown(&self, mention: &Mention, report: &mut Report<'_>) {
        let place = self.place(&mention.range);
        let own = [self.catalog.schemas.silver.as_str(), self.catalog.schemas.gold.as_str(), TOOL_SCHEMA];
        match &mention.schema {
            Some(schema) if !own.contains(&schema.as_str()) => {
                let message = format!("`{schema}.{}` is not of this warehouse", mention.name);
                report.push(
                    Finding::new(Code::OutsideWarehouse, message, place)
                        .label(self.reader.limits())
                        .help("capture it as a `[[lookup]]`"),
                );
            }
            _ => {
                if let Some(finding) = self.scope.refused(&mention.name, place.clone()) {
                    report.push(finding);
                    return;
                }
                let is_landing = self.catalog.landings.iter().any(|known| known.name.name == mention.name);
                let message = format!("there is no `{}` to read", mention.name);
                let finding = Finding::new(Code::UnknownRelation, message, place);
                let finding = match is_landing {
                    true => finding.label("a landing table: marts read silver and gold only"),
                    false => finding.label("no fact, dimension, view, lookup or mart"),
                };
                let finding = finding.did_you_mean(&mention.name, self.scope.names());
                report.push_absent(finding, self.scope.all_named || is_landing);
            }
        }
    }

    fn check_columns(&self, report: &mut Report<'_>) {
        for column in &self.query.columns {
            let of = column.of.iter().map(|mention| self.find(mention)).collect::<Option<Vec<_>>>();
            let Some(of) = of else { continue };
            let known = of.iter().any(|readable| readable.column(&column.name).is_some());
            if known || SYSTEM_COLUMNS.contains(&column.name.as_str()) {
                continue;
            }
            let owners = of.iter().map(|readable| readable.read.name.name.as_str()).collect::<BTreeSet<_>>();
            let owners = owners.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ");
            let message = format!("there is no column `{}`", column.name);
            let finding = Finding::new(Code::UnknownInMart, message, self.place(&column.range))
                .label(format!("not a column of {owners}"))
                .did_you_mean(&column.name, of.iter().flat_map(|readable| readable.names()));
            report.push_absent(finding, of.iter().all(|readable| readable.complete));
        }
    }

    /// A day of a `timestamptz` is a day of some zone.
    fn check_zones(&self, report: &mut Report<'_>) {
        for column in &self.query.zoned {
            let of = column.of.iter().map(|mention| self.find(mention)).collect::<Option<Vec<_>>>();
            let types = of.iter().flatten().filter_map(|readable| readable.column(&column.name));
            let types = types.map(|column| column.data_type.as_ref()).collect::<Vec<_>>();
            let zoned = DataType::BuiltIn(BuiltIn::TimestampTz);
            if !types.is_empty() && types.iter().all(|data_type| *data_type == Some(&zoned)) {
                let place = self.place(&column.range);
                report.push(unit::by_session(&column.name, place, &self.catalog.time_zone));
            }
        }
    }

    fn check_clocks(&self, report: &mut Report<'_>) {
        for (clock, range, name) in &self.query.clocks {
            let finding =
                Finding::new(Code::ClockInMart, format!("`{name}` looks at a clock"), self.place(range));
            match clock {
                _ if self.stored() => {
                    let finding = finding.label("the rows that are kept would change by themselves");
                    report.push(finding.help("make it `storage = \"view\"`, or leave the clock out"));
                }
                Clock::Server => {
                    let finding = finding.label("the server's, which no time travel reaches");
                    report.push(finding.help("use `medallion.now()`"));
                }
                Clock::Warehouse => {}
            }
        }
    }

    fn check_clock_of(&self, mention: &Mention, readable: &Readable, report: &mut Report<'_>) {
        if readable.clock && self.stored() {
            let message = format!("`{}` changes by itself", mention.name);
            report.push(
                Finding::new(Code::ClockInMart, message, self.place(&mention.range))
                    .label("the rows that are kept would change by themselves")
                    .help("make it `storage = \"view\"`"),
            );
        }
    }

    /// What a function reads is neither bound nor seen to change.
    fn check_functions(&self, report: &mut Report<'_>) {
        for (range, name) in &self.query.volatile {
            if self.stored() {
                report.push(volatile::refused(name, self.place(range)));
            }
        }
        let schemas = &self.catalog.schemas;
        let own = [schemas.silver.as_str(), schemas.gold.as_str(), TOOL_SCHEMA, TRAVEL_SCHEMA];
        for function in &self.query.functions {
            let Mention { range, schema, name } = &function.name;
            let view = ASKING.iter().find_map(|suffix| name.strip_suffix(suffix));
            let travels = view.and_then(|view| self.scope.find(None, view));
            let is_own = match schema.as_deref() {
                Some(TOOL_SCHEMA) if name == "now" => false,
                Some(schema) => own.contains(&schema),
                None => travels.is_some(),
            };
            if !function.in_from && !is_own {
                continue;
            }
            let message = format!("`{name}` may read more than its arguments");
            let finding = Finding::new(Code::ReadingFunction, message, self.place(range))
                .label("what a function reads is not seen to change");
            let stored = travels.map(|readable| &readable.read.stored.name);
            report.push(match stored {
                Some(stored) => finding.help(format!("read the versions: `{stored}`")),
                None => finding.help("read the relations themselves"),
            });
        }
    }
}

/// The columns that a call is given.
struct Called<'r> {
    bound: &'r Bound<'r>,
    columns: &'r [(String, ColumnMention)],
}

impl reproducible::Columns for Called<'_> {
    fn data_type(&self, expression: &Expr) -> Option<DataType> {
        let (_, column) = self.columns.iter().find(|(text, _)| *text == expression.to_string())?;
        let mut of = column.of.iter().filter_map(|mention| self.bound.find(mention));
        of.find_map(|readable| readable.column(&column.name))?.data_type.clone()
    }

    fn key(&self) -> Vec<String> {
        // Of a query nobody knows.
        Vec::new()
    }
}
