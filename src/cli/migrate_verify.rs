//! `medallion migrate verify`: proves the migrations on scratch databases. What they make, first to last, is what a
//! fresh install of the spec makes; the last one, taken back, leaves what was there before. Touches no database that
//! stands.

use std::process::ExitCode;

use medallion_server::Server;
use similar::TextDiff;

use super::workspace::Workspace;
use super::{Error, check, read};
use crate::emit::{self, FileSet, Past};
use crate::finding::Findings;
use crate::model::{self, Warehouse};

/// What a database holds, as lines of text.
const CATALOG: &str = include_str!("catalog.sql");

/// A law, and what breaks it.
type Checked = (&'static str, Result<(), String>);

pub(super) fn run(workspace: &Workspace) -> Result<ExitCode, Error> {
    let specs = read::chosen(workspace.spec.as_deref())?;
    let loaded: Vec<Result<Warehouse, Findings>> = specs.iter().map(model::load).collect();
    if loaded.iter().any(Result::is_err) {
        loaded.iter().filter_map(|one| one.as_ref().err()).for_each(check::print_findings);
        return Ok(ExitCode::from(1));
    }
    let server = Server::scratch()?;
    let mut broken = false;
    for (number, warehouse) in loaded.into_iter().flatten().enumerate() {
        let Some(past) = read::past(&workspace.root, &warehouse.name)? else {
            return Err(Error::new(
                format!("warehouse `{}` has no migrations yet", warehouse.name),
                "run `medallion generate`",
            ));
        };
        match past.lock.migrations.len() {
            1 => println!("{}: 1 migration", warehouse.name),
            count => println!("{}: {count} migrations", warehouse.name),
        }
        for (law, outcome) in verify(&server, number, &warehouse, &past)? {
            match outcome {
                Ok(()) => println!("  ok      {law}"),
                Err(why) => {
                    broken = true;
                    println!("  broken  {law}\n{}", indented(&why));
                }
            }
        }
    }
    Ok(ExitCode::from(u8::from(broken)))
}

fn verify(server: &Server, number: usize, warehouse: &Warehouse, past: &Past) -> Result<Vec<Checked>, Error> {
    let workspace = emit::Workspace { warehouses: vec![warehouse.name.clone()], default: None };
    const CURRENT: &str = "the spec asks for no migration more";
    let unplanned = match emit::plan(warehouse, past) {
        Ok(None) => None,
        Ok(Some(planned)) => Some(format!("`medallion generate` would write `{}`", planned.name)),
        Err(unable) => Some(unable.to_string()),
    };
    if let Some(why) = unplanned {
        return Ok(vec![(CURRENT, Err(why))]);
    }
    let squashed = emit::squash(warehouse, &workspace, past);
    let fresh = Scratch::new(server, format!("fresh_{number}"))?;
    let fresh = match fresh.run(&baseline(&squashed, &warehouse.name)) {
        Ok(()) => fresh.catalog()?,
        Err(why) => return Ok(vec![("a fresh install of the spec succeeds", Err(why))]),
    };
    let migrated = Scratch::new(server, format!("migrated_{number}"))?;
    let mut before = String::new();
    for migration in &past.lock.migrations {
        before = migrated.catalog()?;
        if let Err(why) = migrated.run(&sql(past, warehouse, &migration.name, "up.sql")) {
            let why = format!("{}: {why}", migration.name);
            return Ok(vec![("the migrations succeed, first to last", Err(why))]);
        }
    }
    let same = same(&fresh, &migrated.catalog()?, "a fresh install", "the migrations");
    let last = past.lock.migrations.last().map(|one| one.name.as_str()).unwrap_or_default();
    let back = match migrated.run(&sql(past, warehouse, last, "down.sql")) {
        Ok(()) => self::same(&before, &migrated.catalog()?, "before", "taken back"),
        Err(why) => Err(why),
    };
    Ok(vec![
        (CURRENT, Ok(())),
        ("the migrations, first to last, make what a fresh install makes", same),
        ("the last migration, taken back, leaves what was there before", back),
    ])
}

/// The SQL of a migration that is there.
fn sql(past: &Past, warehouse: &Warehouse, migration: &str, file: &str) -> String {
    let folder = emit::lock_path(&warehouse.name);
    let folder = folder.rsplit_once('/').map_or("", |(folder, _)| folder);
    past.files.get(&format!("{folder}/{migration}/{file}")).cloned().unwrap_or_default()
}

fn baseline(files: &FileSet, warehouse: &str) -> String {
    let lock = emit::lock_path(warehouse);
    let folder = lock.rsplit_once('/').map_or("", |(folder, _)| folder);
    files.get(&format!("{folder}/m000001_baseline/up.sql")).unwrap_or_default().to_owned()
}

/// A database of the scratch server, as the runtime hands it to the first migration.
struct Scratch<'s> {
    server: &'s Server,
    database: String,
}

impl<'s> Scratch<'s> {
    fn new(server: &'s Server, database: String) -> Result<Self, Error> {
        server.ensure_database(&database)?;
        let scratch = Self { server, database };
        match scratch.run("CREATE SCHEMA IF NOT EXISTS medallion") {
            Ok(()) => Ok(scratch),
            Err(why) => Err(Error::new(why, "look at the server's log")),
        }
    }

    fn run(&self, sql: &str) -> Result<(), String> {
        match self.server.script(&self.database, sql) {
            Ok(outcome) => outcome.map(drop),
            Err(error) => Err(error.to_string()),
        }
    }

    fn catalog(&self) -> Result<String, Error> {
        let lines = self.server.script(&self.database, CATALOG)?;
        lines.map_err(|why| {
            Error::new(format!("cannot read what a scratch database holds: {why}"), "report it")
        })
    }
}

fn same(wanted: &str, found: &str, first: &str, second: &str) -> Result<(), String> {
    if wanted == found {
        return Ok(());
    }
    Err(TextDiff::from_lines(wanted, found)
        .unified_diff()
        .context_radius(1)
        .header(first, second)
        .to_string())
}

fn indented(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| format!("    {line}")).collect();
    lines.join("\n")
}
