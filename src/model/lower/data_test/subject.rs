//! The relation that a test is about, and its columns by the names that a test has for them. Knows no rule.

use super::words::{given, word};
use crate::finding::{Code, Finding};
use crate::model::lower::report::Report;
use crate::model::lower::reserved::SYS_END;
use crate::model::lower::scope::{ReadColumn, Readable};
use crate::spec::{At, TestKind};

/// The kind of relation that a test is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Landing,
    /// The current versions of a dimension or a lookup.
    Current,
    Fact,
    /// A mart whose table has the constraints that its columns say.
    Stored,
    /// All versions of a dimension, whose table has the constraints that the columns say.
    Shown,
    /// A mart that is a query.
    Derived,
}

/// A relation with tests.
pub(super) struct Subject<'r> {
    pub declared: &'r At<String>,
    pub relation: &'r Readable,
    pub key: Vec<String>,
    pub kind: Kind,
}

pub(super) type Found<'s, 'n> = (&'n At<String>, &'s ReadColumn);

/// The columns that a test names.
pub(super) fn columns<'s, 'n>(
    subject: &'s Subject<'_>,
    kind: &At<TestKind>,
    written: Option<&'n At<Vec<At<String>>>>,
    report: &mut Report<'_>,
) -> Option<Vec<Found<'s, 'n>>> {
    let names = given(kind, written, "columns", report)?;
    if names.is_empty() {
        let place = report.at(&names.span);
        let message = format!("a test `{}` looks at no column", word(kind.value));
        report.push(Finding::new(Code::MissingKey, message, place).label("at least one"));
        return None;
    }
    let found: Vec<Option<_>> = names.iter().map(|name| find(subject, name, report)).collect();
    found.into_iter().collect()
}

/// The column that a test names.
pub(super) fn column<'s, 'n>(
    subject: &'s Subject<'_>,
    kind: &At<TestKind>,
    written: Option<&'n At<String>>,
    report: &mut Report<'_>,
) -> Option<Found<'s, 'n>> {
    column_of(subject, kind, "column", written, report)
}

pub(super) fn column_of<'s, 'n>(
    subject: &'s Subject<'_>,
    kind: &At<TestKind>,
    key: &str,
    written: Option<&'n At<String>>,
    report: &mut Report<'_>,
) -> Option<Found<'s, 'n>> {
    find(subject, given(kind, written, key, report)?, report)
}

pub(super) fn find<'s, 'n>(
    subject: &'s Subject<'_>,
    name: &'n At<String>,
    report: &mut Report<'_>,
) -> Option<Found<'s, 'n>> {
    let relation = subject.relation;
    // Of a dimension the current rows are looked at, whose end says nothing.
    let column = relation.column(name).filter(|column| column.name != SYS_END);
    if column.is_none() {
        let owner = &relation.read.name.name;
        let place = report.at(&name.span);
        let message = format!("`{owner}` has no column `{}` to test", name.value);
        let finding = Finding::new(Code::UnknownColumn, message, place)
            .label(format!("not a column of `{owner}`"))
            .did_you_mean(name, relation.names());
        report.push_absent(finding, relation.complete);
    }
    column.map(|column| (name, column))
}

pub(super) fn names_of(columns: &[Found<'_, '_>]) -> Vec<String> {
    columns.iter().map(|(name, _)| name.value.clone()).collect()
}
