//! Programs of others that benchmarks run beside ours, from Python's package index, each in an environment of its own
//! beside what cargo builds. Knows no benchmark.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::scale::Scale;

/// The programs of an environment, made unless it is there; or why it cannot be had.
pub fn environment(name: &str, packages: &[&str], scale: Scale) -> Result<PathBuf, String> {
    if !scale.neighbours {
        return Err("nothing of others was asked for".to_owned());
    }
    let folder = folder()?.join(name);
    let programs = folder.join("bin");
    // Written last, so that what was broken off is made anew.
    let finished = folder.join("finished");
    if finished.exists() {
        return Ok(programs);
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
    run(Command::new(programs.join("pip"))
        .args(["install", "--quiet", "--disable-pip-version-check"])
        .args(packages))?;
    std::fs::write(finished, "").map_err(|error| error.to_string())?;
    Ok(programs)
}

/// Runs a command, and says what it printed.
pub fn run(command: &mut Command) -> Result<String, String> {
    let name =
        Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("`{name}` does not start: {error}"))?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        return Ok(said(&output.stdout));
    }
    let all = said(&output.stdout) + &said(&output.stderr);
    let last: Vec<&str> = all.lines().rev().filter(|line| !line.trim().is_empty()).take(3).collect();
    Err(format!(
        "`{name}` ended with {}: {}",
        output.status,
        last.into_iter().rev().collect::<Vec<_>>().join(" / ")
    ))
}

fn folder() -> Result<PathBuf, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let built = program.ancestors().nth(2).ok_or("this program stands in no folder of what is built")?;
    Ok(built.join("neighbours"))
}
