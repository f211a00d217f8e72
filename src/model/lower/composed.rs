//! Columns that are computed of their relation's other columns, those that are looked up among them: what an expression
//! may name, and where such a column may stand. Knows the relation and no other.

use super::catalog::Catalog;
use super::derived;
use super::expression::{self, Checked, Place, Purpose};
use super::relation::{Column, Relation, Section};
use super::report::Report;
use super::scope::{ReadColumn, Readable};
use crate::finding::{Code, Finding};
use crate::model::{ColumnFrom, Composed, Nullability, Writes};
use crate::spec::At;

/// What a column is computed of; none where it is not.
pub(super) fn source(
    column: &Column<'_>,
    relation: &Relation<'_>,
    catalog: &Catalog<'_>,
    report: &mut Report<'_>,
) -> Option<ColumnFrom> {
    let expr = column.written.expr.as_ref()?;
    check(column, expr, relation, report);
    let readable = readable(relation);
    let place = Place {
        relations: vec![(relation.declared.value.as_str(), &readable)],
        stored: true,
        time_zone: &catalog.time_zone,
        grain: Vec::new(),
        enums: catalog.enums(),
    };
    let nothing = || ColumnFrom::Composed(Composed { of: Vec::new(), sql: "NULL".to_owned() });
    let Some(parsed) = expression::parse(expr, report) else { return Some(nothing()) };
    let checked = expression::check_parsed(expr, &parsed, Purpose::Composed, &place, report);
    if matches!(checked, Checked::Refused) {
        return Some(nothing());
    }
    let named = derived::named(&parsed.tree);
    let of = readable.names().filter(|name| named.contains(*name)).map(str::to_owned).collect();
    Some(ColumnFrom::Composed(Composed { of, sql: expression::text(expr) }))
}

/// What an expression can name: the relation's columns that are not computed so themselves, and that are of the row.
fn readable(relation: &Relation<'_>) -> Readable {
    let columns = relation.columns.iter();
    let columns = columns.filter(|one| one.written.expr.is_none() && one.written.change.is_none());
    let columns = columns.map(|column| ReadColumn {
        name: column.name.value.clone(),
        data_type: column.data_type.clone(),
        nullability: column.nullability,
    });
    Readable::stored(relation.table.clone(), columns.collect(), relation.complete)
}

/// Where it may not stand, and what it excludes.
fn check(column: &Column<'_>, expr: &At<String>, relation: &Relation<'_>, report: &mut Report<'_>) {
    let name = &column.name.value;
    let owner = &relation.declared.value;
    let excluded = [
        ("from", column.written.from.as_ref().map(|from| &from.span), "what it would be without `expr`"),
        ("change", column.written.change.as_ref().map(|change| &change.span), "what it tells of the change"),
    ];
    for (word, span, what) in excluded {
        let Some(span) = span else { continue };
        let message = format!("`{name}` is computed, and `{word}` says something else");
        report.push(
            Finding::new(Code::KeysDisagree, message, report.at(span))
                .label(what)
                .also(report.at(&expr.span), "what it is computed of")
                .help("leave one of them out"),
        );
    }
    let place = report.at(&expr.span);
    let message = format!("`{name}` cannot be computed here");
    match relation.section {
        Section::Lookup => report.push(
            Finding::new(Code::KeysDisagree, message, place)
                .label(format!("`{owner}` is a lookup, and shows fields"))
                .help("compute it in a staging view, or make the lookup a `[[dimension]]`"),
        ),
        Section::Dimension { writes: Writes::Versioned, .. } => report.push(
            Finding::new(Code::KeysDisagree, message, place)
                .label(format!("others write to `{owner}`, and say themselves what stands there"))
                .help("leave `system_versioning` out, or this column"),
        ),
        Section::Dimension { .. } | Section::Fact { .. } => {}
    }
    if column.nullability == Nullability::NotNull {
        let place = report.at(&column.name.span);
        let message = format!("`{name}` is computed of other columns, and has to take NULL");
        report.push(
            Finding::new(Code::UnfitNull, message, place)
                .label("what is looked up for it may not be there")
                .help("add `null = true`")
                .help("what is computed of the row's own fields alone can be in a `[[staging]]` view, and take none"),
        );
    }
    for lookup in relation.lookups {
        let finding =
            lookup.on.iter().flat_map(|on| &on.value).chain(&lookup.at).find(|by| *by == column.name);
        if let Some(by) = finding {
            let message = format!("nothing can be looked up by `{name}`");
            report.push(
                Finding::new(Code::UnfitLookup, message, report.at(&by.span))
                    .label("it is computed once all is looked up")
                    .also(report.at(&expr.span), "what it is computed of"),
            );
        }
    }
}
