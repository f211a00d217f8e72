//! The words that tests are written with: which of them a test takes, and how bad its failure is. Knows no
//! relation.

use crate::finding::{Code, Finding};
use crate::model::lower::report::Report;
use crate::spec::{self, At, TestKind};

/// Which keys a test takes, beside those that all take.
pub(super) fn takes(kind: TestKind) -> &'static [&'static str] {
    match kind {
        TestKind::Unique | TestKind::NotNull => &["columns"],
        TestKind::AcceptedValues => &["column", "values"],
        TestKind::Range => &["column", "min", "max"],
        TestKind::Increasing => &["column", "order_by", "per"],
        TestKind::Relationship => &["columns", "relation", "on"],
        TestKind::Expression => &["expr"],
        TestKind::RowCount => &["min", "max"],
        TestKind::SumEquals => &["measure", "relation", "expr"],
        TestKind::Freshness => &["column", "within"],
        TestKind::Sql => &["sql"],
    }
}

/// The word that the spec has for it.
pub(super) fn word(kind: TestKind) -> &'static str {
    match kind {
        TestKind::Unique => "unique",
        TestKind::NotNull => "not_null",
        TestKind::AcceptedValues => "accepted_values",
        TestKind::Range => "range",
        TestKind::Increasing => "increasing",
        TestKind::Relationship => "relationship",
        TestKind::Expression => "expression",
        TestKind::RowCount => "row_count",
        TestKind::SumEquals => "sum_equals",
        TestKind::Freshness => "freshness",
        TestKind::Sql => "sql",
    }
}

/// Keys that this test has no use for.
pub(super) fn check_words(kind: &At<TestKind>, written: &spec::DataTest, report: &mut Report<'_>) {
    let present = [
        ("column", written.column.as_ref().map(|one| &one.span)),
        ("columns", written.columns.as_ref().map(|one| &one.span)),
        ("order_by", written.order_by.as_ref().map(|one| &one.span)),
        ("per", written.per.as_ref().map(|one| &one.span)),
        ("values", written.values.as_ref().map(|one| &one.span)),
        ("min", written.min.as_ref().map(|one| &one.span)),
        ("max", written.max.as_ref().map(|one| &one.span)),
        ("expr", written.expr.as_ref().map(|one| &one.span)),
        ("measure", written.measure.as_ref().map(|one| &one.span)),
        ("relation", written.relation.as_ref().map(|one| &one.span)),
        ("on", written.on.as_ref().map(|one| &one.span)),
        ("within", written.within.as_ref().map(|one| &one.span)),
        ("sql", written.sql.as_ref().map(|one| &one.span)),
    ];
    let known = takes(kind.value);
    for (name, span) in present {
        let Some(span) = span.filter(|_| !known.contains(&name)) else { continue };
        let place = report.at(span);
        let message = format!("a test `{}` takes no `{name}`", word(kind.value));
        report.push(
            Finding::new(Code::KeysDisagree, message, place).help(format!("it takes {}", listed(known))),
        );
    }
}

/// From how many failures on a test warns, and is an error.
pub(super) fn severity(written: &spec::DataTest, report: &mut Report<'_>) -> (u64, Option<u64>) {
    let mut above = |number: &Option<At<i64>>, otherwise: u64| match number {
        None => otherwise,
        Some(number) => u64::try_from(number.value).unwrap_or_else(|_| {
            let place = report.at(&number.span);
            let message = format!("{} is no number of failures", number.value);
            report.push(Finding::new(Code::WrongShape, message, place).label("0 or more"));
            otherwise
        }),
    };
    let warns = written.severity.as_ref().is_some_and(|severity| severity.value == spec::Severity::Warn);
    let warn_above = above(&written.warn_above, 0);
    let error_above = above(&written.error_above, warn_above);
    if let (true, Some(number)) = (warns, &written.error_above) {
        let place = report.at(&number.span);
        let message = "a test whose severity is `warn` is never an error";
        report.push(Finding::new(Code::KeysDisagree, message, place).help("leave one of them out"));
    }
    if let (false, Some(number)) = (warns, &written.error_above)
        && error_above < warn_above
    {
        let place = report.at(&number.span);
        let message = "it would be an error before it is told";
        report.push(
            Finding::new(Code::KeysDisagree, message, place).help(format!("write {warn_above} or more")),
        );
    }
    (warn_above, (!warns).then_some(error_above))
}

/// What a test cannot be without.
pub(super) fn given<'n, T>(
    kind: &At<TestKind>,
    written: Option<&'n At<T>>,
    key: &str,
    report: &mut Report<'_>,
) -> Option<&'n At<T>> {
    if written.is_none() {
        missing(kind, &format!("`{key}`"), report);
    }
    written
}

pub(super) fn missing(kind: &At<TestKind>, what: &str, report: &mut Report<'_>) {
    let place = report.at(&kind.span);
    let message = format!("a test `{}` needs {what}", word(kind.value));
    let help = format!("it takes {}", listed(takes(kind.value)));
    report.push(Finding::new(Code::MissingKey, message, place).help(help));
}

pub(super) fn listed<S: AsRef<str>>(names: &[S]) -> String {
    names.iter().map(|name| format!("`{}`", name.as_ref())).collect::<Vec<_>>().join(", ")
}
