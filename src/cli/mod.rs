//! The verbs of the tool, one file a verb. The only part that talks to a person: chooses what a verb works
//! on, and turns errors into a message and an exit status.

mod branch;
pub mod catalog;
pub mod check;
mod db;
mod docs;
mod drift;
mod evolution;
mod explain;
mod generate;
mod git;
mod hand_over;
mod import;
mod live;
mod migrate_verify;
mod new;
mod plan;
pub mod read;
mod schedule;
pub mod schema;
mod seeded;
mod workspace;

use std::ffi::OsString;
use std::fmt;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use workspace::Workspace;

/// The status of a run that could not do what was asked.
const COULD_NOT_RUN: u8 = 2;

#[derive(Parser)]
#[command(
    name = "medallion",
    version,
    about = "Turns a spec of a medallion warehouse into code, and runs it on PostgreSQL",
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = "Exit status: 0 done, 1 findings, 2 could not run.\n\
                  Without DATABASE_URL and SOURCE_DATABASE_URL, an embedded PostgreSQL serves both."
)]
struct Arguments {
    /// The warehouse's folder or its spec.toml; without, all of them or the workspace's default
    #[arg(long, global = true, value_name = "PATH", env = "MEDALLION_SPEC", hide_env_values = true)]
    spec: Option<PathBuf>,

    /// A built warehouse, in place of the workspace's own
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        env = "MEDALLION_WAREHOUSE_BINARY",
        hide_env_values = true
    )]
    warehouse_binary: Option<PathBuf>,

    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
#[allow(clippy::large_enum_variant, reason = "there is one")]
enum Verb {
    // The desk.
    /// Say all that is wrong with the specs
    Check(check::Check),
    /// Write entities, SQL and migrations from the specs
    Generate(generate::Generate),
    /// Say what the next migration would do, with what each statement could break or block
    Plan(plan::Plan),
    /// Begin a project of your own
    New(new::New),
    /// Draw up a spec from the tables of the source
    Import(import::Import),
    /// Write a page that explains the warehouse: lineage, columns, SQL, tests, runs
    Docs(docs::Docs),
    /// Write job definitions for Airflow, Dagster, cron, systemd or Kubernetes
    Schedule(schedule::Schedule),
    /// Print the JSON Schema of the spec, for editors
    Schema(schema::Schema),
    /// Start, stop or open the embedded PostgreSQL of this checkout
    #[command(subcommand)]
    Db(db::Db),

    // The warehouse's own, to which they are handed over as they are typed.
    #[command(flatten)]
    Warehouse(medallion_verbs::Verb),

    // Words about the tool.
    /// Print completions for a shell
    Completions(medallion_verbs::completions::Arguments),
    /// Write the pages of the manual
    Man(medallion_verbs::man::Arguments),
}

/// Why a verb could not do what was asked.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Unreadable(#[from] read::Unreadable),
    #[error(transparent)]
    Output(#[from] crate::output::Error),
    #[error("{}", lines(.0))]
    Server(#[from] medallion_server::Error),
    #[error("{what}\n  = {remedy}")]
    Other { what: String, remedy: String },
}

impl Error {
    fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Other { what: what.into(), remedy: remedy.into() }
    }
}

/// The command line as it is read, all verbs of the warehouse included.
pub fn command() -> clap::Command {
    // The tool's own among those of the warehouse: it proves migrations with no warehouse built.
    Arguments::command().mut_subcommand("migrate", |migrate| migrate.subcommand(migrate_verify::command()))
}

/// Runs the command line; the tool's whole `main`.
pub fn main() -> ExitCode {
    match run(&command().get_matches()) {
        Ok(code) => code,
        Err(error) => {
            // Where nobody can read the message, the status still says it.
            let _ = writeln!(std::io::stderr().lock(), "error: {error}");
            ExitCode::from(COULD_NOT_RUN)
        }
    }
}

fn run(matches: &ArgMatches) -> Result<ExitCode, Error> {
    if matches.subcommand_matches("migrate").is_some_and(|it| it.subcommand_name() == Some("verify")) {
        return migrate_verify::run(&Workspace::enter(matches.get_one("spec").cloned())?);
    }
    let Arguments { spec, warehouse_binary, mut verb } =
        Arguments::from_arg_matches(matches).unwrap_or_else(|error| error.exit());
    match &verb {
        Verb::Check(check) if check.explain.is_some() => return explain::run(check),
        Verb::Schema(verb) => return Ok(schema::run(verb)),
        Verb::New(verb) => return new::run(verb),
        Verb::Completions(asked) => {
            let script = medallion_verbs::completions::script(command(), asked.shell);
            check::answer(&String::from_utf8_lossy(&script));
            return Ok(ExitCode::SUCCESS);
        }
        Verb::Man(asked) => return manual(&asked.to),
        _ => {}
    }
    // The current folder may become another one; a name that is none here is looked for in PATH.
    let warehouse_binary = warehouse_binary.map(|path| path.canonicalize().unwrap_or(path));
    if let Verb::Import(import) = verb {
        verb = Verb::Import(import.settled());
    }
    if let Verb::Docs(docs) = verb {
        verb = Verb::Docs(docs.settled());
    }
    if let Verb::Schedule(schedule) = verb {
        verb = Verb::Schedule(schedule.settled());
    }
    let workspace = Workspace::enter(spec)?;
    match verb {
        Verb::Check(verb) => {
            let check = check::Check { spec: workspace.spec.clone(), ..verb };
            match &check.base {
                Some(base) => branch::run(&workspace, &check, base),
                None => Ok(check::run(&check)?),
            }
        }
        Verb::Generate(verb) => generate::run(&workspace, &verb),
        Verb::Plan(verb) => plan::run(&workspace, &verb),
        Verb::Import(verb) => import::run(&workspace, &verb),
        Verb::Docs(verb) => docs::run(&workspace, &verb),
        Verb::Schedule(verb) => schedule::run(&workspace, &verb),
        Verb::Db(verb) => db::run(&workspace, verb),
        Verb::Warehouse(_) => {
            hand_over::run(&workspace, warehouse_binary.as_deref(), &handed_over(std::env::args_os()))
        }
        Verb::Schema(_) | Verb::New(_) | Verb::Completions(_) | Verb::Man(_) => {
            unreachable!("each of them has returned")
        }
    }
}

/// What the warehouse's own command line reads: what was typed, but for what is the tool's.
fn handed_over(typed: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments = typed.skip(1).collect::<Vec<_>>();
    take(&mut arguments, "--spec");
    take(&mut arguments, "--warehouse-binary");
    arguments
}

fn manual(to: &Path) -> Result<ExitCode, Error> {
    let pages = medallion_verbs::man::write(command(), to).map_err(|cause| {
        Error::new(
            format!("cannot write pages of the manual to `{}`: {cause}", to.display()),
            "name a directory that you may write to: `--to target/man/man1`",
        )
    })?;
    check::answer(&format!("{pages} pages in {}\n", to.display()));
    Ok(ExitCode::SUCCESS)
}

/// Takes an option and its value out of arguments.
fn take(arguments: &mut Vec<OsString>, option: &str) {
    let mut index = 0;
    while index < arguments.len() && arguments[index] != "--" {
        let text = arguments[index].to_string_lossy().into_owned();
        if text == option {
            arguments.drain(index..(index + 2).min(arguments.len()));
        } else if text.strip_prefix(option).is_some_and(|rest| rest.starts_with('=')) {
            arguments.remove(index);
        } else {
            index += 1;
        }
    }
}

/// An error of several lines as the tool shows it: what happened, then remedies in lines of their own.
fn lines(error: &impl fmt::Display) -> String {
    error.to_string().replace('\n', "\n  = ")
}
