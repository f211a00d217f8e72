//! Rules about columns of one relation, and what has to be so of a column for them. Knows no other relation.

use super::subject::{Found, Subject, column, column_of, columns, names_of};
use super::words::{given, missing};
use crate::finding::{Code, Finding};
use crate::model::DataType;
use crate::model::data_test::Rule;
use crate::model::data_type::BuiltIn;
use crate::model::lower::identity::seconds;
use crate::model::lower::report::Report;
use crate::model::lower::type_name;
use crate::spec::{self, At, Scalar, TestKind};

/// The longest that data may be old, in seconds.
const OLDEST: u64 = 36_600 * 86_400;

/// What lies between a least and a greatest value, of which there is one at least.
pub(super) fn bounds<T>(
    kind: &At<TestKind>,
    written: &spec::DataTest,
    mut read: impl FnMut(&At<Scalar>, &mut Report<'_>) -> Option<T>,
    report: &mut Report<'_>,
) -> Option<(Option<T>, Option<T>)> {
    if written.min.is_none() && written.max.is_none() {
        missing(kind, "`min` or `max`", report);
    }
    let mut bound = |value: &Option<At<Scalar>>| match value {
        Some(value) => read(value, report).map(Some),
        None => Some(None),
    };
    let (min, max) = (bound(&written.min), bound(&written.max));
    Some((min?, max?))
}

/// Between a least and a greatest number there has to be one.
pub(super) fn check_bounds(written: &spec::DataTest, report: &mut Report<'_>) {
    let (Some(min), Some(max)) = (&written.min, &written.max) else { return };
    let is_empty = match (&min.value, &max.value) {
        (Scalar::Integer(min), Scalar::Integer(max)) => min > max,
        (min, max) => float(min).zip(float(max)).is_some_and(|(min, max)| min > max),
    };
    if is_empty {
        let (min, max) = (report.at(&min.span), report.at(&max.span));
        let finding = Finding::new(Code::KeysDisagree, "nothing lies between `min` and `max`", min);
        report.push(finding.label("more than `max`").also(max, "less than `min`"));
    }
}

/// A number as one that others can be compared with; whole ones up to the digits that it keeps.
fn float(written: &Scalar) -> Option<f64> {
    match written {
        Scalar::Integer(number) => number.to_string().parse().ok(),
        Scalar::Float(number) => Some(*number),
        Scalar::Boolean(_) | Scalar::Text(_) => None,
    }
}

pub(super) fn increasing(
    kind: &At<TestKind>,
    subject: &Subject<'_>,
    written: &spec::DataTest,
    report: &mut Report<'_>,
) -> Option<Rule> {
    let column = column(subject, kind, written.column.as_ref(), report);
    let order_by = column_of(subject, kind, "order_by", written.order_by.as_ref(), report);
    let per = match &written.per {
        Some(per) => columns(subject, kind, Some(per), report),
        None => Some(Vec::new()),
    };
    let (column, order_by, per) = (column?, order_by?, per?);
    ordered(column, "told to increase", report);
    ordered(order_by, "told to come before another", report);
    for column in &per {
        ordered(*column, "told to be alike", report);
    }
    Some(Rule::Increasing {
        column: column.0.value.clone(),
        order_by: order_by.0.value.clone(),
        per: names_of(&per),
    })
}

pub(super) fn freshness(
    kind: &At<TestKind>,
    subject: &Subject<'_>,
    written: &spec::DataTest,
    report: &mut Report<'_>,
) -> Option<Rule> {
    let column = column(subject, kind, written.column.as_ref(), report);
    let within = given(kind, written.within.as_ref(), "within", report)?;
    let read = seconds(within).filter(|seconds| (1..=OLDEST).contains(seconds));
    if read.is_none() {
        let place = report.at(&within.span);
        let message = format!("`{}` is no age", within.value);
        report.push(
            Finding::new(Code::UnfitDuration, message, place)
                .label("a number of minutes, hours or days")
                .help("write `2 days`"),
        );
    }
    let (name, read_column) = column?;
    if let Some(data_type) = &read_column.data_type
        && !type_name::is_time(data_type)
    {
        let place = report.at(&name.span);
        let message = format!("`{}` is no time", name.value);
        let is = format!("it is {}", type_name::said(data_type));
        report.push(Finding::new(Code::UnfitType, message, place).label(is));
    }
    let data_type = read_column.data_type.clone()?;
    Some(Rule::Freshness { column: name.value.clone(), data_type, within: read? })
}

/// Whoever compares a column's values needs to know which of two is less.
pub(super) fn ordered((name, column): Found<'_, '_>, what: &str, report: &mut Report<'_>) {
    if let Some(data_type) = &column.data_type
        && !type_name::is_ordered(data_type)
    {
        let is = format!("{} has no order", type_name::said(data_type));
        let message = format!("`{}` cannot be {what}", name.value);
        let place = report.at(&name.span);
        report.push(Finding::new(Code::UnfitType, message, place).label(is));
    }
}

pub(super) fn number(value: &At<Scalar>, report: &mut Report<'_>) -> Option<u64> {
    let read = match value.value {
        Scalar::Integer(number) => u64::try_from(number).ok(),
        _ => None,
    };
    if read.is_none() {
        let place = report.at(&value.span);
        let message = "this is no number of rows";
        report.push(Finding::new(Code::WrongShape, message, place).label("0 or more"));
    }
    read
}

pub(super) fn is_float(data_type: &DataType) -> bool {
    matches!(data_type, DataType::BuiltIn(BuiltIn::Real | BuiltIn::DoublePrecision))
}

pub(super) fn is_number(data_type: &DataType) -> bool {
    use BuiltIn::{BigInt, Integer, Numeric, SmallInt};
    is_float(data_type) || matches!(data_type, DataType::BuiltIn(SmallInt | Integer | BigInt | Numeric(_)))
}
