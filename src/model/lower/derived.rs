//! Measures that are made of a mart's other columns: in which order they are made, and how far a change of one row
//! reaches through their windows. Knows the mart and no relation.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use sqlparser::ast::{Expr, visit_expressions};

use super::report::Report;
use super::{order, sql, window};
use crate::finding::{Code, Finding};
use crate::model::Reach;
use crate::spec::At;

/// A measure that is made of others.
pub(super) struct Derived<'a> {
    pub name: &'a At<String>,
    pub text: String,
    pub tree: Expr,
}

/// The columns that an expression names.
pub(super) fn named(tree: &Expr) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let _ = visit_expressions(tree, |expression| {
        names.extend(match expression {
            Expr::Identifier(ident) => Some(sql::meant(ident)),
            Expr::CompoundIdentifier(parts) => parts.last().map(sql::meant),
            _ => None,
        });
        ControlFlow::<()>::Continue(())
    });
    names
}

/// The measures, by name and SQL, each list after those that it reads; findings where that cannot be.
pub(super) fn layers(all: &[Derived<'_>], report: &mut Report<'_>) -> Vec<Vec<(String, String)>> {
    let known: BTreeSet<&str> = all.iter().map(|one| one.name.value.as_str()).collect();
    let needs: BTreeMap<String, BTreeSet<String>> = all
        .iter()
        .map(|one| {
            let named = named(&one.tree).into_iter().filter(|name| known.contains(name.as_str()));
            (one.name.value.clone(), named.collect())
        })
        .collect();
    let ordered = order::order(&needs);
    for cycle in &ordered.cycles {
        let Some(first) = all.iter().find(|one| cycle.first() == Some(&one.name.value)) else { continue };
        let message = match cycle.as_slice() {
            [only] => format!("`{only}` is made of itself"),
            cycle => format!("measures are made of each other: {}", order::ring(cycle)),
        };
        let place = report.at(&first.name.span);
        report.push(Finding::new(Code::RelationCycle, message, place));
    }
    let mut depths: BTreeMap<&str, usize> = BTreeMap::new();
    let mut layers: Vec<Vec<(String, String)>> = Vec::new();
    for name in &ordered.names {
        let Some(one) = all.iter().find(|one| one.name.value == *name) else { continue };
        let before = needs[name].iter().filter_map(|need| depths.get(need.as_str()));
        let depth = before.map(|depth| depth + 1).max().unwrap_or_default();
        depths.insert(&one.name.value, depth);
        if layers.len() <= depth {
            layers.resize(depth + 1, Vec::new());
        }
        layers[depth].push((name.clone(), one.text.clone()));
    }
    layers
}

/// How far a change of a row reaches: to the rows that all windows take together with it.
pub(super) fn reach(all: &[Derived<'_>], grain: &[&str]) -> Reach {
    let mut windows = all.iter().flat_map(|one| window::partitions(&one.tree)).peekable();
    if windows.peek().is_none() {
        return Reach::Row;
    }
    let mut shared: BTreeSet<String> = grain.iter().map(|&column| column.to_owned()).collect();
    for window in windows {
        shared = shared.intersection(&window).cloned().collect();
    }
    let shared: Vec<String> =
        grain.iter().filter(|column| shared.contains(**column)).map(|&column| column.to_owned()).collect();
    if shared.len() == grain.len() { Reach::Row } else { Reach::Rows(shared) }
}
