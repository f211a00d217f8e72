//! How a dimension keeps its versions: whether the database itself refuses overlaps, and where closed ones
//! stand. Knows the dimension's own columns and no other relation.

use super::relation::{Column, Relation};
use super::report::Report;
use super::{silver, type_name};
use crate::finding::{Code, Finding};
use crate::model::{Closed, Overlaps, Unit};
use crate::spec::{self, At};

/// How many arguments a function takes: `FUNC_MAX_ARGS`, in the manual under "Limits".
const MOST_ARGUMENTS: usize = 100;

pub(super) fn lower(
    relation: &Relation<'_>,
    written: &spec::Dimension,
    report: &mut Report<'_>,
) -> (Overlaps, Closed) {
    let refused = written.overlaps.as_ref().filter(|overlaps| overlaps.value == spec::Overlaps::Refused);
    let apart = written.closed_apart.as_ref();
    if let Some(refused) = refused {
        check_key(relation, refused, report);
    }
    if let Some(versioned) = written.system_versioning.as_ref().filter(|versioned| versioned.value) {
        check_width(relation, versioned, report);
    }
    if let Some(apart) = apart {
        check_company(relation, apart, refused, report);
    }
    let every = |apart: &At<spec::ClosedApart>| apart.every.as_ref().map(|every| silver::unit(every.value));
    (
        if refused.is_some() { Overlaps::Refused } else { Overlaps::Unmade },
        apart.map_or(Closed::Together, |apart| Closed::Apart { every: every(apart).unwrap_or(Unit::Year) }),
    )
}

/// The hash of what makes a version is a function of all that does.
fn check_width(relation: &Relation<'_>, versioned: &At<bool>, report: &mut Report<'_>) {
    let is_tracked = |column: &&Column<'_>| {
        column.written.change.is_none() && column.written.tracked.as_ref().is_none_or(|tracked| tracked.value)
    };
    let tracked = relation.columns.iter().filter(is_tracked).count();
    if tracked > MOST_ARGUMENTS {
        let name = &relation.declared.value;
        let message = format!("writes to `{name}` cannot be versioned");
        let finding = Finding::new(Code::KeysDisagree, message, report.at(&versioned.span))
            .label(format!("{tracked} columns are tracked, and PostgreSQL's functions take {MOST_ARGUMENTS}"))
            .help("leave some untracked, `tracked = false`; or split the dimension");
        report.push(finding);
    }
}

/// An exclusion constraint compares the key by GiST, which not every type has.
fn check_key(relation: &Relation<'_>, refused: &At<spec::Overlaps>, report: &mut Report<'_>) {
    for name in relation.key.iter().flat_map(|key| &key.value) {
        let Some(column) = relation.column(name) else { continue };
        // What has no order at all is no key, and has been said.
        let unfit = column
            .data_type
            .as_ref()
            .filter(|data_type| type_name::is_ordered(data_type) && !type_name::is_excludable(data_type));
        if let Some(data_type) = unfit {
            let message = format!("overlaps of `{}` cannot be refused", relation.declared.value);
            let is = format!("`{}` is {}", name.value, type_name::said(data_type));
            let finding = Finding::new(Code::UnfitType, message, report.at(&refused.span))
                .label(is)
                .also(report.at(&name.span), "is compared by GiST, which has no equality of that type")
                .help("leave `overlaps` out: the loader makes none");
            report.push(finding);
        }
    }
}

/// What cannot stand beside closed versions in a table of their own.
fn check_company(
    relation: &Relation<'_>,
    apart: &At<spec::ClosedApart>,
    refused: Option<&At<spec::Overlaps>>,
    report: &mut Report<'_>,
) {
    let name = &relation.declared.value;
    if let Some(refused) = refused {
        let message = format!("overlaps of `{name}` cannot be refused where closed versions stand apart");
        let finding = Finding::new(Code::KeysDisagree, message, report.at(&refused.span))
            .label("a constraint sees one table")
            .also(report.at(&apart.span), "makes several")
            .help(
                "leave `overlaps` out: neither the loader nor a versioning trigger makes any, and \
                 `medallion verify` looks for them; or leave `closed_apart` out",
            );
        report.push(finding);
    }
}
