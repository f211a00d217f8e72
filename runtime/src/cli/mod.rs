//! The command line of the `warehouse` binary: one file a verb. Chooses the warehouse, checks that the
//! binary was built from the spec at hand, turns errors into a message and an exit status.

mod demo;
mod diff;
mod extract;
mod forget;
mod list;
mod migrate;
mod prompt;
mod query;
mod rebuild;
mod run;
mod show;
mod simulate;
mod source;
mod status;
mod test;
mod verify;
mod watch;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::descriptor::Warehouse;
use crate::error::{Error, Result};

/// A warehouse by its name, and how to get its descriptor.
pub type Known = (&'static str, fn() -> Warehouse);

/// How a verb ended: well, or with findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    Findings,
}

#[derive(Parser)]
#[command(name = "warehouse", version, about = "A medallion warehouse: migrates, loads and answers")]
struct Arguments {
    /// Which of the compiled warehouses
    #[arg(long, global = true, value_name = "NAME", env = "MEDALLION_WAREHOUSE")]
    warehouse: Option<String>,

    /// Refuse to work unless built from the spec of this hash
    #[arg(long, global = true, value_name = "HASH", hide = true)]
    expect_spec: Option<String>,

    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Everything on the embedded server: source, sample, migrate, run, marts, time travel
    Demo(demo::Arguments),
    /// Erase a row of the source, with all that is known of it; for the owner
    Forget(forget::Arguments),
    /// Bring the database's objects up to this binary's
    Migrate(migrate::Arguments),
    /// Capture to now, land, apply, refresh; then exit
    Run(run::Arguments),
    /// The same, continuously, until it is stopped
    Watch(watch::Arguments),
    /// Write what has changed at the source to files, for a warehouse that reads them
    Extract(extract::Arguments),
    /// How slot, landing, silver and the last runs stand
    Status(status::Arguments),
    /// Is the source ready to be captured; make it so; clean up
    Source(source::Arguments),
    /// Recompute relations from what landed and was written
    Rebuild(rebuild::Arguments),
    /// Hold the warehouse against its laws
    Verify(verify::Arguments),
    /// Look at the data by the tests that the spec declares
    Test(test::Arguments),
    /// Traffic on the source
    Simulate(simulate::Arguments),
    /// Ask the warehouse a read-only question, as of any time
    Query(query::Arguments),
    /// What became different in a relation between two times, and which changes made it so
    Diff(diff::Arguments),
    /// A relation's inputs, strategy, SQL, last cost and plan
    Show(show::Arguments),
    /// The relations that a selection means
    List(list::Arguments),
}

/// The command line, for whoever reads or describes it without running it.
pub fn command() -> clap::Command {
    Arguments::command()
}

/// Runs the command line; the binary's whole `main`.
pub fn main(warehouses: &[Known], default: Option<&'static str>) -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(cause) => return fail(&Error::new("cannot start the runtime").because(cause)),
    };
    match runtime.block_on(interruptible(arguments, warehouses, default)) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Findings) => ExitCode::from(1),
        Err(error) => fail(&error),
    }
}

/// Stops at Ctrl-C and SIGTERM: the connections close, and with them unfinished transactions roll back.
async fn interruptible(arguments: Arguments, warehouses: &[Known], default: Option<&str>) -> Result<Outcome> {
    if matches!(arguments.verb, Verb::Watch(_) | Verb::Extract(_)) {
        // Is asked to stop, and ends what it is at.
        return dispatch(arguments, warehouses, default).await;
    }
    let interrupted = arguments.verb.interrupted();
    // A question is cancelled at the server first.
    let sees_to_interrupts = matches!(arguments.verb, Verb::Query(_));
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .map_err(|cause| Error::new("cannot listen for signals").because(cause))?;
    tokio::select! {
        outcome = dispatch(arguments, warehouses, default) => outcome,
        _ = tokio::signal::ctrl_c(), if !sees_to_interrupts => Err(interrupted),
        _ = terminate.recv() => Err(interrupted),
    }
}

impl Verb {
    /// What to say when a verb is stopped on its way.
    fn interrupted(&self) -> Error {
        let error = Error::new("interrupted");
        match self {
            Self::Demo(_) => error.remedy("`medallion demo` starts over"),
            Self::Forget(_) => error.remedy("nothing was erased, or all of it: `--dry-run` says which"),
            Self::Migrate(_) => error.remedy("`medallion migrate status` says what the database has now"),
            Self::Run(_) => error.remedy("whole batches have landed and nothing else: run again to go on"),
            Self::Simulate(_) => error.remedy("what the traffic has committed stays at the source"),
            Self::Rebuild(_) => error.remedy("nothing was changed: rebuild again"),
            Self::Verify(_)
            | Self::Test(_)
            | Self::Query(_)
            | Self::Diff(_)
            | Self::Show(_)
            | Self::List(_)
            | Self::Watch(_)
            | Self::Extract(_)
            | Self::Status(_) => error,
            Self::Source(_) => error.remedy("`medallion source check` says how the source stands"),
        }
    }
}

async fn dispatch(arguments: Arguments, warehouses: &[Known], default: Option<&str>) -> Result<Outcome> {
    // An empty variable is an unset one.
    let asked = arguments.warehouse.as_deref().filter(|name| !name.is_empty());
    let warehouse = choose(asked, warehouses, default)?;
    if let Some(expected) = &arguments.expect_spec
        && expected != warehouse.spec_hash
    {
        return Err(Error::new(format!("this binary was built from another spec of `{}`", warehouse.name))
            .remedy("run `medallion generate`, then build again with `cargo build -p warehouse --release`"));
    }
    match arguments.verb {
        Verb::Demo(arguments) => demo::run(&warehouse, &arguments).await,
        Verb::Forget(arguments) => forget::run(&warehouse, &arguments).await,
        Verb::Migrate(arguments) => migrate::run(&warehouse, &arguments).await,
        Verb::Run(arguments) => run::run(&warehouse, &arguments).await,
        Verb::Watch(arguments) => watch::run(&warehouse, &arguments).await,
        Verb::Extract(arguments) => extract::run(&warehouse, &arguments).await,
        Verb::Status(arguments) => status::run(&warehouse, &arguments).await,
        Verb::Source(arguments) => source::run(&warehouse, &arguments).await,
        Verb::Rebuild(arguments) => rebuild::run(&warehouse, &arguments).await,
        Verb::Verify(arguments) => verify::run(&warehouse, &arguments).await,
        Verb::Test(arguments) => test::run(&warehouse, &arguments).await,
        Verb::Simulate(arguments) => simulate::run(&warehouse, &arguments).await,
        Verb::Query(arguments) => query::run(&warehouse, &arguments).await,
        Verb::Diff(arguments) => diff::run(&warehouse, &arguments).await,
        Verb::Show(arguments) => show::run(&warehouse, &arguments).await,
        Verb::List(arguments) => list::run(&warehouse, &arguments),
    }
}

fn choose(asked: Option<&str>, warehouses: &[Known], default: Option<&str>) -> Result<Warehouse> {
    let names: Vec<&str> = warehouses.iter().map(|(name, _)| *name).collect();
    let name = match (asked.or(default), names.as_slice()) {
        (Some(name), _) => name,
        (None, [only]) => *only,
        (None, _) => {
            return Err(Error::new("several warehouses are compiled in")
                .remedy(format!("name one with --warehouse: {}", names.join(", "))));
        }
    };
    let Some((_, descriptor)) = warehouses.iter().find(|(known, _)| *known == name) else {
        return Err(Error::new(format!("this binary has no warehouse `{name}`"))
            .remedy(format!("it has: {}", names.join(", "))));
    };
    Ok(descriptor())
}

fn fail(error: &Error) -> ExitCode {
    let _ = writeln!(std::io::stderr().lock(), "error: {error}");
    ExitCode::from(2)
}

/// Writes an answer to standard output; a reader who has gone away (`| head`) is no error.
fn answer(text: &str) -> Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(cause) if cause.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::new("cannot write to standard output").because(cause))
        }
        _ => Ok(()),
    }
}
