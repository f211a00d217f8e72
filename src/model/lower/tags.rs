//! Words that relations are chosen by. Knows no relation: only their names, and what a word can be.

use std::collections::BTreeMap;

use super::report::Report;
use crate::finding::{Code, Finding};
use crate::spec::{self, At};

pub(super) fn lower(spec: &spec::Warehouse, report: &mut Report<'_>) -> BTreeMap<String, Vec<String>> {
    let landings = spec.landing.iter().map(|one| (&one.name, &one.tags));
    let lookups = spec.lookup.iter().map(|one| (&one.name, &one.tags));
    let dimensions = spec.dimension.iter().map(|one| (&one.name, &one.tags));
    let facts = spec.fact.iter().map(|one| (&one.name, &one.tags));
    let marts = spec.mart.iter().map(|one| (&one.name, &one.tags));
    let mut all = BTreeMap::new();
    for (name, written) in landings.chain(lookups).chain(dimensions).chain(facts).chain(marts) {
        let mut tags: Vec<String> = Vec::new();
        for tag in written {
            if is_word(tag, report) && !tags.contains(&tag.value) {
                tags.push(tag.value.clone());
            }
        }
        tags.sort();
        if let (Some(name), false) = (name, tags.is_empty()) {
            all.insert(name.value.clone(), tags);
        }
    }
    all
}

/// Whether a selection can say it; a finding where it cannot.
fn is_word(tag: &At<String>, report: &mut Report<'_>) -> bool {
    let is_plain = |character: char| character.is_alphanumeric() || matches!(character, '_' | '-' | '.');
    if !tag.is_empty() && tag.chars().all(is_plain) {
        return true;
    }
    report.push(
        Finding::new(Code::InvalidName, format!("`{}` is no tag", tag.value), report.at(&tag.span))
            .label("letters, digits, `_`, `-` and `.`, one at least"),
    );
    false
}
