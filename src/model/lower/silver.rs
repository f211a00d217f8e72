//! Silver relations: their feeds, keys, columns and partitions, in an order in which each one comes after
//! those that it looks up. Knows no mart.

use std::collections::{BTreeMap, BTreeSet};

use super::catalog::Catalog;
use super::identity::described;
use super::order;
use super::relation::{Relation, Section};
use super::report::Report;
use super::reserved::{ROW_HASH, SNAPSHOT, SYS_END, SYS_START};
use super::type_name;
use super::{column_use, dress, lookup, versions};
use crate::finding::{Code, Finding};
use crate::model::{
    Closed, Column, ColumnFrom, DataType, Dimension, Fact, Name, Origin, Overlaps, Silver, SilverKind,
    TOOL_SCHEMA, Tracking, Unit, Writes,
};
use crate::spec::{self, At};

pub(super) fn lower(catalog: &Catalog<'_>, report: &mut Report<'_>) -> Vec<Silver> {
    let mut lowered = BTreeMap::new();
    for relation in &catalog.relations {
        let silver = one(relation, catalog, report);
        lowered.entry(relation.declared.value.clone()).or_insert(silver);
    }
    let ordered = order::order(&needs(catalog));
    for cycle in &ordered.cycles {
        report_cycle(cycle, catalog, report);
    }
    ordered.names.iter().filter_map(|name| lowered.remove(name)).collect()
}

/// A unit as the model has it.
pub(super) fn unit(written: spec::Unit) -> Unit {
    match written {
        spec::Unit::Day => Unit::Day,
        spec::Unit::Week => Unit::Week,
        spec::Unit::Month => Unit::Month,
        spec::Unit::Quarter => Unit::Quarter,
        spec::Unit::Year => Unit::Year,
    }
}

fn one(relation: &Relation<'_>, catalog: &Catalog<'_>, report: &mut Report<'_>) -> Silver {
    check_key(relation, report);
    let lookups = lookup::lower(relation, catalog, report);
    let columns = relation.columns.iter().enumerate().map(|(introduced, column)| {
        let data_type = column.data_type.clone().unwrap_or_else(type_name::placeholder);
        let renamed = renamed(&data_type, catalog);
        Column {
            name: column.name.value.clone(),
            data_type,
            nullability: column.nullability,
            description: described(column.written.description.as_ref())
                .or_else(|| column.taken.as_ref().and_then(|taken| taken.description.clone())),
            from: column_use::source(column, relation, catalog, report),
            tracking: tracking(column, relation, report),
            renamed,
            introduced,
        }
    });
    let columns = columns.collect::<Vec<_>>();
    check_renamed_keys(relation, &columns, report);
    for column in &relation.columns {
        column_use::check_reference(column, relation, catalog, report);
    }
    Silver {
        name: relation.table.clone(),
        description: described(relation.description),
        feed: feed(relation, catalog, report).unwrap_or_else(|| Name::new("", "")),
        key: relation.key.map_or(Vec::new(), |key| key.iter().map(|column| column.value.clone()).collect()),
        staging: relation.staging.as_ref().map(|(_, name)| name.clone()),
        filter: relation.staging.as_ref().and_then(|(_, name)| {
            let staged = catalog.stagings.iter().find(|staged| staged.name == *name);
            staged.and_then(|staged| staged.filter.clone())
        }),
        columns,
        lookups,
        kind: kind(relation, report),
    }
}

/// How values of before are called now, of a column of an enumerated type.
pub(super) fn renamed(data_type: &DataType, catalog: &Catalog<'_>) -> BTreeMap<String, String> {
    match data_type {
        DataType::Enum(name) => {
            let own = catalog.enums().iter().find(|own| own.name == *name);
            own.map_or_else(BTreeMap::new, |own| own.renamed.clone())
        }
        DataType::Array(element) => renamed(element, catalog),
        DataType::BuiltIn(_) => BTreeMap::new(),
    }
}

/// A key is found by what has landed.
fn check_renamed_keys(relation: &Relation<'_>, columns: &[Column], report: &mut Report<'_>) {
    for key in relation.key.iter().flat_map(|key| key.iter()) {
        if columns.iter().any(|column| column.name == key.value && !column.renamed.is_empty()) {
            let place = report.at(&key.span);
            let message = format!("`{}` is of a type whose values were renamed", key.value);
            report.push(
                Finding::new(Code::UnfitKey, message, place)
                    .label("a key is found by what has landed, which says the value of before")
                    .help("let the column be `text`"),
            );
        }
    }
}

fn kind(relation: &Relation<'_>, report: &mut Report<'_>) -> SilverKind {
    let (origin, writes, (overlaps, closed)) = match relation.section {
        Section::Lookup => (Origin::Lookup, Writes::Loader, (Overlaps::Unmade, Closed::Together)),
        Section::Dimension { writes, written } => {
            (Origin::Declared, writes, versions::lower(relation, written, report))
        }
        Section::Fact { partition } => return SilverKind::Fact(fact(relation, partition, report)),
    };
    SilverKind::Dimension(Dimension {
        row_hash: ROW_HASH.to_owned(),
        start: SYS_START.to_owned(),
        end: SYS_END.to_owned(),
        current_view: relation.current_view.clone().unwrap_or_else(|| relation.table.clone()),
        origin,
        writes,
        overlaps,
        closed,
        surrogate: dress::surrogate(relation, report),
    })
}

fn fact(relation: &Relation<'_>, partition: Option<&At<spec::Partition>>, report: &mut Report<'_>) -> Fact {
    let by = partition.and_then(|partition| partition.by.as_ref());
    if let Some(by) = by
        && let Some(column) = column_use::own_column(by, relation, "to partition by", report)
    {
        let name = &by.value;
        if let Some(data_type) = &column.data_type
            && !type_name::is_time(data_type)
        {
            let place = report.at(&by.span);
            let message = format!("`{}` cannot be partitioned by `{name}`", relation.declared.value);
            let is = format!("is {}", type_name::said(data_type));
            report.push(
                Finding::new(Code::UnfitType, message, place)
                    .label(is)
                    .help("a partition holds a stretch of time: take a date or a timestamp"),
            );
        } else if column.nullability == crate::model::Nullability::Nullable {
            let place = report.at(&by.span);
            let message = format!("`{}` cannot be partitioned by `{name}`", relation.declared.value);
            report.push(
                Finding::new(Code::UnfitNull, message, place)
                    .label("takes NULL")
                    .help("take a time that each row has; rows without one make a `[[dimension]]`"),
            );
        }
    }
    let every = partition.and_then(|partition| partition.every.as_ref());
    Fact {
        snapshot: SNAPSHOT.to_owned(),
        partition_by: by.map_or(String::new(), |by| by.value.clone()),
        partition_every: every.map_or(Unit::Month, |every| unit(every.value)),
        archive: Name::new(TOOL_SCHEMA, format!("{}_history", relation.declared.value)),
    }
}

/// The landing table that feeds a relation: its own, a declared one, a staging view's, or a lookup's.
fn feed(relation: &Relation<'_>, catalog: &Catalog<'_>, report: &mut Report<'_>) -> Option<Name> {
    if let Some((feed, _)) = &relation.staging {
        return Some(feed.clone());
    }
    let from = match relation.section {
        Section::Lookup => relation.declared,
        Section::Dimension { .. } | Section::Fact { .. } => relation.from?,
    };
    if let Some(landing) = catalog.landings.iter().find(|landing| landing.declared == from) {
        return Some(landing.name.clone());
    }
    let place = report.at(&from.span);
    if catalog.relation(from).is_some() {
        let message = format!("`{}` is no landing table and no lookup", from.value);
        report.push(
            Finding::new(Code::WrongRelation, message, place)
                .label(format!("`{}` cannot be fed by it", relation.declared.value)),
        );
        return None;
    }
    let known = catalog.landings.iter().map(|landing| landing.declared.value.as_str());
    let known = known.chain(catalog.stagings.iter().map(|staged| staged.declared.value.as_str()));
    let finding = Finding::new(Code::UnknownRelation, format!("there is no `{}`", from.value), place)
        .label("neither a landing table nor a lookup")
        .did_you_mean(from, known);
    report.push_absent(finding, catalog.all_named);
    None
}

/// The most columns of a key. An index takes 32, `INDEX_MAX_KEYS` in the manual under "Limits", and beside a key there
/// stand a time and a position.
const MOST_OF_A_KEY: usize = 29;

/// A key is indexed.
pub(super) fn check_key_width(key: &At<Vec<At<String>>>, owner: &str, report: &mut Report<'_>) {
    if key.len() > MOST_OF_A_KEY {
        let message = format!("the key of `{owner}` is too wide");
        let finding = Finding::new(Code::UnfitKey, message, report.at(&key.span));
        let label = format!("{} columns, and an index has place for {MOST_OF_A_KEY}", key.len());
        report.push(finding.label(label).help("let the source make one column of them, or leave some out"));
    }
}

fn check_key(relation: &Relation<'_>, report: &mut Report<'_>) {
    let Some(key) = relation.key else { return };
    check_key_width(key, &relation.declared.value, report);
    let owner = &relation.declared.value;
    if key.is_empty() && relation.complete {
        let place = report.at(&key.span);
        report.push(
            Finding::new(Code::UnfitKey, format!("`{owner}` has an empty key"), place)
                .label("the columns that tell rows apart"),
        );
    }
    for (index, name) in key.iter().enumerate() {
        if let Some(first) = key[..index].iter().find(|earlier| *earlier == name) {
            let place = report.at(&name.span);
            let message = format!("`{}` is in the key twice", name.value);
            let first = report.at(&first.span);
            report.push(Finding::new(Code::UnfitKey, message, place).also(first, "the first one"));
            continue;
        }
        let Some(column) = column_use::own_column(name, relation, "to be the key", report) else { continue };
        let place = report.at(&name.span);
        let declared = report.at(&column.name.span);
        let is_computed =
            matches!(&column.taken, Some(taken) if matches!(taken.from, ColumnFrom::Computed(_)));
        let problem = if column.nullability == crate::model::Nullability::Nullable {
            Some((Code::UnfitNull, "takes NULL".to_owned()))
        } else if is_computed {
            Some((Code::UnfitKey, "is computed, and what identifies a row is a field of it".to_owned()))
        } else if column.written.from.as_ref().is_some_and(|from| from.contains('.')) {
            Some((Code::UnfitKey, "is looked up, and what identifies a row is its own".to_owned()))
        } else {
            let unordered = column.data_type.as_ref().filter(|data_type| !type_name::is_ordered(data_type));
            unordered.map(|data_type| {
                (Code::UnfitType, format!("is {}, which has no order", type_name::said(data_type)))
            })
        };
        if let Some((code, problem)) = problem {
            let message = format!("`{}` cannot be in the key of `{owner}`", name.value);
            report.push(Finding::new(code, message, place).label(problem).also(declared, "declared here"));
        }
    }
}

fn tracking(
    column: &super::relation::Column<'_>,
    relation: &Relation<'_>,
    report: &mut Report<'_>,
) -> Tracking {
    if column.written.change.is_some() {
        return dress::tracking(column);
    }
    let Some(tracked) = &column.written.tracked else { return Tracking::Tracked };
    let name = &column.name.value;
    let place = report.at(&tracked.span);
    if relation.is_fact() {
        let message = format!("`{name}` cannot be tracked or not: `{}` is a fact", relation.declared.value);
        report.push(
            Finding::new(Code::KeysDisagree, message, place)
                .label("versions are made by dimensions")
                .help("leave `tracked` out"),
        );
    } else if !tracked.value && relation.key.is_some_and(|key| key.iter().any(|key| key == column.name)) {
        let message = format!("`{name}` is in the key and cannot be untracked");
        report.push(Finding::new(Code::UnfitKey, message, place).help("leave `tracked` out"));
    }
    if tracked.value { Tracking::Tracked } else { Tracking::Untracked }
}

/// Which relations each one looks up.
fn needs(catalog: &Catalog<'_>) -> BTreeMap<String, BTreeSet<String>> {
    let mut needs = BTreeMap::<String, BTreeSet<String>>::new();
    for relation in &catalog.relations {
        let entry = needs.entry(relation.declared.value.clone()).or_default();
        let relations = relation.lookups.iter().filter_map(|lookup| lookup.relation.as_ref());
        entry.extend(relations.map(|name| name.value.clone()));
    }
    needs
}

fn report_cycle(cycle: &[String], catalog: &Catalog<'_>, report: &mut Report<'_>) {
    let next = |index: usize| &cycle[(index + 1) % cycle.len()];
    let steps = cycle.iter().enumerate().filter_map(|(index, name)| {
        let lookups = catalog.relation(name)?.lookups;
        let step = lookups.iter().filter_map(|lookup| lookup.relation.as_ref());
        step.into_iter().find(|relation| relation.value == *next(index)).map(|step| (name, step))
    });
    let steps = steps.collect::<Vec<_>>();
    let Some(((name, first), rest)) = steps.split_first() else { return };
    let message = match cycle {
        [only] => format!("`{only}` looks itself up"),
        cycle => format!("relations look each other up: {}", order::ring(cycle)),
    };
    let mut finding = Finding::new(Code::RelationCycle, message, report.at(&first.span))
        .label(format!("`{name}` looks up `{}`", first.value));
    for (name, step) in rest {
        finding = finding.also(report.at(&step.span), format!("`{name}` looks up `{}`", step.value));
    }
    report.push(match cycle {
        // Its versions would follow from themselves; those of another relation over the same rows do not.
        [_] => finding.help("declare a `[[lookup]]` with the same `from`, and look that one up"),
        _ => finding.help("one of them has to stand without the other"),
    });
}
