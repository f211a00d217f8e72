//! What the spec says about its own past: what was called otherwise, what may go, where a new column's past
//! comes from. Knows no earlier spec; what was said of a migration that is long applied does no harm.

use super::catalog::Catalog;
use super::relation::Section;
use super::report::Report;
use crate::finding::{Code, Finding};
use crate::model::{Evolution, JOURNAL, Name, Writes};
use crate::spec::{self, At};

/// What can be allowed.
const HAZARDS: [&str; 5] = ["rewrite", "scan", "index_build", "narrowing", "irreversible"];

pub(super) fn lower(spec: &spec::Warehouse, catalog: &Catalog<'_>, report: &mut Report<'_>) -> Evolution {
    let mut evolution = Evolution::default();
    for landing in &spec.landing {
        if let (Some(name), Some(before)) = (&landing.name, &landing.renamed_from) {
            check(name, before, catalog, report);
            let bronze = |name: &str| Name::new(&catalog.schemas.bronze, name);
            evolution.relations.push((bronze(before), bronze(name)));
        }
    }
    for relation in &catalog.relations {
        let before = match relation.section {
            Section::Lookup => spec
                .lookup
                .iter()
                .find(|one| one.name.as_ref() == Some(relation.declared))
                .and_then(|one| one.renamed_from.as_ref()),
            Section::Dimension { written, .. } => written.renamed_from.as_ref(),
            Section::Fact { .. } => spec
                .fact
                .iter()
                .find(|one| one.name.as_ref() == Some(relation.declared))
                .and_then(|one| one.renamed_from.as_ref()),
        };
        if let Some(before) = before {
            check(relation.declared, before, catalog, report);
            let schema = &relation.table.schema;
            match relation.section {
                Section::Lookup => {
                    evolution
                        .relations
                        .push((Name::new(schema, format!("{}_hist", before.value)), relation.table.clone()));
                    evolution.relations.push((
                        Name::new(schema, format!("{}_cdc", before.value)),
                        Name::new(schema, format!("{}_cdc", relation.declared.value)),
                    ));
                }
                _ => evolution.relations.push((Name::new(schema, &before.value), relation.table.clone())),
            }
        }
        for column in &relation.columns {
            if let Some(before) = &column.written.renamed_from {
                if relation.column(before).is_some() {
                    let place = report.at(&before.span);
                    let message =
                        format!("`{}` cannot have been called `{}`", column.name.value, before.value);
                    let is = format!("`{}` has such a column as well", relation.declared.value);
                    report.push(Finding::new(Code::UnfitRename, message, place).label(is));
                }
                evolution.columns.push((
                    relation.table.clone(),
                    before.value.clone(),
                    column.name.value.clone(),
                ));
            }
            if column.written.backfill.is_some() {
                evolution.backfilled.push((relation.table.clone(), column.name.value.clone()));
            }
        }
    }
    for (what, why) in &spec.allow_drop {
        let (relation, column) = match what.split_once('.') {
            Some((relation, column)) => (relation, Some(column)),
            None => (what.as_str(), None),
        };
        let there = match (catalog.relation(relation), column) {
            (Some(relation), Some(column)) => {
                let is_journal = column == JOURNAL
                    && matches!(relation.section, Section::Dimension { writes: Writes::Versioned, .. });
                relation.column(column).is_some() || is_journal
            }
            (Some(_), None) => true,
            (None, _) => catalog.landings.iter().any(|landing| landing.declared.value == relation),
        };
        if there && (column.is_none() || catalog.relation(relation).is_some()) {
            let place = report.at(&what.span);
            let message = format!("`{}` may go, and is still there", what.value);
            report.push(
                Finding::new(Code::UnfitDrop, message, place)
                    .label("stands in the spec")
                    .help("take it out of the spec, or out of `[allow_drop]`"),
            );
        }
        evolution.allowed_drops.insert(what.value.clone(), why.value.clone());
    }
    for (what, why) in &spec.allow_hazard {
        let word = what.rsplit_once('.').map_or("", |(_, word)| word);
        if !HAZARDS.contains(&word) {
            let place = report.at(&what.span);
            let message = format!("`{}` names no hazard", what.value);
            report.push(
                Finding::new(Code::UnknownHazard, message, place)
                    .label("ends otherwise")
                    .help(format!("end it with a relation's hazard: `.{}`", HAZARDS.join("`, `."))),
            );
        }
        evolution.allowed_hazards.insert(what.value.clone(), why.value.clone());
    }
    evolution.relations.sort();
    evolution.columns.sort();
    evolution.backfilled.sort();
    evolution
}

/// A relation cannot have had the name of one that is there.
fn check(name: &At<String>, before: &At<String>, catalog: &Catalog<'_>, report: &mut Report<'_>) {
    let there = catalog.relation(before).is_some()
        || catalog.landings.iter().any(|landing| landing.declared == before);
    if there {
        let place = report.at(&before.span);
        let message = format!("`{}` cannot have been called `{}`", name.value, before.value);
        report.push(Finding::new(Code::UnfitRename, message, place).label("the spec has one of that name"));
    }
}
