//! What others' linters say of generated SQL: squawk of every migration, plpgsql_check of every function. A finding is
//! mended, or a comment says why it stands.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

#[path = "evolution/changes.rs"]
mod changes;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use medallion::cli::read;
use medallion::emit::{self, FileSet, Past, Workspace};
use medallion::finding::SourceText;
use medallion::model::{self, Warehouse};
use medallion::spec::Files;
use medallion_server::Server;
use squawk_linter::Linter;
use squawk_syntax::SourceFile;

/// Says that plpgsql_check has to be there: CI sets it.
const REQUIRED: &str = "MEDALLION_PLPGSQL_CHECK";

/// What plpgsql_check finds, and why it stands.
const STANDS: [(&str, &str); 1] = [(
    "refuse_closed(regclass,text) performance: routine is marked as VOLATILE, should be IMMUTABLE",
    "it does nothing but refuse, and an immutable function would do that when a statement is planned",
)];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The specs that the fixtures are made of, and those of this repository.
fn specs() -> Vec<PathBuf> {
    ["tests/cases/generate", "spec"]
        .iter()
        .flat_map(|folder| read::warehouses(&root().join(folder)).unwrap())
        .chain([root().join("tests/evolution/shop")])
        .collect()
}

fn warehouse(files: &Files) -> Warehouse {
    model::load(files)
        .unwrap_or_else(|findings| panic!("{}", findings.human(medallion::finding::Colour::Plain)))
}

fn workspace(warehouse: &Warehouse) -> Workspace {
    Workspace { warehouses: vec![warehouse.name.clone()], default: None }
}

/// A migration's name, and its SQL.
type Migration = (String, String);

/// The migrations of files, those of one number or later.
fn migrations(files: &FileSet, from: usize) -> Vec<Migration> {
    let ups = files.iter().filter(|(path, _)| path.ends_with("/up.sql"));
    let later = ups.filter(|(path, _)| !(1..from).any(|number| path.contains(&format!("/m{number:06}_"))));
    later.map(|(path, text)| (path.to_owned(), text.to_owned())).collect()
}

/// Every first migration, and one for each change that a spec can make.
fn every_migration() -> Vec<Migration> {
    let mut all = Vec::new();
    for spec in specs() {
        let warehouse = warehouse(&read::warehouse(&spec).unwrap());
        all.extend(migrations(&emit::emit(&warehouse, &workspace(&warehouse)), 1));
    }
    let shop = read::warehouse(&root().join("tests/evolution/shop")).unwrap();
    let model = warehouse(&shop);
    let before = emit::emit(&model, &workspace(&model));
    for (what, edits) in changes::CHANGES {
        let mut files = shop.clone();
        let text =
            edits.iter().fold(shop.spec.text().to_owned(), |text, (old, new)| text.replacen(old, new, 1));
        files.spec = SourceText::new(shop.spec.path(), text);
        let past = Past::left_by(&before, "shop").unwrap();
        // What no migration makes is told elsewhere.
        let Ok(after) = emit::evolve(&warehouse(&files), &workspace(&model), &past) else { continue };
        let made = migrations(&after, 2);
        assert!(made.len() == usize::from(!edits.is_empty()) || made.len() > 1, "{what}");
        all.extend(made.into_iter().map(|(path, text)| (format!("{what}: {path}"), text)));
    }
    all
}

/// What squawk finds, a line each.
fn squawk(name: &str, sql: &str) -> Vec<String> {
    let mut linter = Linter::with_default_rules();
    linter.settings.pg_version = "15".parse().unwrap();
    // One that builds indexes beside their readers cannot run in a transaction.
    linter.settings.assume_in_transaction = !sql.contains("INDEX CONCURRENTLY");
    let file = SourceFile::parse(sql);
    let mut found: Vec<String> =
        file.errors().iter().map(|error| format!("{name}: cannot be read: {}", error.message())).collect();
    for violation in linter.lint(&file, sql) {
        let start = usize::from(violation.text_range.start());
        let line = sql[..start].matches('\n').count() + 1;
        found.push(format!("{name}:{line}: {}: {}", violation.code, violation.message));
    }
    found
}

#[test]
fn every_migration_passes_squawk_or_says_why_not() {
    let all = every_migration();
    assert!(all.len() > 20, "{}", all.len());
    let found: Vec<String> = all.iter().flat_map(|(name, sql)| squawk(name, sql)).collect();
    assert!(found.is_empty(), "{} findings\n{}", found.len(), found.join("\n"));
    // Without the comments there is something to find: the linter does look.
    let bare =
        |sql: &str| sql.lines().filter(|line| !line.contains("squawk-ignore")).collect::<Vec<_>>().join("\n");
    let asked = all.iter().filter(|(name, sql)| !squawk(name, &bare(sql)).is_empty());
    assert!(asked.count() > 20);
    // Every reason is one that squawk takes for one.
    let reasons = all.iter().flat_map(|(_, sql)| sql.lines().filter(|line| line.contains("squawk-ignore")));
    assert!(reasons.clone().count() > 20 && reasons.clone().all(|line| line.contains(" -- ")));
}

/// What was committed is what is linted.
#[test]
fn the_committed_migrations_pass_squawk() {
    let mut folders = vec![root().join("migration/src")];
    let mut found = Vec::new();
    let mut count = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.ends_with("up.sql") {
                count += 1;
                found.extend(squawk(&path.display().to_string(), &fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(count > 0 && found.is_empty(), "{count} migrations\n{}", found.join("\n"));
}

#[test]
fn every_function_passes_plpgsql_check_or_is_known_not_to() {
    let server = Server::shared_scratch().unwrap();
    let run = |database: &str, sql: &str| server.script(database, sql).unwrap();
    server.ensure_database("checked").unwrap();
    if let Err(why) = run("checked", "CREATE EXTENSION plpgsql_check") {
        let is_required = std::env::var_os(REQUIRED).is_some_and(|value| !value.is_empty());
        assert!(!is_required, "{REQUIRED} is set, and plpgsql_check is not there: {why}");
        let bar = "!".repeat(78);
        // Not by a macro: the test harness would keep it to itself.
        let _ = writeln!(
            std::io::stderr().lock(),
            "\n{bar}\n!!! NOT TESTED: generated PL/pgSQL by plpgsql_check, which this server does not have.\n\
             !!! `scripts/plpgsql-check` installs it.\n{bar}\n"
        );
        return;
    }
    let mut found = Vec::new();
    let mut checked = 0;
    for (number, spec) in specs().into_iter().enumerate() {
        let warehouse = warehouse(&read::warehouse(&spec).unwrap());
        let database = format!("checked_{number}");
        server.ensure_database(&database).unwrap();
        let files = emit::emit(&warehouse, &workspace(&warehouse));
        for (_, up) in migrations(&files, 1) {
            let sql = format!("CREATE SCHEMA IF NOT EXISTS medallion; CREATE EXTENSION plpgsql_check; {up}");
            run(&database, &sql).unwrap_or_else(|error| panic!("{}: {error}", warehouse.name));
        }
        let count = "SELECT count(*) FROM pg_proc WHERE prolang = (SELECT oid FROM pg_language WHERE lanname = 'plpgsql')";
        checked += run(&database, count).unwrap().trim().parse::<usize>().unwrap();
        let said = run(&database, include_str!("lints/plpgsql.sql")).unwrap();
        let stands = |line: &str| STANDS.iter().any(|(known, _)| line.starts_with(known));
        found.extend(
            said.lines().filter(|line| !stands(line)).map(|line| format!("{}: {line}", warehouse.name)),
        );
        // What is known to stand has to be there, else nobody has looked.
        assert!(STANDS.iter().all(|(known, _)| said.contains(known)), "{}: {said}", warehouse.name);
        server.drop_database(&database).unwrap();
    }
    assert!(checked > 100 && found.is_empty(), "{checked} functions\n{}", found.join("\n"));
}
