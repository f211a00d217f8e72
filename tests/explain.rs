//! The pages that the code writes, and `check --explain`: each code has an explanation, and the example in it is refused with that
//! very code. `MEDALLION_UPDATE=1` writes the page anew.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by them")]

use std::fs;
use std::path::Path;
use std::process::Command;

use medallion::finding::{Code, SourceText, explain};
use medallion::{cli, emit, model, spec};

const SPEC: &str = "spec/shop/spec.toml";

/// The codes of what is wrong with an example that needs no past.
fn refused(code: Code) -> Vec<Code> {
    let mut files = spec::Files::alone("shop", SourceText::new(SPEC, ""));
    for (kind, text) in explain::examples(code) {
        match kind.split_once(' ') {
            None => files.spec = SourceText::new(SPEC, explain::spec(&text)),
            Some(("toml", "latin1")) => {
                let text = text.replace("\\xe9", "\u{e9}");
                let bytes = text.chars().map(|one| u8::try_from(u32::from(one)).unwrap());
                files.spec = SourceText::new(SPEC, bytes.collect::<Vec<u8>>());
            }
            Some((_, name)) => drop(files.sql.insert(name.to_owned(), SourceText::new(name, text))),
        }
    }
    let findings = model::load(&files).expect_err(code.number());
    findings.list().iter().map(|finding| finding.code).collect()
}

/// Runs the tool in a folder.
fn medallion(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_medallion"));
    let output = command.current_dir(folder).args(arguments).env_remove("MEDALLION_SPEC").output().unwrap();
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

fn git(folder: &Path, arguments: &[&str]) {
    let done = Command::new("git")
        .current_dir(folder)
        .args(["-c", "user.name=Ann", "-c", "user.email=ann@shop.example", "-c", "commit.gpgsign=false"])
        .args(arguments)
        .envs([("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_NOSYSTEM", "1")])
        .output()
        .unwrap();
    assert!(done.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// What is said of an example that changes a spec of before.
fn said_of_a_change(code: Code) -> String {
    let examples = explain::examples(code);
    let text = |kind: &str| examples.iter().find(|(is, _)| *is == kind).map(|(_, text)| explain::spec(text));
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("spec/shop")).unwrap();
    let write = |text: String| {
        fs::write(folder.path().join(SPEC), text).unwrap();
        medallion(folder.path(), &["generate"])
    };
    let written = write(text("toml before").unwrap());
    assert!(!written.contains("error["), "{}: what was before is right: {written}", code.number());
    let Some(theirs) = text("toml theirs") else { return write(text("toml after").unwrap()) };
    git(folder.path(), &["init", "--quiet", "--initial-branch=main"]);
    let commit = |message: &str| {
        git(folder.path(), &["add", "--all"]);
        git(folder.path(), &["commit", "--quiet", "--message", message]);
    };
    commit("before");
    git(folder.path(), &["branch", "ours"]);
    write(theirs);
    commit("theirs");
    git(folder.path(), &["checkout", "--quiet", "ours"]);
    write(text("toml after").unwrap());
    commit("ours");
    medallion(folder.path(), &["check", "--base", "main"])
}

#[test]
fn every_example_is_refused_with_its_code() {
    for code in Code::ALL {
        let examples = explain::examples(*code);
        assert!(!examples.is_empty(), "{} has no example", code.number());
        if examples.iter().any(|(kind, _)| *kind == "toml before") {
            let said = said_of_a_change(*code);
            assert!(said.contains(&format!("error[{}]", code.number())), "{}: {said}", code.number());
        } else {
            // Nothing else is wrong: a reader would not know which of them is meant.
            let refused = refused(*code);
            assert!(refused.iter().all(|one| one == code), "{}: {refused:?}", code.number());
        }
    }
}

#[test]
fn the_shop_of_the_examples_is_right() {
    let files = spec::Files::alone("shop", SourceText::new(SPEC, explain::SHOP));
    let warehouse = model::load(&files).expect("it has no findings");
    assert!(!emit::spec_hash(&warehouse).is_empty());
}

#[test]
fn every_code_is_explained_in_text_an_example_and_a_way_out() {
    for code in Code::ALL {
        let paragraphs: Vec<&str> = code.explanation().split("\n\n").collect();
        let first = paragraphs.first().unwrap();
        let last = paragraphs.last().unwrap();
        assert!(!first.starts_with("```") && !last.contains("```"), "{}", code.number());
        let widest = code.explanation().lines().map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= 120, "{} is {widest} wide", code.number());
    }
    let files = fs::read_dir("src/finding/explained").unwrap().count();
    assert_eq!(files, Code::ALL.len() + 1, "a text a code, and the shop");
}

#[test]
fn the_pages_are_what_the_code_says() {
    for (path, text) in [("docs/findings.md", explain::page()), ("docs/spec.md", cli::schema::page())] {
        if std::env::var_os("MEDALLION_UPDATE").is_some() {
            fs::write(path, &text).unwrap();
        }
        assert!(fs::read_to_string(path).unwrap_or_default() == text, "{path}: run with MEDALLION_UPDATE=1");
    }
}

#[test]
fn a_code_is_explained_in_the_terminal() {
    let here = Path::new(".");
    let said = medallion(here, &["check", "--explain", "m0304"]);
    assert!(said.starts_with("M0304: A mart groups or measures by what is not there.\n\n"), "{said}");
    assert!(said.contains("\n    [[mart]]\n") && !said.contains("```"), "{said}");
    let listed = medallion(here, &["check", "--explain"]);
    assert_eq!(listed.lines().count(), Code::ALL.len());
    let said = medallion(here, &["check", "--explain", "M0340"]);
    assert!(said.starts_with("error: no finding has the code `M0340`\n  = did you mean `M0304`?"), "{said}");
    let json = medallion(here, &["check", "--explain", "M0101", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["code"], "M0101");
}
