//! `medallion migrate verify`: proves the migrations on scratch databases. What they make, first to last, is what a
//! fresh install of the spec makes; the last one, taken back, leaves what was there before. Where the environment
//! names a database, it says how that one differs from what its migrations have made, and changes nothing there.

use std::process::ExitCode;

use medallion_server::Server;
use similar::TextDiff;

use super::catalog::{self, Catalog};
use super::workspace::Workspace;
use super::{Error, check, drift, live, read, seeded};
use crate::emit::{self, FileSet, Past};
use crate::finding::Findings;
use crate::model::{self, Warehouse};

/// A law, and what breaks it.
type Checked = (String, Result<(), String>);

/// How it is asked for.
pub(super) fn command() -> clap::Command {
    clap::Command::new("verify")
        .about("Prove the migrations on scratch databases, and say how the one at hand has drifted")
        .after_help("Example:\n  medallion migrate verify")
}

pub(super) fn run(workspace: &Workspace) -> Result<ExitCode, Error> {
    let specs = read::chosen(workspace.spec.as_deref())?;
    let loaded: Vec<Result<Warehouse, Findings>> = specs.iter().map(model::load).collect();
    if loaded.iter().any(Result::is_err) {
        let wrong = loaded.iter().filter_map(|one| one.as_ref().err());
        check::print_findings(wrong, check::Format::Human);
        return Ok(ExitCode::from(1));
    }
    let live = match std::env::var("DATABASE_URL").ok().filter(|url| !url.is_empty()) {
        Some(url) => Some(Live::ask(&url)?),
        None => None,
    };
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
        let live = live.as_ref().filter(|live| live.warehouse == warehouse.name);
        for (law, outcome) in verify(&server, number, &warehouse, &past, live)? {
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

fn verify(
    server: &Server,
    number: usize,
    warehouse: &Warehouse,
    past: &Past,
    live: Option<&Live>,
) -> Result<Vec<Checked>, Error> {
    let workspace = emit::Workspace { warehouses: vec![warehouse.name.clone()], default: None };
    const CURRENT: &str = "the spec asks for no migration more";
    let unplanned = match emit::plan(warehouse, past) {
        Ok(planned) => {
            planned.first().map(|planned| format!("`medallion generate` would write `{}`", planned.name))
        }
        Err(unable) => Some(unable.to_string()),
    };
    if let Some(why) = unplanned {
        return Ok(vec![(CURRENT.to_owned(), Err(why))]);
    }
    let squashed = emit::squash(warehouse, &workspace, past);
    let fresh = Scratch::new(server, format!("fresh_{number}"))?;
    let fresh = match fresh.run(&baseline(&squashed, &warehouse.name)) {
        Ok(()) => fresh.catalog()?,
        Err(why) => return Ok(vec![("a fresh install of the spec succeeds".to_owned(), Err(why))]),
    };
    let migrated = Scratch::new(server, format!("migrated_{number}"))?;
    let mut before = String::new();
    let mut drifted = None;
    for (count, migration) in past.lock.migrations.iter().enumerate() {
        before = migrated.catalog()?;
        if let Err(why) = migrated.run(&sql(past, warehouse, &migration.name, "up.sql")) {
            let why = format!("{}: {why}", migration.name);
            return Ok(vec![("the migrations succeed, first to last".to_owned(), Err(why))]);
        }
        if let Some(live) = live.filter(|live| live.applied.len() == count + 1) {
            drifted = Some(live.compared(&migrated.objects()?, migrated.version()?)?);
        }
    }
    let same = same(&fresh, &migrated.catalog()?, "a fresh install", "the migrations");
    let last = past.lock.migrations.last().map(|one| one.name.as_str()).unwrap_or_default();
    let back = match migrated.run(&sql(past, warehouse, last, "down.sql")) {
        Ok(()) => self::same(&before, &migrated.catalog()?, "before", "taken back"),
        Err(why) => Err(why),
    };
    let mut checked = vec![
        (CURRENT.to_owned(), Ok(())),
        ("the migrations, first to last, make what a fresh install makes".to_owned(), same),
        ("the last migration, taken back, leaves what was there before".to_owned(), back),
    ];
    if past.lock.migrations.len() > 1 {
        checked.push(survive(server, number, warehouse, past)?);
    }
    if let Some(live) = live {
        let names: Vec<&str> = past.lock.migrations.iter().map(|one| one.name.as_str()).collect();
        checked.push(live.check(&names, drifted));
    }
    Ok(checked)
}

/// Rows stand in every table while the migrations after the first run over them.
fn survive(server: &Server, number: usize, warehouse: &Warehouse, past: &Past) -> Result<Checked, Error> {
    let mut law = String::new();
    let scratch = Scratch::new(server, format!("seeded_{number}"))?;
    for migration in &past.lock.migrations {
        let up = sql(past, warehouse, &migration.name, "up.sql");
        let before = seeded::read(&scratch.answer(seeded::COUNT)?)?;
        let tables = before.values().filter(|(count, _)| *count > 0).count();
        law = format!("rows of {tables} tables survive, but for what a migration says that it lets go");
        if let Err(why) = scratch.run(&up) {
            // It may have to be so, as where a value goes that the row has.
            let why = why.lines().next().unwrap_or_default().to_owned();
            let untried = format!("{law}; `{}` does not take those that were made up: {why}", migration.name);
            return Ok((untried, Ok(())));
        }
        let after = seeded::read(&scratch.answer(seeded::COUNT)?)?;
        let lost = seeded::lost(&before, &after, &up);
        if !lost.is_empty() {
            return Ok((law, Err(format!("`{}` loses rows of {}", migration.name, lost.join(", ")))));
        }
        scratch.answer(seeded::SEED)?;
    }
    Ok((law, Ok(())))
}

/// The database that the environment names.
struct Live {
    version: u32,
    warehouse: String,
    applied: Vec<String>,
    objects: Catalog,
}

impl Live {
    fn ask(url: &str) -> Result<Self, Error> {
        let failed = |why: String| {
            Error::new(
                format!("cannot ask the database of DATABASE_URL: {why}"),
                "correct DATABASE_URL; without it, the proof goes without a database",
            )
        };
        let stands = "SELECT to_regclass('medallion.warehouse') IS NOT NULL \
                      AND to_regclass('medallion.seaql_migrations') IS NOT NULL;";
        if live::ask(url, stands).map_err(failed)?.trim() != "t" {
            let what = "the database of DATABASE_URL holds no warehouse";
            return Err(Error::new(what, "run `medallion migrate up`, or correct DATABASE_URL"));
        }
        let known = "SELECT json_build_array(current_setting('server_version_num')::integer / 10000, \
                     (SELECT name FROM medallion.warehouse), \
                     (SELECT json_agg(version ORDER BY version) FROM medallion.seaql_migrations));";
        let answer = live::ask(url, &format!("{known}\n{}", catalog::rows())).map_err(failed)?;
        let unread = |cause: serde_json::Error| failed(cause.to_string());
        let first = answer.lines().find(|line| !line.is_empty()).unwrap_or_default();
        let (version, warehouse, applied): (u32, Option<String>, Option<Vec<String>>) =
            serde_json::from_str(first).map_err(unread)?;
        let objects = catalog::read(&answer).map_err(unread)?;
        let (warehouse, applied) = (warehouse.unwrap_or_default(), applied.unwrap_or_default());
        Ok(Self { version, warehouse, applied, objects })
    }

    /// How it differs, in words and as SQL.
    fn compared(&self, wanted: &Catalog, version: u32) -> Result<Vec<drift::Drift>, Error> {
        if version != self.version {
            return Err(Error::new(
                format!(
                    "the database of DATABASE_URL is of PostgreSQL {}, and the scratch server of {version}: they \
                     spell what they hold in their own ways",
                    self.version
                ),
                format!(
                    "name the folder of PostgreSQL {}'s programs in MEDALLION_POSTGRES_BIN",
                    self.version
                ),
            ));
        }
        Ok(drift::between(wanted, &self.objects))
    }

    fn check(&self, migrations: &[&str], drifted: Option<Vec<drift::Drift>>) -> Checked {
        let law = "the database of DATABASE_URL is what its migrations have made";
        let Some(drifted) = drifted.filter(|_| migrations.starts_with(&self.applied_names())) else {
            let unknown = self.applied.iter().find(|name| !migrations.contains(&name.as_str()));
            let why = match unknown {
                Some(name) => format!("it has migration `{name}`, which is not here"),
                None => "it has later migrations without earlier ones".to_owned(),
            };
            return (law.to_owned(), Err(why));
        };
        let pending = &migrations[self.applied.len()..];
        let law = match pending {
            [] => law.to_owned(),
            [one] => format!("{law}; {one} is pending"),
            [one, ..] => format!("{law}; {one} and {} more are pending", pending.len() - 1),
        };
        if drifted.is_empty() {
            return (law, Ok(()));
        }
        let said: Vec<&str> = drifted.iter().map(|one| one.said.as_str()).collect();
        let sql: Vec<&str> = drifted.iter().flat_map(|one| &one.sql).map(String::as_str).collect();
        (
            law,
            Err(format!(
                "{}\n\nwhat brings it back, to be read first:\n\n{}",
                said.join("\n"),
                sql.join("\n")
            )),
        )
    }

    fn applied_names(&self) -> Vec<&str> {
        self.applied.iter().map(String::as_str).collect()
    }
}

/// The SQL of a migration that is there.
fn sql(past: &Past, warehouse: &Warehouse, migration: &str, file: &str) -> String {
    let folder = emit::lock_path(&warehouse.name);
    let folder = folder.rsplit_once('/').map_or("", |(folder, _)| folder);
    past.files
        .get(&format!("{folder}/{migration}/{file}"))
        .map_or_else(String::new, |sql| emit::for_psql(sql))
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
        self.answer(&catalog::lines())
    }

    /// The same, with all that is known of each object.
    fn objects(&self) -> Result<Catalog, Error> {
        catalog::read(&self.answer(&catalog::rows())?).map_err(|cause| unread(&cause.to_string()))
    }

    fn version(&self) -> Result<u32, Error> {
        let answer = self.answer("SELECT current_setting('server_version_num')::integer / 10000")?;
        answer.trim().parse().map_err(|_| unread(&answer))
    }

    fn answer(&self, sql: &str) -> Result<String, Error> {
        self.server.script(&self.database, sql)?.map_err(|why| unread(&why))
    }
}

fn unread(why: &str) -> Error {
    Error::new(format!("cannot read what a scratch database holds: {why}"), "report it")
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
