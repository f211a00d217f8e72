//! The enumerated types that the spec declares: named as no other thing that stands beside them, with values that
//! PostgreSQL takes. Knows no relation.

use std::collections::BTreeMap;
use std::ops::Range;

use super::names::{self, Namespace};
use super::report::Report;
use super::type_name;
use crate::finding::{Code, Finding};
use crate::model::{Enum, Name, Schemas};
use crate::spec::{self, At};

pub(super) fn lower(
    spec: &spec::Warehouse,
    schemas: &Schemas,
    space: &mut Namespace,
    report: &mut Report<'_>,
) -> Vec<Enum> {
    let mut enums = Vec::new();
    for (name, values) in &spec.types {
        if names::check(name, "the type", report) {
            space.declare(name, "a type", report);
            if type_name::is_built_in(name) {
                let place = report.at(&name.span);
                let message = format!("`{}` is a type of PostgreSQL's", name.value);
                report.push(Finding::new(Code::ReservedName, message, place).help("choose another name"));
            }
        }
        check_values(name, values, report);
        enums.push(Enum {
            name: Name::new(&schemas.silver, &name.value),
            values: values.iter().map(|value| value.value.clone()).collect(),
            renamed: renamed(spec, name)
                .map(|(_, before, now)| (before.to_owned(), now.value.clone()))
                .collect(),
        });
    }
    for what in spec.renamed_values.keys() {
        if spec.types.keys().all(|name| value_of(name, what).is_none()) {
            let message = format!("`{}` is no value of a type", what.value);
            let place = report.at(&what.span);
            report.push(
                Finding::new(Code::UnfitEnum, message, place)
                    .help("say it with its type, as it was called: `\"mood.sour\" = \"bitter\"`"),
            );
        }
    }
    for (name, values) in &spec.types {
        check_renamed(spec, name, values, report);
    }
    enums
}

/// The values of a type that were called otherwise: as it is written, how each was called, and how it is now.
fn renamed<'s>(
    spec: &'s spec::Warehouse,
    name: &'s At<String>,
) -> impl Iterator<Item = (&'s At<String>, &'s str, &'s At<String>)> {
    let all = spec.renamed_values.iter();
    all.filter_map(move |(what, now)| value_of(name, what).map(|before| (what, before, now)))
}

fn value_of<'w>(name: &str, what: &'w str) -> Option<&'w str> {
    what.strip_prefix(name)?.strip_prefix('.')
}

fn check_renamed(
    spec: &spec::Warehouse,
    name: &At<String>,
    values: &At<Vec<At<String>>>,
    report: &mut Report<'_>,
) {
    let is_value = |text: &str| values.iter().any(|value| value.value == text);
    for (what, before, now) in renamed(spec, name) {
        let problem = match (is_value(before), is_value(&now.value)) {
            (true, _) => (what, format!("`{before}` is a value of `{}` still", name.value)),
            (_, false) => (now, format!("`{}` is no value of `{}`", now.value, name.value)),
            _ => continue,
        };
        let place = report.at(&problem.0.span);
        report.push(
            Finding::new(Code::UnfitEnum, problem.1, place)
                .help("on the left stands what was, on the right one of the values that the type has now"),
        );
    }
}

fn check_values(name: &At<String>, values: &At<Vec<At<String>>>, report: &mut Report<'_>) {
    if values.is_empty() && report.has_no_holes() {
        let place = report.at(&values.span);
        let message = format!("the type `{}` has no values", name.value);
        report.push(Finding::new(Code::UnfitEnum, message, place).label("at least one"));
    }
    let mut seen = BTreeMap::<&str, &Range<usize>>::new();
    for value in &values.value {
        let place = report.at(&value.span);
        let problem = match value.value.as_str() {
            "" => Some("is empty".to_owned()),
            text if text.len() > names::LONGEST => Some(format!("has more than {} bytes", names::LONGEST)),
            text if text.contains('\0') => Some("holds a NUL".to_owned()),
            _ => None,
        };
        if let Some(problem) = problem {
            let message = format!("a value of the type `{}` {problem}", name.value);
            report.push(Finding::new(Code::UnfitEnum, message, place.clone()));
        }
        if let Some(first) = seen.insert(&value.value, &value.span) {
            let message = format!("the type `{}` has `{}` twice", name.value, value.value);
            let first = report.at(first);
            report.push(Finding::new(Code::UnfitEnum, message, place).also(first, "the first one"));
        }
    }
}
