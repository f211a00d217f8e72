//! What was found once is not found again: every file of a corpus goes through its target, and so do the examples from
//! which a search begins.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

/// The files below the workspace that a pattern of one star means.
fn files(folder: &str, name: Option<&str>) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries
        .map(|entry| {
            let path = entry.unwrap().path();
            name.map_or(path.clone(), |name| path.join(name))
        })
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    files
}

fn play(target: fn(&[u8]), files: &[PathBuf]) {
    assert!(!files.is_empty(), "a corpus is there");
    for file in files {
        let bytes = fs::read(file).unwrap();
        assert!(catch_unwind(|| target(&bytes)).is_ok(), "broken by {}", file.display());
    }
}

#[test]
fn specs() {
    play(medallion_fuzz::spec, &files("fuzz/corpus/spec", None));
    play(medallion_fuzz::spec, &files("tests/cases/check", Some("spec.toml")));
    play(medallion_fuzz::spec, &files("tests/cases/generate", Some("spec.toml")));
}

#[test]
fn messages() {
    play(medallion_fuzz::pgoutput, &files("fuzz/corpus/pgoutput", None));
}

#[test]
fn questions() {
    play(medallion_fuzz::question, &files("fuzz/corpus/question", None));
    play(medallion_fuzz::question, &files("runtime/tests/system_time/cases", Some("question.sql")));
}
