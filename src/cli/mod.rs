//! The verbs of the tool, one file a verb. The only part that talks to a person: chooses what a verb works
//! on, and turns errors into a message and an exit status.

mod branch;
pub mod catalog;
pub mod check;
mod db;
mod docs;
mod drift;
mod evolution;
mod generate;
mod git;
mod hand_over;
mod import;
mod live;
mod migrate_verify;
mod new;
mod plan;
pub mod read;
pub mod schema;
mod seeded;
mod workspace;

use std::ffi::OsString;
use std::fmt;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
    /// Print the JSON Schema of the spec, for editors
    Schema(schema::Schema),
    /// Start, stop or open the embedded PostgreSQL of this checkout
    #[command(subcommand)]
    Db(db::Db),

    // The warehouse: handed over, help and all.
    /// See everything on an embedded server: a source, its year, the marts, time travel
    #[command(disable_help_flag = true)]
    Demo(Rest),
    /// Bring the database's objects up to the spec's; `verify` proves the migrations on scratch databases
    #[command(disable_help_flag = true)]
    Migrate(Rest),
    /// Capture to now, land, apply, refresh
    #[command(disable_help_flag = true)]
    Run(Rest),
    /// Capture, land, apply, refresh, continuously
    #[command(disable_help_flag = true)]
    Watch(Rest),
    /// Write what has changed at the source to files, for a warehouse that reads them
    #[command(disable_help_flag = true)]
    Extract(Rest),
    /// Say how slot, landing, silver and the last runs stand
    #[command(disable_help_flag = true)]
    Status(Rest),
    /// Is the source ready to be captured; make it so; clean up
    #[command(disable_help_flag = true)]
    Source(Rest),
    /// Recompute relations from what landed and was written
    #[command(disable_help_flag = true)]
    Rebuild(Rest),
    /// Hold the warehouse against its laws
    #[command(disable_help_flag = true)]
    Verify(Rest),
    /// Look at the data by the tests that the spec declares
    #[command(disable_help_flag = true)]
    Test(Rest),
    /// Make traffic on the source
    #[command(disable_help_flag = true)]
    Simulate(Rest),
    /// Ask the warehouse a question, as of any time
    #[command(disable_help_flag = true)]
    Query(Rest),
    /// What became different in a relation between two times, and which changes made it so
    #[command(disable_help_flag = true)]
    Diff(Rest),
    /// A relation's inputs, strategy, SQL, last cost and plan
    #[command(disable_help_flag = true)]
    Show(Rest),
    /// The relations that a selection means
    #[command(disable_help_flag = true)]
    List(Rest),
    /// Erase a row of the source, with all that is known of it
    #[command(disable_help_flag = true)]
    Forget(Rest),
}

/// What the warehouse's own command line reads.
#[derive(clap::Args)]
struct Rest {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    arguments: Vec<OsString>,
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

/// Reads a command line without running it; returns what of it the warehouse's own command line reads.
pub fn parse(words: &[String]) -> Result<Option<Vec<OsString>>, clap::Error> {
    let mut arguments = Arguments::try_parse_from(words)?;
    let handed_over = arguments.verb.handed_over();
    Ok(handed_over.map(|(name, rest)| [vec![name.into()], std::mem::take(&mut rest.arguments)].concat()))
}

/// Runs the command line; the tool's whole `main`.
pub fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            // Where nobody can read the message, the status still says it.
            let _ = writeln!(std::io::stderr().lock(), "error: {error}");
            ExitCode::from(COULD_NOT_RUN)
        }
    }
}

fn run(arguments: Arguments) -> Result<ExitCode, Error> {
    let Arguments { mut spec, mut warehouse_binary, mut verb } = arguments;
    if let Some((_, rest)) = verb.handed_over() {
        // What is ours may also stand behind what is the warehouse's: `query "SELECT 1" --spec …`.
        spec = take(&mut rest.arguments, "--spec")?.map(PathBuf::from).or(spec);
        warehouse_binary =
            take(&mut rest.arguments, "--warehouse-binary")?.map(PathBuf::from).or(warehouse_binary);
    }
    if let Verb::Schema(verb) = &verb {
        return Ok(schema::run(verb));
    }
    if let Verb::New(verb) = &verb {
        return new::run(verb);
    }
    // The current folder may become another one; a name that is none here is looked for in PATH.
    let warehouse_binary = warehouse_binary.map(|path| path.canonicalize().unwrap_or(path));
    if let Verb::Import(import) = verb {
        verb = Verb::Import(import.settled());
    }
    if let Verb::Docs(docs) = verb {
        verb = Verb::Docs(docs.settled());
    }
    let workspace = Workspace::enter(spec)?;
    if let Verb::Migrate(rest) = &verb
        && rest.arguments == ["verify"]
    {
        return migrate_verify::run(&workspace);
    }
    if let Some((name, rest)) = verb.handed_over() {
        return hand_over::run(&workspace, warehouse_binary.as_deref(), name, &rest.arguments);
    }
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
        Verb::Db(verb) => db::run(&workspace, verb),
        _ => unreachable!("every other verb has returned"),
    }
}

impl Verb {
    /// The verb of the warehouse, and what it is asked.
    fn handed_over(&mut self) -> Option<(&'static str, &mut Rest)> {
        match self {
            Self::Check(_)
            | Self::Generate(_)
            | Self::Plan(_)
            | Self::New(_)
            | Self::Import(_)
            | Self::Docs(_)
            | Self::Schema(_)
            | Self::Db(_) => None,
            Self::Demo(rest) => Some(("demo", rest)),
            Self::Migrate(rest) => Some(("migrate", rest)),
            Self::Run(rest) => Some(("run", rest)),
            Self::Watch(rest) => Some(("watch", rest)),
            Self::Extract(rest) => Some(("extract", rest)),
            Self::Status(rest) => Some(("status", rest)),
            Self::Source(rest) => Some(("source", rest)),
            Self::Rebuild(rest) => Some(("rebuild", rest)),
            Self::Verify(rest) => Some(("verify", rest)),
            Self::Test(rest) => Some(("test", rest)),
            Self::Simulate(rest) => Some(("simulate", rest)),
            Self::Query(rest) => Some(("query", rest)),
            Self::Diff(rest) => Some(("diff", rest)),
            Self::Show(rest) => Some(("show", rest)),
            Self::List(rest) => Some(("list", rest)),
            Self::Forget(rest) => Some(("forget", rest)),
        }
    }
}

/// Takes an option and its value out of arguments.
fn take(arguments: &mut Vec<OsString>, option: &str) -> Result<Option<OsString>, Error> {
    let mut value = None;
    let mut index = 0;
    while index < arguments.len() && arguments[index] != "--" {
        let text = arguments[index].to_string_lossy().into_owned();
        if text == option {
            arguments.remove(index);
            if index == arguments.len() {
                return Err(Error::new(format!("`{option}` has no value"), format!("write `{option} PATH`")));
            }
            value = Some(arguments.remove(index));
        } else if let Some(given) = text.strip_prefix(option).and_then(|rest| rest.strip_prefix('=')) {
            value = Some(OsString::from(given));
            arguments.remove(index);
        } else {
            index += 1;
        }
    }
    Ok(value)
}

/// An error of several lines as the tool shows it: what happened, then remedies in lines of their own.
fn lines(error: &impl fmt::Display) -> String {
    error.to_string().replace('\n', "\n  = ")
}
