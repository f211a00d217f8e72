//! The law of changes upon changes: whatever their order, every state is what a fresh install is, and the whole way
//! leads back.

use std::sync::atomic::{AtomicUsize, Ordering};

use medallion::emit::{self, Unable};
use medallion::finding::SourceText;
use medallion::model;
use proptest::prelude::*;
use proptest::test_runner::Config;

use super::catalog::{catalog, psql, try_psql};
use super::changes::{CHANGES, Edit};
use super::{ROWS, cases, change, database, edited, fresh, migration, past, runner, same, workspace};

/// Changes upon changes, in any order: every state is reached from the one before, and the whole way leads back.
#[test]
fn any_chain_leads_where_a_fresh_install_does() {
    let mut runner = runner(Config { cases: cases(5), failure_persistence: None, ..Config::default() });
    let order = Just((1..CHANGES.len()).collect::<Vec<usize>>()).prop_shuffle();
    runner
        .run(&(order, 2..7_usize), |(order, length)| {
            let order: Vec<&str> = order.iter().map(|number| CHANGES[*number].0).collect();
            chain(&order, length).map_err(TestCaseError::fail)
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

fn chain(order: &[&str], length: usize) -> Result<(), String> {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let (migrated, new) = (database(&format!("chained_{number}")), database(&format!("unchained_{number}")));
    let mut text = edited(&[]).spec.text().to_owned();
    let mut files = fresh(&[]);
    psql(&migrated, &migration(&files, 1, "up.sql"));
    psql(&migrated, ROWS);
    let mut catalogs = vec![catalog(&migrated)];
    let mut way = Vec::new();
    for what in order {
        if way.len() == length {
            break;
        }
        let Some(next) = applied(&text, change(what)) else { continue };
        let mut spec = edited(&[]);
        spec.spec = SourceText::new(spec.spec.path(), next.clone());
        // Two changes that go together with no third, as a name that both take, make no spec.
        let Ok(warehouse) = model::load(&spec) else { continue };
        let context = |error: String| format!("{way:?}, then {what}: {error}");
        let after = match emit::evolve(&warehouse, &workspace(), &past(&files)) {
            Err(Unable::Undecided(_)) => continue,
            after => after.map_err(|error| context(format!("{error:?}")))?,
        };
        if past(&after).lock.migrations.len() == past(&files).lock.migrations.len() {
            continue;
        }
        let (first, last) = (catalogs.len() + 1, past(&after).lock.migrations.len());
        let up = migration(&after, first, "up.sql");
        // What a row holds may not fit: then nothing has happened.
        match try_psql(&migrated, &up) {
            Err(error) if error.contains("invalid input value for enum") => continue,
            done => done.map_err(|error| context(format!("{error}\n{up}")))?,
        };
        catalogs.push(catalog(&migrated));
        for number in first + 1..=last {
            let beside = migration(&after, number, "up.sql");
            try_psql(&migrated, &beside).map_err(|error| context(format!("{error}\n{beside}")))?;
            catalogs.push(catalog(&migrated));
        }
        way.push(*what);
        (text, files) = (next, after);
        let squashed = emit::squash(&warehouse, &workspace(), &past(&files));
        psql(
            &new,
            "DROP SCHEMA IF EXISTS as_of, bronze, silver, gold, raw, refined, medallion CASCADE; CREATE SCHEMA medallion",
        );
        psql(&new, &migration(&squashed, 1, "up.sql"));
        same(&catalog(&new), &catalogs[catalogs.len() - 1], &up)
            .map_err(|error| format!("{way:?}: {error}"))?;
    }
    while catalogs.len() > 1 {
        let down = migration(&files, catalogs.len(), "down.sql");
        catalogs.pop();
        try_psql(&migrated, &down).map_err(|error| format!("{way:?}, back: {error}\n{down}"))?;
        same(&catalogs[catalogs.len() - 1], &catalog(&migrated), &down)
            .map_err(|error| format!("{way:?}, back to {}: {error}", catalogs.len()))?;
    }
    Ok(())
}

/// The text with edits, where each finds what it replaces.
fn applied(text: &str, edits: &[Edit]) -> Option<String> {
    edits.iter().try_fold(text.to_owned(), |text, (before, after)| {
        text.contains(before).then(|| text.replacen(before, after, 1))
    })
}
