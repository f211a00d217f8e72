//! How a database differs from what its migrations have made, in words and as SQL that brings it back. What others
//! keep in schemas of their own is their business; what comes and goes at run time is none.

use std::collections::BTreeSet;

use similar::{ChangeTag, TextDiff};

use super::catalog::{Catalog, Object};

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Drift {
    /// What is different.
    pub(super) said: String,
    /// What brings it back.
    pub(super) sql: Vec<String>,
}

/// What is made together with the table or the column that it belongs to.
const MADE_ALONG: [&str; 3] = ["column", "default", "not null"];

/// What cannot be taken away or made anew without what it holds.
const HOLDING: [&str; 4] = ["table", "column", "type", "sequence"];

/// The differences between what the migrations have made and what is there: what is too much first, then what is
/// missing or another, each in an order in which SQL can follow it.
pub(super) fn between(wanted: &Catalog, there: &Catalog) -> Vec<Drift> {
    let schemas: BTreeSet<&str> =
        wanted.values().filter(|one| one.kind == "schema").map(|one| one.name.as_str()).collect();
    let is_ours = |object: &Object| match object.kind.as_str() {
        "schema" => false,
        "comment on" | "grant of" => true,
        _ => schemas
            .iter()
            .any(|schema| object.name.strip_prefix(schema).is_some_and(|rest| rest.starts_with('.'))),
    };
    let within = |object: &&Object, all: &Catalog, other: &Catalog| {
        object.of.as_ref().is_some_and(|of| all.contains_key(of) && !other.contains_key(of))
    };

    let mut extra: Vec<&Object> = there
        .values()
        .filter(|one| !wanted.contains_key(&one.key()) && !one.passing)
        .filter(|one| is_ours(one) && belongs(one, there, &is_ours))
        .filter(|one| !within(one, there, wanted))
        .collect();
    extra.sort_by_key(|one| (rank(one), std::cmp::Reverse(one.ordinal), &one.name));
    let mut drifts: Vec<Drift> = extra.into_iter().map(superfluous).collect();

    let mut lacking: Vec<&Object> = wanted
        .values()
        .filter(|one| !there.contains_key(&one.key()))
        // An identity's sequence comes with its column.
        .filter(|one| one.kind != "sequence" || !one.passing)
        .collect();
    lacking.sort_by_key(|one| (std::cmp::Reverse(rank(one)), one.ordinal, &one.name));
    for object in lacking.iter().filter(|one| !within(one, wanted, there)) {
        let mut sql = Vec::new();
        collect(object, &lacking, &mut sql);
        drifts.push(Drift { said: format!("{} is missing", object.key()), sql });
    }
    for (key, wanted) in wanted {
        if let Some(there) = there.get(key).filter(|there| there.says != wanted.says) {
            drifts.push(changed(wanted, there));
        }
    }
    drifts
}

/// Whether what something belongs to is ours.
fn belongs(object: &Object, all: &Catalog, is_ours: &impl Fn(&Object) -> bool) -> bool {
    match &object.of {
        None => true,
        Some(of) => all.get(of).is_some_and(|one| one.kind == "schema" || (is_ours(one) && !one.passing)),
    }
}

fn superfluous(object: &Object) -> Drift {
    let holds = HOLDING.contains(&object.kind.as_str());
    let sql = object
        .unmake
        .iter()
        .map(|sql| if holds { format!("-- What it holds goes with it: {sql}") } else { sql.clone() });
    Drift { said: format!("{} is there, and no migration has made it", object.key()), sql: sql.collect() }
}

/// What makes an object, and what belongs to it that is missing with it.
fn collect(object: &Object, lacking: &[&Object], sql: &mut Vec<String>) {
    sql.extend(object.make.clone());
    let key = object.key();
    let open = format!("EXECUTE ON FUNCTION {} TO PUBLIC", object.name);
    if object.kind == "function" && lacking.iter().all(|one| one.name != open) {
        sql.push(format!("REVOKE ALL ON FUNCTION {} FROM PUBLIC;", object.name));
    }
    for part in lacking.iter().filter(|part| part.of.as_ref() == Some(&key)) {
        if MADE_ALONG.contains(&part.kind.as_str()) {
            let parts = lacking.iter().filter(|one| one.of.as_ref() == Some(&part.key()));
            sql.extend(
                parts
                    .filter(|one| !MADE_ALONG.contains(&one.kind.as_str()))
                    .filter_map(|one| one.make.clone()),
            );
        } else {
            collect(part, lacking, sql);
        }
    }
}

fn changed(wanted: &Object, there: &Object) -> Drift {
    let (after, before) = (wanted.says.as_deref().unwrap_or(""), there.says.as_deref().unwrap_or(""));
    let said = if after.contains('\n') || before.contains('\n') {
        let diff = TextDiff::from_lines(after, before);
        let lines = diff.iter_all_changes().filter_map(|change| match change.tag() {
            ChangeTag::Equal => None,
            ChangeTag::Delete => Some(format!("\n  - {}", change.value().trim_end())),
            ChangeTag::Insert => Some(format!("\n  + {}", change.value().trim_end())),
        });
        format!("{} is another one:{}", wanted.key(), lines.collect::<String>())
    } else {
        format!("{} is `{before}`, and should be `{after}`", wanted.key())
    };
    let holds = ["table", "type", "sequence"].contains(&wanted.kind.as_str());
    let sql = match &wanted.turn {
        Some(sql) => vec![sql.clone()],
        None if holds => {
            vec![format!("-- {} holds rows, or stands in them: bring it back by hand.", wanted.key())]
        }
        None => there.unmake.iter().chain(&wanted.make).cloned().collect(),
    };
    Drift { said, sql }
}

/// What goes earlier, and is made later.
fn rank(object: &Object) -> usize {
    const ORDER: [&str; 16] = [
        "grant of",
        "comment on",
        "state of trigger",
        "trigger",
        "view",
        "materialized view",
        "function",
        "index",
        "constraint",
        "setting",
        "default",
        "not null",
        "column",
        "table",
        "sequence",
        "type",
    ];
    ORDER.iter().position(|kind| *kind == object.kind).unwrap_or(ORDER.len())
}
