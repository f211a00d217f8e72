//! What is joined to a declared mart's sources: by its whole key, so that a row finds one row there at most. Knows no
//! grain and no measure.

use super::declared::Source;
use super::mart::Draft;
use super::report::Report;
use super::scope::{Readable, Scope};
use super::{names, type_name};
use crate::finding::{Code, Finding};
use crate::model::{DataType, MartJoin, Nullability, Without};
use crate::spec::{self, At};

/// A relation that is joined to a source.
pub(super) struct Joined<'a> {
    pub alias: &'a At<String>,
    /// As it can be read from the source's rows: with NULL where there may be none.
    pub relation: Readable,
    pub on: Vec<((String, String), String)>,
    pub without: Without,
}

impl Joined<'_> {
    pub fn lower(&self) -> MartJoin {
        MartJoin {
            alias: self.alias.value.clone(),
            relation: self.relation.read.name.clone(),
            on: self.on.clone(),
            without: self.without,
        }
    }
}

/// Adds to each source what is joined to it.
pub(super) fn lower<'a>(
    draft: &Draft<'a>,
    sources: &mut [Source<'a>],
    scope: &'a Scope,
    report: &mut Report<'_>,
) {
    for joined in &draft.spec.joins {
        let (Some(alias), Some(name)) = (&joined.name, &joined.relation) else { continue };
        names::check(alias, "the alias", report);
        let taken = sources.iter().any(|source| {
            source.alias.value == alias.value || source.joins.iter().any(|one| one.alias.value == alias.value)
        });
        if taken {
            let place = report.at(&alias.span);
            let message = format!("`{}` is an alias already", alias.value);
            report.push(Finding::new(Code::DuplicateName, message, place).label("give it another name"));
            continue;
        }
        let Some(relation) = find(name, scope, report) else { continue };
        let Some(to) = source(draft, joined, sources, report) else { continue };
        let without = match &joined.required {
            Some(required) if required.value => Without::LeftOut,
            Some(_) | None => Without::Kept,
        };
        let on = match &joined.on {
            Some(on) => pairs(on, alias, relation, &sources[to], report),
            None => continue,
        };
        let mut relation = relation.clone();
        if without == Without::Kept {
            for column in &mut relation.columns {
                column.nullability = Nullability::Nullable;
            }
        }
        sources[to].joins.push(Joined { alias, relation, on, without });
    }
}

fn find<'s>(name: &At<String>, scope: &'s Scope, report: &mut Report<'_>) -> Option<&'s Readable> {
    let place = report.at(&name.span);
    let Some(relation) = scope.find(None, name) else {
        if let Some(finding) = scope.refused(name, place.clone()) {
            report.push(finding);
            return None;
        }
        let message = format!("there is no `{}` to join", name.value);
        let finding = Finding::new(Code::UnknownRelation, message, place)
            .label("no fact, dimension, view, lookup or mart")
            .did_you_mean(name, scope.names());
        report.push_absent(finding, scope.all_named);
        return None;
    };
    if relation.history {
        let message = format!("`{}` has the versions of a row", name.value);
        let current = scope
            .readables
            .values()
            .find(|other| other.read.stored == relation.read.stored && other.read.name != relation.read.name);
        let finding = Finding::new(Code::WrongRelation, message, place)
            .label("a join is by the key, of which it has many rows");
        report.push(match current {
            Some(current) => finding.help(format!("join the current rows: `{}`", current.read.name.name)),
            None => finding,
        });
        return None;
    }
    Some(relation)
}

/// The source that it is joined to.
fn source(
    draft: &Draft<'_>,
    joined: &At<spec::Joined>,
    sources: &[Source<'_>],
    report: &mut Report<'_>,
) -> Option<usize> {
    match (&joined.to, sources) {
        (Some(to), _) => {
            let found = sources.iter().position(|source| source.alias.value == to.value);
            if found.is_none() {
                let place = report.at(&to.span);
                let message = format!("`{}` reads nothing by the name of `{}`", draft.name.value, to.value);
                let finding = Finding::new(Code::UnknownInMart, message, place)
                    .label("not an alias of its `from`")
                    .did_you_mean(to, sources.iter().map(|source| source.alias.value.as_str()));
                report.push_absent(finding, draft.complete);
            }
            found
        }
        (None, [_]) => Some(0),
        (None, []) => None,
        (None, _) => {
            let place = report.at(&joined.span);
            let message = "a join of several sources says which one it is of";
            report.push(Finding::new(Code::KeysDisagree, message, place).help("add `to = \"…\"`"));
            None
        }
    }
}

/// What is joined before, an alias and a column, with the key's columns.
fn pairs(
    on: &At<Vec<At<String>>>,
    alias: &At<String>,
    relation: &Readable,
    source: &Source<'_>,
    report: &mut Report<'_>,
) -> Vec<((String, String), String)> {
    if relation.complete && on.len() != relation.key.len() {
        let place = report.at(&on.span);
        let key = relation.key.iter().map(|column| format!("`{column}`")).collect::<Vec<_>>().join(", ");
        let message = format!("`{}` is joined by its whole key", alias.value);
        report.push(
            Finding::new(Code::UnfitLookup, message, place)
                .label(format!("the key of `{}` is {key}", relation.read.name.name)),
        );
        return Vec::new();
    }
    let mut pairs = Vec::new();
    for (written, key) in on.iter().zip(&relation.key) {
        let (of, name) = written.split_once('.').unwrap_or((source.alias.value.as_str(), written));
        let start = written.len() - name.len();
        let known = source.relations().find(|(alias, _)| *alias == of);
        let Some((of, readable)) = known else {
            let place = report.within(written, 0..of.len());
            let message = format!("`{of}` is not joined before `{}`", alias.value);
            report.push(
                Finding::new(Code::UnknownInMart, message, place)
                    .label("neither the source nor one that stands before it"),
            );
            continue;
        };
        let Some(column) = readable.column(name) else {
            let place = report.within(written, start..written.len());
            let owner = &readable.read.name.name;
            let message = format!("`{owner}` has no column `{name}` to join by");
            let finding = Finding::new(Code::UnknownInMart, message, place)
                .label(format!("not a column of `{owner}`"))
                .did_you_mean(name, readable.names());
            report.push_absent(finding, readable.complete);
            continue;
        };
        let there = relation.column(key).and_then(|column| column.data_type.as_ref());
        if let (Some(here), Some(there)) = (&column.data_type, there)
            && !comparable(here, there)
        {
            let place = report.within(written, start..written.len());
            let (here, there) = (type_name::said(here), type_name::said(there));
            let message =
                format!("`{name}` is {here}, and `{key}` of `{}` is {there}", relation.read.name.name);
            report.push(Finding::new(Code::UnfitType, message, place).label("they cannot be equal"));
        }
        pairs.push(((of.to_owned(), name.to_owned()), key.clone()));
    }
    pairs
}

fn comparable(one: &DataType, other: &DataType) -> bool {
    type_name::agree(one, other)
}
