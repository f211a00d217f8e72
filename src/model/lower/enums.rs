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
        });
    }
    enums
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
