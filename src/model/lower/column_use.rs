//! What columns are used for: where their values come from, what they refer to, and whether a column that
//! is named is there. Knows silver relations only.

use super::catalog::Catalog;
use super::relation::{Column, Relation};
use super::report::Report;
use super::type_name;
use super::{composed, dress};
use crate::finding::{Code, Finding};
use crate::model::data_type::BuiltIn;
use crate::model::{ColumnFrom, DataType, Nullability};
use crate::spec::{At, SurrogateMade, Which};

/// A column of the relation itself, by a name in the spec; a finding where there is none.
pub(super) fn own_column<'r>(
    name: &At<String>,
    relation: &'r Relation<'_>,
    purpose: &str,
    report: &mut Report<'_>,
) -> Option<&'r Column<'r>> {
    if let Some(column) = relation.column(name) {
        return Some(column);
    }
    let owner = &relation.declared.value;
    let place = report.at(&name.span);
    let message = format!("`{owner}` has no column `{}` {purpose}", name.value);
    let finding = Finding::new(Code::UnknownColumn, message, place);
    let finding = if relation.added().contains(&name.as_str()) {
        finding.label("added by medallion, and not to be used here")
    } else {
        finding.label(format!("not among the columns of `{owner}`"))
    };
    report.push_absent(finding.did_you_mean(name, relation.names()), relation.complete);
    None
}

/// Where a column's values come from.
pub(super) fn source(
    column: &Column<'_>,
    relation: &Relation<'_>,
    catalog: &Catalog<'_>,
    report: &mut Report<'_>,
) -> ColumnFrom {
    if let Some(change) = dress::change(column, relation, report) {
        return ColumnFrom::Change(change);
    }
    if let Some(composed) = composed::source(column, relation, catalog, report) {
        return composed;
    }
    if let Some(taken) = &column.taken {
        return taken.from.clone();
    }
    let Some(from) = &column.written.from else { return ColumnFrom::Field(column.name.value.clone()) };
    let Some((alias, name)) = from.split_once('.') else {
        if from.is_empty() {
            let place = report.at(&from.span);
            let message = format!("`{}` comes from nowhere", column.name.value);
            report.push(Finding::new(Code::InvalidName, message, place).label("the name of a field"));
        }
        return ColumnFrom::Field(from.value.clone());
    };
    check_looked_up(column, from, (alias, name), relation, catalog, report);
    ColumnFrom::Lookup { lookup: alias.to_owned(), column: name.to_owned() }
}

fn check_looked_up(
    column: &Column<'_>,
    from: &At<String>,
    (alias, name): (&str, &str),
    relation: &Relation<'_>,
    catalog: &Catalog<'_>,
    report: &mut Report<'_>,
) {
    let owner = &relation.declared.value;
    if relation.is_lookup() {
        let place = report.at(&from.span);
        let message = format!("`{owner}` is a lookup, and looks nothing up itself");
        report.push(
            Finding::new(Code::UnknownAlias, message, place)
                .label("a field of the source's row")
                .help("make it a `[[dimension]]`"),
        );
        return;
    }
    let aliases = || relation.lookups.iter().filter_map(|lookup| lookup.name.as_ref());
    let of_alias = |alias: &str| {
        relation.lookups.iter().find(|lookup| lookup.name.as_ref().is_some_and(|name| name.value == alias))
    };
    let Some(lookup) = of_alias(alias) else {
        let place = report.within(from, 0..alias.len());
        let message = format!("`{owner}` looks up nothing by the name of `{alias}`");
        let finding = Finding::new(Code::UnknownAlias, message, place).label("not among its `lookups`");
        let finding = finding.did_you_mean(alias, aliases().map(|alias| alias.value.as_str()));
        report.push_absent(finding, relation.complete);
        return;
    };
    if column.nullability == Nullability::NotNull {
        let place = report.at(&column.name.span);
        let message = format!("`{}` is looked up, and has to take NULL", column.name.value);
        report.push(
            Finding::new(Code::UnfitNull, message, place)
                .label("the row that is looked up may not be there")
                .help("add `null = true`"),
        );
    }
    let Some(target) = lookup.relation.as_ref().and_then(|target| catalog.relation(target)) else { return };
    if let Some((surrogate, data_type)) = dress::surrogate_column(target)
        && surrogate == name
    {
        check_surrogate(column, from, (alias, &data_type), target, report);
        return;
    }
    let Some(there) = target.column(name) else {
        let place = report.within(from, alias.len() + 1..from.len());
        let message = format!("`{}` has no column `{name}` to take", target.declared.value);
        let finding = Finding::new(Code::UnknownColumn, message, place)
            .label(format!("not among the columns of `{}`", target.declared.value))
            .did_you_mean(name, target.names().chain(dress::surrogate_column(target).map(|(name, _)| name)));
        report.push_absent(finding, target.complete);
        return;
    };
    if let Some(data_type) = &there.data_type {
        check_type(column, from, data_type, report);
    }
    let untracked = match (&there.written.change, &there.written.which) {
        // What a version began with stays with it.
        (Some(_), which) => {
            which.as_ref().filter(|which| which.value == Which::Latest).map(|which| &which.span)
        }
        (None, _) => {
            there.written.tracked.as_ref().filter(|tracked| !tracked.value).map(|tracked| &tracked.span)
        }
    };
    if let Some(untracked) = untracked
        && !target.is_fact()
    {
        let place = report.within(from, alias.len() + 1..from.len());
        let also = report.at(untracked);
        let message = format!("`{name}` of `{}` changes without a version", target.declared.value);
        report.push(
            Finding::new(Code::KeysDisagree, message, place)
                .label(format!("no change of it would reach `{owner}`"))
                .also(
                    also,
                    if there.written.change.is_some() { "it follows in place" } else { "it is not tracked" },
                )
                .help(match there.written.change {
                    Some(_) => format!("leave `which` out, or `{}`", column.name.value),
                    None => format!("track `{name}`, or leave `{}` out", column.name.value),
                }),
        );
    }
}

/// What is looked up keeps its type.
fn check_type(column: &Column<'_>, from: &At<String>, there: &DataType, report: &mut Report<'_>) {
    if let Some(here) = &column.data_type
        && !type_name::alike(here, there)
        && let Some(written) = &column.written.data_type
    {
        let place = report.at(&written.span);
        let message = format!(
            "`{}` is {}, and `{}` is {}",
            column.name.value,
            type_name::said(here),
            from.value,
            type_name::said(there),
        );
        report.push(
            Finding::new(Code::UnfitType, message, place)
                .label("what is looked up keeps its type")
                .help(format!("write `type = \"{}\"`", type_name::said(there))),
        );
    }
}

/// A surrogate key can be looked up where what has landed says it.
fn check_surrogate(
    column: &Column<'_>,
    from: &At<String>,
    (alias, there): (&str, &DataType),
    target: &Relation<'_>,
    report: &mut Report<'_>,
) {
    let made = target.surrogate().and_then(|surrogate| surrogate.made.as_ref());
    if let Some(made) = made.filter(|made| made.value == SurrogateMade::Identity) {
        let place = report.within(from, alias.len() + 1..from.len());
        let also = report.at(&made.span);
        let message = format!("the versions of `{}` are numbered as they come", target.declared.value);
        report.push(
            Finding::new(Code::KeysDisagree, message, place)
                .label("what has landed does not say the number")
                .also(also, "an identity")
                .help("make it `as = \"hash\"`, or look up what identifies the row"),
        );
        return;
    }
    check_type(column, from, there, report);
}

/// Whether the dimension that a column refers to is there.
pub(super) fn check_reference(
    column: &Column<'_>,
    relation: &Relation<'_>,
    catalog: &Catalog<'_>,
    report: &mut Report<'_>,
) {
    let Some(reference) = &column.written.references else { return };
    let place = report.at(&reference.span);
    if catalog.calendars.iter().any(|(name, _)| *name == reference) {
        let integer = DataType::BuiltIn(BuiltIn::Integer);
        if let Some(here) = column.data_type.as_ref().filter(|here| !type_name::agree(here, &integer)) {
            let is = format!("`{}` is {}", column.name.value, type_name::said(here));
            let message = format!("{is}, and a day of `{}` is a number", reference.value);
            report
                .push(Finding::new(Code::UnfitType, message, place).label("its key is integer, as 20240229"));
        }
        return;
    }
    let Some(target) = catalog.relation(reference) else {
        let known = catalog.relations.iter().filter(|known| !known.is_fact());
        let message = format!("there is no `{}` to refer to", reference.value);
        let finding = Finding::new(Code::UnknownRelation, message, place)
            .label("neither a dimension nor a lookup")
            .did_you_mean(reference, known.map(|known| known.declared.value.as_str()));
        report.push_absent(finding, catalog.all_named);
        return;
    };
    let name = &column.name.value;
    if target.is_fact() {
        let message = format!("`{}` is a fact, and `{name}` refers to a dimension", reference.value);
        report.push(
            Finding::new(Code::WrongRelation, message, place)
                .label("no dimension")
                .help("leave `references` out, and let a test `relationship` hold it to the fact"),
        );
        return;
    }
    let Some(key) = target.key.filter(|key| !key.is_empty()) else { return };
    let [only] = key.value.as_slice() else {
        let message = format!("`{name}` alone cannot refer to `{}`", reference.value);
        report.push(
            Finding::new(Code::UnfitKey, message, place).label(format!("its key has {} columns", key.len())),
        );
        return;
    };
    let there = target.column(only).and_then(|there| there.data_type.as_ref());
    if let (Some(here), Some(there)) = (&column.data_type, there)
        && !type_name::agree(here, there)
    {
        let message = format!(
            "`{name}` of `{}` is {}, and the key of `{}` is {}",
            relation.declared.value,
            type_name::said(here),
            reference.value,
            type_name::said(there),
        );
        report.push(Finding::new(Code::UnfitType, message, place).label("the types have to agree"));
    }
}
