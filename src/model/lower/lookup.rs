//! What a silver relation looks up: that it is there, that its key is met, in an order in which a lookup
//! comes after those whose columns it needs. Knows no mart.

use std::collections::{BTreeMap, BTreeSet};

use super::catalog::Catalog;
use super::column_use::own_column;
use super::names::{self, Namespace};
use super::order;
use super::relation::Relation;
use super::report::Report;
use super::type_name;
use crate::finding::{Code, Finding};
use crate::model::{Lookup, LookupTime};
use crate::spec::{At, LookedUp};

pub(super) fn lower(relation: &Relation<'_>, catalog: &Catalog<'_>, report: &mut Report<'_>) -> Vec<Lookup> {
    let mut aliases = Namespace::default();
    let mut lowered = BTreeMap::new();
    for lookup in relation.lookups {
        let Some(alias) = &lookup.name else { continue };
        if names::check(alias, "the lookup", report) {
            aliases.declare(alias, "a lookup", report);
            check_alias(alias, "a lookup", report);
        }
        if let Some(one) = one(alias, lookup, relation, catalog, report) {
            lowered.entry(alias.value.clone()).or_insert(one);
        }
    }
    let ordered = order::order(&needs(relation));
    for cycle in &ordered.cycles {
        report_cycle(cycle, relation, report);
    }
    ordered.names.iter().filter_map(|name| lowered.remove(name)).collect()
}

/// A dot would end the alias where columns refer to it.
pub(super) fn check_alias(alias: &At<String>, what: &str, report: &mut Report<'_>) {
    if alias.contains('.') {
        let place = report.at(&alias.span);
        let message = format!("`{}` cannot be the name of {what}", alias.value);
        report.push(Finding::new(Code::InvalidName, message, place).label("a name without a dot"));
    }
}

/// One relation that others are looked up in, or joined to.
pub(super) fn one(
    alias: &At<String>,
    lookup: &LookedUp,
    relation: &Relation<'_>,
    catalog: &Catalog<'_>,
    report: &mut Report<'_>,
) -> Option<Lookup> {
    let target = target(lookup, catalog, report);
    let own = lookup.on.iter().flat_map(|on| &on.value);
    let own = own.map(|name| (name, own_column(name, relation, "to look up by", report))).collect::<Vec<_>>();
    let at = lookup.at.as_ref().map(|at| (at, own_column(at, relation, "to tell the version by", report)));
    if let Some((at, Some(column))) = &at
        && let Some(data_type) = &column.data_type
        && !type_name::is_time(data_type)
    {
        let place = report.at(&at.span);
        let message = format!("`{}` tells no version", at.value);
        report.push(
            Finding::new(Code::UnfitType, message, place)
                .label(format!("is {}", type_name::said(data_type)))
                .help("take a date or a timestamp"),
        );
    }
    let target = target?;
    if let Some((at, _)) = &at
        && target.is_fact()
    {
        let place = report.at(&at.span);
        let message = format!("`{}` is a fact, and keeps no versions to choose from", target.declared.value);
        report.push(Finding::new(Code::UnfitLookup, message, place).help("leave `at` out"));
    }
    let key = target.key?;
    let on = lookup.on.as_ref()?;
    if on.len() != key.len() && target.complete && relation.complete {
        let place = report.at(&on.span);
        let columns = key.iter().map(|column| format!("`{}`", column.value)).collect::<Vec<_>>().join(", ");
        let message = format!("`{}` does not give the key of `{}`", alias.value, target.declared.value);
        report.push(
            Finding::new(Code::UnfitLookup, message, place)
                .label(format!("names {}, and the key has {}", on.len(), key.len()))
                .help(format!("its key is {columns}, in this order")),
        );
    }
    for ((name, column), there) in own.iter().zip(&key.value) {
        let here = column.and_then(|column| column.data_type.as_ref());
        let there_type = target.column(there).and_then(|column| column.data_type.as_ref());
        if let (Some(here), Some(there_type)) = (here, there_type)
            && !type_name::agree(here, there_type)
        {
            let place = report.at(&name.span);
            let message = format!(
                "`{}` is {}, and `{}` of `{}` is {}",
                name.value,
                type_name::said(here),
                there.value,
                target.declared.value,
                type_name::said(there_type),
            );
            report.push(Finding::new(Code::UnfitType, message, place).label("the types have to agree"));
        }
    }
    Some(Lookup {
        alias: alias.value.clone(),
        relation: target.table.clone(),
        on: on.iter().zip(&key.value).map(|(own, key)| (own.value.clone(), key.value.clone())).collect(),
        at: lookup.at.as_ref().map_or(LookupTime::SystemTime, |at| LookupTime::OwnTime(at.value.clone())),
    })
}

fn target<'c, 'a>(
    lookup: &LookedUp,
    catalog: &'c Catalog<'a>,
    report: &mut Report<'_>,
) -> Option<&'c Relation<'a>> {
    let name = lookup.relation.as_ref()?;
    if let Some(target) = catalog.relation(name) {
        return Some(target);
    }
    let place = report.at(&name.span);
    if catalog.landings.iter().any(|landing| landing.declared == name) {
        let message = format!("`{}` is a landing table, and nothing is looked up there", name.value);
        report.push(
            Finding::new(Code::WrongRelation, message, place)
                .help("look up a dimension, a fact or a `[[lookup]]`"),
        );
        return None;
    }
    let finding =
        Finding::new(Code::UnknownRelation, format!("there is no `{}` to look up", name.value), place)
            .label("no lookup, dimension or fact")
            .did_you_mean(name, catalog.relations.iter().map(|known| known.declared.value.as_str()));
    report.push_absent(finding, catalog.all_named);
    None
}

/// Which lookups each one needs: those that its own columns come from.
fn needs(relation: &Relation<'_>) -> BTreeMap<String, BTreeSet<String>> {
    let mut needs = BTreeMap::<String, BTreeSet<String>>::new();
    for lookup in relation.lookups {
        let Some(alias) = &lookup.name else { continue };
        let own = lookup.on.iter().flat_map(|on| &on.value).chain(&lookup.at);
        let from = own.filter_map(|name| relation.column(name)?.written.from.as_ref()?.split_once('.'));
        needs.entry(alias.value.clone()).or_default().extend(from.map(|(needed, _)| needed.to_owned()));
    }
    needs
}

fn report_cycle(cycle: &[String], relation: &Relation<'_>, report: &mut Report<'_>) {
    let aliases = || relation.lookups.iter().filter_map(|lookup| lookup.name.as_ref());
    let Some(first) = aliases().find(|alias| cycle.first() == Some(&alias.value)) else { return };
    let message = match cycle {
        [only] => format!("lookup `{only}` needs its own columns"),
        cycle => format!("lookups need each other's columns: {}", order::ring(cycle)),
    };
    let place = report.at(&first.span);
    report.push(
        Finding::new(Code::LookupCycle, message, place)
            .help(format!("one of them has to start from fields of `{}`", relation.declared.value)),
    );
}
