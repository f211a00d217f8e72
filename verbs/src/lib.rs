//! The command line of a warehouse, as it is read: one file a verb, with its words and examples. The warehouse's own
//! binary does what they say; the tool reads the same, so that help, completions and mistakes in typing need no build.
//! Knows no database and does nothing but write pages of the manual and completions.

pub mod completions;
pub mod demo;
pub mod diff;
pub mod extract;
pub mod forget;
pub mod list;
pub mod man;
pub mod migrate;
pub mod query;
pub mod rebuild;
pub mod run;
mod selection;
pub mod show;
pub mod simulate;
pub mod source;
pub mod status;
pub mod test;
pub mod verify;
pub mod watch;

use clap::{CommandFactory as _, Parser, Subcommand};

pub use selection::Selection;

/// The command line of the binary `warehouse`.
#[derive(Parser)]
#[command(
    name = "warehouse",
    version,
    about = "A medallion warehouse: migrates, loads and answers",
    disable_help_subcommand = true,
    after_help = "Exit status: 0 done, 1 findings, 2 could not run.\n\
                  DATABASE_URL names the warehouse's database, SOURCE_DATABASE_URL the source."
)]
pub struct Arguments {
    /// Which of the compiled warehouses
    #[arg(long, global = true, value_name = "NAME", env = "MEDALLION_WAREHOUSE", hide_env_values = true)]
    pub warehouse: Option<String>,

    /// Refuse to work unless built from the spec of this hash
    #[arg(long, global = true, value_name = "HASH", hide = true)]
    pub expect_spec: Option<String>,

    /// What to do.
    #[command(subcommand)]
    pub verb: Own,
}

/// The verbs of the binary: what a warehouse does, and words about itself.
#[derive(Subcommand)]
#[allow(clippy::large_enum_variant, reason = "there is one")]
pub enum Own {
    /// A verb of the warehouse.
    #[command(flatten)]
    Does(Verb),
    /// Print completions for a shell
    Completions(completions::Arguments),
    /// Write the pages of the manual
    Man(man::Arguments),
}

/// What a warehouse does.
#[derive(Subcommand)]
#[allow(clippy::large_enum_variant, reason = "there is one")]
pub enum Verb {
    /// Show everything on an embedded server: a source, its year, the marts, time travel
    Demo(demo::Arguments),
    /// Bring the database's objects up to the spec's, or take a step back
    Migrate(migrate::Arguments),
    /// Bring the warehouse up to date: capture, land, apply, refresh, test; then exit
    Run(run::Arguments),
    /// Keep the warehouse up to date until stopped
    Watch(watch::Arguments),
    /// Write what has changed at the source to files, for a warehouse that reads them
    Extract(extract::Arguments),
    /// Say how source, landing, silver and the last runs stand
    Status(status::Arguments),
    /// Say whether the source can be captured; make it so; clean up
    Source(source::Arguments),
    /// Compute relations anew from all that has landed and was written
    Rebuild(rebuild::Arguments),
    /// Hold the warehouse against its laws: periods, silver against bronze, marts against their definitions
    Verify(verify::Arguments),
    /// Hold the data against the spec's tests, or with --unit the logic against its examples
    Test(test::Arguments),
    /// Make traffic at the source
    Simulate(simulate::Arguments),
    /// Ask the warehouse a question, as of any time
    Query(query::Arguments),
    /// Say what became different in a relation between two times, and which changes made it so
    Diff(diff::Arguments),
    /// Show a relation's inputs, strategy, SQL, last cost and plan
    Show(show::Arguments),
    /// List the relations that a selection means
    List(list::Arguments),
    /// Erase a row of the source, with all that is known of it
    Forget(forget::Arguments),
}

/// The whole command line of the binary, with examples that call it by its name.
pub fn command() -> clap::Command {
    named(Arguments::command(), "warehouse")
}

/// The examples of a command and all below it, which call the tool, with another name.
fn named(command: clap::Command, name: &str) -> clap::Command {
    let said = command.get_after_help().map(ToString::to_string);
    let command = match said {
        Some(said) => command.after_help(said.replace("\n  medallion ", &format!("\n  {name} "))),
        None => command,
    };
    command.mut_subcommands(|verb| named(verb, name))
}
