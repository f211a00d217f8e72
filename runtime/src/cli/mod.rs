//! The verbs of the `warehouse` binary, one file each; how they are read says `medallion-verbs`. Chooses the warehouse, checks that the
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

use clap::FromArgMatches as _;
use medallion_verbs::{Arguments, Own, Verb, completions, man};

use crate::descriptor::Warehouse;
use crate::error::{During as _, Error, Result};
use crate::progress::count;

/// A warehouse by its name, and how to get its descriptor.
pub type Known = (&'static str, fn() -> Warehouse);

/// What the warehouse is to do, and which one.
struct Asked {
    warehouse: Option<String>,
    expect_spec: Option<String>,
    verb: Verb,
}

/// How a verb ended: well, or with findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    Findings,
}

/// Runs the command line; the binary's whole `main`.
pub fn main(warehouses: &[Known], default: Option<&'static str>) -> ExitCode {
    let Arguments { warehouse, expect_spec, verb } =
        match Arguments::from_arg_matches(&medallion_verbs::command().get_matches()) {
            Ok(arguments) => arguments,
            Err(error) => error.exit(),
        };
    let verb = match verb {
        Own::Does(verb) => verb,
        Own::Completions(asked) => return ended(words(&asked)),
        Own::Man(asked) => return ended(manual(&asked)),
    };
    let asked = Asked { warehouse, expect_spec, verb };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(cause) => return fail(&Error::new("cannot start the runtime").because(cause)),
    };
    ended(runtime.block_on(interruptible(asked, warehouses, default)))
}

fn ended(outcome: Result<Outcome>) -> ExitCode {
    match outcome {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Findings) => ExitCode::from(1),
        Err(error) => fail(&error),
    }
}

/// Completions are words about the binary, and need no warehouse.
fn words(asked: &completions::Arguments) -> Result<Outcome> {
    let script = completions::script(medallion_verbs::command(), asked.shell);
    answer(&String::from_utf8_lossy(&script))?;
    Ok(Outcome::Done)
}

fn manual(asked: &man::Arguments) -> Result<Outcome> {
    let pages = man::write(medallion_verbs::command(), &asked.to)
        .during(|| format!("cannot write pages of the manual to `{}`", asked.to.display()))?;
    answer(&format!("{} in {}\n", count(pages as u64, "page"), asked.to.display()))?;
    Ok(Outcome::Done)
}

/// Stops at Ctrl-C and SIGTERM: the connections close, and with them unfinished transactions roll back.
async fn interruptible(asked: Asked, warehouses: &[Known], default: Option<&str>) -> Result<Outcome> {
    if matches!(asked.verb, Verb::Watch(_) | Verb::Extract(_)) {
        // Is asked to stop, and ends what it is at.
        return dispatch(asked, warehouses, default).await;
    }
    let interrupted = interrupted(&asked.verb);
    // A question is cancelled at the server first.
    let sees_to_interrupts = matches!(asked.verb, Verb::Query(_));
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .map_err(|cause| Error::new("cannot listen for signals").because(cause))?;
    tokio::select! {
        outcome = dispatch(asked, warehouses, default) => outcome,
        _ = tokio::signal::ctrl_c(), if !sees_to_interrupts => Err(interrupted),
        _ = terminate.recv() => Err(interrupted),
    }
}

/// What to say when a verb is stopped on its way.
fn interrupted(verb: &Verb) -> Error {
    let error = Error::new("interrupted");
    match verb {
        Verb::Demo(_) => error.remedy("`medallion demo` starts over"),
        Verb::Forget(_) => error.remedy("nothing was erased, or all of it: `--dry-run` says which"),
        Verb::Migrate(_) => error.remedy("`medallion migrate status` says what the database has now"),
        Verb::Run(_) => error.remedy("whole batches have landed and nothing else: run again to go on"),
        Verb::Simulate(_) => error.remedy("what the traffic has committed stays at the source"),
        Verb::Rebuild(_) => error.remedy("nothing was changed: rebuild again"),
        Verb::Verify(_)
        | Verb::Test(_)
        | Verb::Query(_)
        | Verb::Diff(_)
        | Verb::Show(_)
        | Verb::List(_)
        | Verb::Watch(_)
        | Verb::Extract(_)
        | Verb::Status(_) => error,
        Verb::Source(_) => error.remedy("`medallion source check` says how the source stands"),
    }
}

async fn dispatch(asked: Asked, warehouses: &[Known], default: Option<&str>) -> Result<Outcome> {
    // An empty variable is an unset one.
    let name = asked.warehouse.as_deref().filter(|name| !name.is_empty());
    let warehouse = choose(name, warehouses, default)?;
    if let Some(expected) = &asked.expect_spec
        && expected != warehouse.spec_hash
    {
        return Err(Error::new(format!("this binary was built from another spec of `{}`", warehouse.name))
            .remedy("run `medallion generate`: `medallion` builds it anew by itself, `cargo build -p warehouse --release` what \
                     you name in MEDALLION_WAREHOUSE_BINARY"));
    }
    match asked.verb {
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
