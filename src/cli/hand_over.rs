//! Hands a verb over to the warehouse's own binary: builds it where none is named, tells it which warehouse
//! and which spec is meant, and becomes it, so that input, output, signals and status are its own.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use super::workspace::Workspace;
use super::{Error, check};
use crate::emit;

/// Where the warehouse's own binary, which knows no spec, finds its unit tests.
const UNIT_TESTS: &str = "MEDALLION_UNIT_TESTS";

/// The warehouse's own binary, and its package.
const BINARY: &str = "warehouse";

/// The folder of that package.
const GENERATED: &str = "generated";

/// Below which folder cargo puts what it builds, and by which profile: the tool's own. Who tries it from a checkout has
/// most of it compiled then and does not wait for it to be optimised; who has installed the tool runs what is.
const PROFILE: (&str, &str) = if cfg!(debug_assertions) { ("debug", "dev") } else { ("release", "release") };

/// So long nobody wonders.
const MOMENT: Duration = Duration::from_secs(2);

pub(super) fn run(
    workspace: &Workspace,
    binary: Option<&Path>,
    arguments: &[OsString],
) -> Result<ExitCode, Error> {
    let Some(warehouse) = check::model(workspace)? else { return Ok(ExitCode::from(1)) };
    let mut command = match binary {
        Some(binary) => Command::new(binary),
        None => built(workspace)?,
    };
    command.args(["--warehouse", &warehouse.name, "--expect-spec", &emit::spec_hash(&warehouse)]);
    command.args(arguments);
    if std::env::var_os(UNIT_TESTS).is_none_or(|paths| paths.is_empty()) {
        command.env(UNIT_TESTS, unit_tests(&workspace.one()?));
    }
    // Returns only where it fails.
    let cause = command.exec();
    let program = command.get_program().to_string_lossy().into_owned();
    Err(Error::new(
        format!("cannot run `{program}`: {cause}"),
        "name a built warehouse with `--warehouse-binary`, or install Rust from https://rustup.rs",
    ))
}

/// The folder beside the spec.
fn unit_tests(spec: &Path) -> PathBuf {
    let folder = if spec.is_dir() { spec } else { spec.parent().unwrap_or(Path::new(".")) };
    folder.join("tests")
}

/// Builds the workspace's own binary.
fn built(workspace: &Workspace) -> Result<Command, Error> {
    let mut build = cargo(workspace);
    let (folder, _) = PROFILE;
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.root.join("target"), PathBuf::from);
    build.stdin(Stdio::inherit()).stderr(Stdio::inherit());
    // Nobody waits for minutes without a word.
    let output = if target.join(folder).join(BINARY).exists() {
        build.arg("--quiet");
        told_of(|| build.output())
    } else {
        eprintln!("building the warehouse: the first time takes a few minutes");
        build.output()
    };
    match output {
        Ok(output) if output.status.success() => {
            executable(&output.stdout).map(Command::new).ok_or_else(|| {
                Error::new(
                    "cargo does not say where it has built the warehouse",
                    "name a built warehouse with `--warehouse-binary`",
                )
            })
        }
        Ok(_) => Err(Error::new(
            "the warehouse does not build",
            "run `medallion generate`; what is written by hand may have to follow the spec",
        )),
        Err(cause) => Err(Error::new(
            format!("cannot run `cargo`: {cause}"),
            "name a built warehouse with `--warehouse-binary`, or install Rust from https://rustup.rs",
        )),
    }
}

/// Says what is waited for, where that takes longer than a moment: the spec has changed since it was built.
fn told_of<T>(build: impl FnOnce() -> T) -> T {
    let (finished, waiting) = mpsc::channel::<()>();
    let teller = thread::spawn(move || {
        if waiting.recv_timeout(MOMENT) == Err(RecvTimeoutError::Timeout) {
            eprintln!("building the warehouse anew");
        }
    });
    let built = build();
    drop(finished);
    let _ = teller.join();
    built
}

fn cargo(workspace: &Workspace) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    let (_, profile) = PROFILE;
    command.args(["build", "--bin", BINARY, "--profile", profile]);
    command.arg("--message-format=json-render-diagnostics");
    // What a workspace builds together shares what it is built of.
    if !workspace.builds_by_default(GENERATED) {
        command.args(["--package", BINARY]);
    }
    command.arg("--manifest-path").arg(workspace.root.join("Cargo.toml"));
    command
}

/// Where cargo tells that the binary is (The Cargo Book, External Tools: artifact messages).
fn executable(messages: &[u8]) -> Option<PathBuf> {
    messages.split(|byte| *byte == b'\n').find_map(|line| {
        let message: serde_json::Value = serde_json::from_slice(line).ok()?;
        let is_binary = message["target"]["name"] == BINARY && message["target"]["kind"][0] == "bin";
        message["executable"].as_str().filter(|_| is_binary).map(PathBuf::from)
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::executable;

    #[test]
    fn the_binary_is_found_among_what_cargo_tells() {
        let told = br#"{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"warehouse"},"executable":null}
a line that is none
{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"other"},"executable":"/elsewhere/other"}
{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"warehouse"},"executable":"/elsewhere/warehouse"}
{"reason":"build-finished","success":true}
"#;
        assert_eq!(executable(told), Some(PathBuf::from("/elsewhere/warehouse")));
        assert_eq!(executable(b""), None);
    }
}
