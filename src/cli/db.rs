//! `medallion db`: the embedded PostgreSQL of the checkout.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use medallion_server::{Server, Status};

use super::Error;
use super::workspace::Workspace;

/// Start, stop or open the embedded PostgreSQL of this checkout
#[derive(Subcommand)]
#[command(after_help = "Examples:\n  medallion db start\n  medallion db psql")]
pub(super) enum Db {
    /// Start it, unless it runs
    #[command(after_help = "Example:\n  medallion db start")]
    Start,
    /// Stop it
    #[command(after_help = "Example:\n  medallion db stop")]
    Stop,
    /// Say whether it runs
    #[command(after_help = "Example:\n  medallion db status")]
    Status,
    /// Print the address of a database, in one line
    #[command(after_help = "Example:\n  medallion db url source")]
    Url(Choice),
    /// Open psql on a database
    #[command(after_help = "Examples:\n  \
        medallion db psql\n  \
        medallion db psql source -- --command 'SELECT 1'")]
    Psql {
        #[command(flatten)]
        choice: Choice,
        /// What psql is told besides
        #[arg(last = true, value_name = "ARGUMENTS")]
        arguments: Vec<OsString>,
    },
}

/// Which database is meant.
#[derive(Args)]
pub(super) struct Choice {
    /// Which database
    #[arg(value_enum, default_value_t = Database::Warehouse)]
    database: Database,
}

#[derive(Clone, Copy, ValueEnum)]
enum Database {
    /// The OLTP database that changes come from
    Source,
    /// The database that holds the warehouse
    Warehouse,
}

pub(super) fn run(workspace: &Workspace, verb: Db) -> Result<ExitCode, Error> {
    let server = Server::of_checkout(&workspace.root)?;
    match verb {
        Db::Start => {
            server.start()?;
            eprintln!("running, with its data in {}", server.data_directory().display());
        }
        Db::Stop => {
            server.stop()?;
            eprintln!("stopped");
        }
        Db::Status => println!("{}", said(&server)?),
        Db::Url(choice) => println!("{}", server.url(&opened(workspace, &server, &choice)?)),
        Db::Psql { choice, arguments } => {
            let database = opened(workspace, &server, &choice)?;
            return Err(server.become_psql(&database, &arguments).into());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The name of the database; it is there, and its server runs.
fn opened(workspace: &Workspace, server: &Server, choice: &Choice) -> Result<String, Error> {
    let warehouse = workspace.one_name()?;
    let database = match choice.database {
        Database::Source => format!("{warehouse}_source"),
        Database::Warehouse => format!("{warehouse}_warehouse"),
    };
    server.start()?;
    server.ensure_database(&database)?;
    Ok(database)
}

fn said(server: &Server) -> Result<String, Error> {
    let data = server.data_directory().display();
    Ok(match server.status()? {
        Status::Running { pid } => format!("running as process {pid}, with its data in {data}"),
        Status::Stopped => format!("stopped, with its data in {data}"),
        Status::NeverMade => "never started".to_owned(),
    })
}
