//! Every benchmark runs, at its smallest, and what it found is on the page. How fast anything was is no test's business.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Output};

fn bench(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    command.args(["--size", "small", "--runs", "1", "--without-neighbours", "--day", "2026-03-01", "--to"]);
    command.arg(folder).args(arguments).output().unwrap()
}

/// The titles on a page.
fn titles(folder: &Path) -> Vec<String> {
    let page = std::fs::read_to_string(folder.join("RESULTS.md")).unwrap();
    page.lines().filter_map(|line| line.strip_prefix("## ")).map(str::to_owned).collect()
}

#[test]
fn each_benchmark_runs_and_tells() {
    let folder = tempfile::tempdir().unwrap();
    let output = bench(folder.path(), &[]);
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let page = std::fs::read_to_string(folder.path().join("RESULTS.md")).unwrap();
    assert!(page.contains("SIZE=small`, 2026-03-01: "), "{page}");
    assert!(!page.contains("FAILED"), "{page}");
    let all = titles(folder.path());
    let rows = page.lines().filter(|line| line.starts_with("| ") && !line.contains("---")).count();
    assert!(rows > 3 * all.len(), "each has its table: {page}");

    // One that is measured again by itself takes the place that it had, and the others stay.
    let again = bench(folder.path(), &["--only", "questions"]);
    assert!(again.status.success());
    assert_eq!(titles(folder.path()), all);
}

#[test]
fn what_there_is_not_is_refused_with_what_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let output = bench(folder.path(), &["--only", "questoins"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.starts_with("error: there is no benchmark `questoins`\n  = there are: landing, "), "{said}");
}
