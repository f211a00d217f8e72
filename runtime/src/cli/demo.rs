//! `warehouse demo`: everything on the embedded server, from an empty source to time travel. The story
//! is the warehouse's own (its `demo.toml`); here is only how it is told.

use std::path::Path;

use medallion_server::Server;
use medallion_verbs::demo::Arguments;
use sqlx::{PgConnection, Row as _};

use super::Outcome;
use crate::answer::{self, Format, Printer, Settings};
use crate::connection::{self, Database};
use crate::descriptor::{DemoAction, DemoStep, Warehouse};
use crate::error::{During as _, Error, Result};
use crate::place::{self, Embedded, Place};
use crate::progress::{Lines, Progress as _};
use crate::{migrate, quote, script, statement};

/// How wide the tour's words are.
const WIDTH: usize = 80;

/// The comment on a database that a demo may drop again.
const MARK: &str = "made by medallion demo";

pub async fn run(warehouse: &Warehouse, arguments: &Arguments) -> Result<Outcome> {
    let sample = match (warehouse.scripts.source, warehouse.scripts.sample) {
        // Its files are there already.
        _ if !warehouse.has_source() => None,
        (Some(source), Some(sample)) => Some([("source.sql", source), ("sample.sql", sample)]),
        _ => {
            return Err(Error::new(format!("warehouse `{}` has no sample source", warehouse.name))
                .remedy(format!("write spec/{0}/source.sql and spec/{0}/sample.sql", warehouse.name)));
        }
    };
    let place = make_place(warehouse, arguments).await?;
    if let Some(scripts) = sample {
        Lines.note("loading the sample source");
        for (name, sql) in scripts {
            script::execute(Database::Source, &place.source, name, sql).await?;
        }
    }
    for name in migrate::up(warehouse, &place).await? {
        Lines.note(&format!("applied migration {name}"));
    }
    crate::run::run(warehouse, &place, &mut Lines).await?;
    for step in &warehouse.demo {
        tell(warehouse, &place, step).await?;
    }
    Ok(Outcome::Done)
}

/// The demo's databases, always on the embedded server and always new.
async fn make_place(warehouse: &Warehouse, arguments: &Arguments) -> Result<Place> {
    let mut databases = vec![Database::Warehouse];
    databases.extend(warehouse.has_source().then_some(Database::Source));
    let embedded = match databases.as_slice() {
        [one] => Embedded::One(*one),
        _ => Embedded::Both,
    };
    databases.extend(warehouse.is_bronze_apart().then_some(Database::Bronze));
    for database in &databases {
        if std::env::var_os(database.variable()).is_some() {
            Lines.note(&format!("{} is set; the demo keeps to the embedded server", database.variable()));
        }
    }
    let server = Server::of_checkout(Path::new(".")).map_err(place::from_server)?;
    Lines.note("starting the embedded PostgreSQL");
    server.start().map_err(place::from_server)?;
    let mut maintenance = connection::connect(Database::Warehouse, &server.url("postgres")).await?;
    let names = databases.iter().map(|database| place::database_name(warehouse.name, *database));
    let names: Vec<String> = names.collect();
    for name in &names {
        if !arguments.fresh
            && standing(&mut maintenance, name).await? == Standing::Foreign
            && !is_empty(&server.url(name)).await?
        {
            return Err(Error::new(format!("the embedded server has a database `{name}` that no demo made"))
                .remedy("`medallion demo --fresh` drops it and starts over"));
        }
    }
    for name in &names {
        server.drop_database(name).map_err(place::from_server)?;
        server.ensure_database(name).map_err(place::from_server)?;
        let mark = format!("COMMENT ON DATABASE {} IS {}", quote::identifier(name), quote::literal(MARK));
        statement::execute(&mut maintenance, &mark).await?;
    }
    let url = |database: Database| {
        let place = databases.iter().position(|one| *one == database)?;
        Some(server.url(&names[place]))
    };
    Ok(Place {
        warehouse: url(Database::Warehouse).unwrap_or_default(),
        source: url(Database::Source).unwrap_or_default(),
        bronze: url(Database::Bronze),
        embedded: Some(embedded),
    })
}

/// Whose a database is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// There is none.
    Absent,
    /// An earlier demo's: it may go.
    Demo,
    /// Somebody else's.
    Foreign,
}

async fn standing(maintenance: &mut PgConnection, name: &str) -> Result<Standing> {
    let row = sqlx::query(
        "SELECT coalesce(shobj_description(oid, 'pg_database') = $2, false) FROM pg_database WHERE datname = $1",
    )
    .bind(name)
    .bind(MARK)
    .fetch_optional(maintenance)
    .await
    .during(|| format!("cannot look for database `{name}`"))?;
    Ok(match row.map(|row| row.get::<bool, _>(0)) {
        None => Standing::Absent,
        Some(true) => Standing::Demo,
        Some(false) => Standing::Foreign,
    })
}

/// Whether nobody has made anything in a database: a verb that found none has made it, no more.
async fn is_empty(url: &str) -> Result<bool> {
    let mut connection = connection::connect(Database::Warehouse, url).await?;
    let row = sqlx::query(
        "SELECT NOT EXISTS (
            SELECT FROM pg_class
            WHERE relnamespace <> ALL (ARRAY['pg_catalog', 'information_schema', 'pg_toast']::regnamespace[])
        )",
    )
    .fetch_one(&mut connection)
    .await
    .during(|| "cannot look into a database of the embedded server".to_owned())?;
    Ok(row.get(0))
}

async fn tell(warehouse: &Warehouse, place: &Place, step: &DemoStep) -> Result<()> {
    super::answer(&format!("\n{}\n", wrap(step.say)))?;
    match step.action {
        DemoAction::Nothing => Ok(()),
        DemoAction::Query { sql, as_of } => {
            let time = as_of.map(|time| format!(" --as-of '{time}'")).unwrap_or_default();
            super::answer(&format!(
                "\n{}\n",
                indent(&format!("medallion query{time} \"\n{}\"", sql.trim()))
            ))?;
            let mut connection = connection::connect(Database::Warehouse, &place.warehouse).await?;
            let settings = Settings { as_of: as_of.map(str::to_owned), ..Settings::default() };
            let mut printer = Printer::new(Format::Table, None, std::io::stdout().lock());
            answer::ask(warehouse, &mut connection, sql, &settings, &mut printer).await
        }
        DemoAction::Source(sql) => {
            super::answer(&format!("\n{}\n", indent(sql.trim())))?;
            script::execute(Database::Source, &place.source, "demo.toml", sql).await
        }
        DemoAction::Run => {
            super::answer("\n    medallion run\n")?;
            crate::run::run(warehouse, place, &mut Lines).await.map(drop)
        }
    }
}

fn indent(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| format!("    {line}")).collect();
    lines.join("\n")
}

/// Words in lines of at most `WIDTH` characters; an empty line ends a paragraph, an indented line stands
/// as it is.
fn wrap(text: &str) -> String {
    let mut lines = Vec::new();
    let mut line = String::new();
    for source in text.lines() {
        if source.trim().is_empty() || source.starts_with(' ') {
            if !line.is_empty() {
                lines.push(std::mem::take(&mut line));
            }
            lines.push(source.to_owned());
            continue;
        }
        for word in source.split_whitespace() {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > WIDTH {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines.join("\n")
}
