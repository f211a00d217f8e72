//! SQL is made of the spec and never of data; and of the spec's names and texts none can break out of where it stands.
//! Whatever is said wherever a name or a text may stand is refused with a finding, or is there as it was said: in the
//! SQL, in the Rust, on the page, in what neighbours are given, and in a warehouse on a real server, with values no less
//! hostile in its rows.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

#[path = "hostile/begun.rs"]
mod begun;
#[path = "evolution/descriptor.rs"]
mod descriptor;
#[path = "hostile/given.rs"]
mod given;
#[path = "hostile/lived.rs"]
mod lived;
#[path = "hostile/said.rs"]
mod said;

use std::io::Write as _;
use std::process::{Command, Stdio};

use medallion::emit::page::{self, Observed};
use medallion::emit::{self, FileSet, Workspace};
use medallion::finding::Colour;
use medallion::model::Warehouse;
use said::{Fed, MIXES, SLOTS, mixed, plain};
use squawk_syntax::SourceFile;

/// What ends a string, a name, a body, a remark, a line, a page or a pattern somewhere, and names that are words elsewhere.
const HOSTILE: [&str; 20] = [
    "it's",
    "say \"so\"",
    "\\",
    "\\'; DROP TABLE canary; --",
    "\"; DROP TABLE canary; --",
    "$$; DROP TABLE canary; $$",
    "$1 a$b",
    "-- /* a",
    "a */ b '' \"\"",
    "a\nb",
    "\0",
    "\u{7f}",
    "\u{202e}txet größe 💥",
    " space ",
    "SELECT",
    "self",
    "a.b ../up",
    "{{ x }}{0}%s r#\"x\"# :name ?",
    "</script><script>alert(1)</script>&lt;",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
];

fn emitted(warehouse: &Warehouse) -> FileSet {
    emit::emit(warehouse, &Workspace { warehouses: vec!["hostile".to_owned()], default: None })
}

#[test]
fn whatever_is_said_in_one_place_is_refused_or_stays_in_it() {
    let (mut refused, mut carried) = (0, 0);
    for (at, (slot, _)) in SLOTS.into_iter().enumerate() {
        for (number, said) in HOSTILE.into_iter().enumerate() {
            let mut names = plain();
            names.insert(slot, said.to_owned());
            match said::load(&names, "hostile", Fed::All) {
                Err(findings) => {
                    refused += 1;
                    assert!(!findings.list().is_empty());
                    let shown = findings.human(Colour::Plain);
                    let does_something = |it: char| it.is_control() && it != '\n' || it == '\u{202e}';
                    assert!(!shown.contains(does_something), "{slot} {said:?}: {shown}");
                }
                Ok(warehouse) => {
                    carried += 1;
                    let what = format!("{slot} {said:?}");
                    stays(&warehouse, &what);
                    // Lineage takes longest; whatever is said, it is somewhere.
                    if slot == "said" || (at + number).is_multiple_of(4) {
                        is_given(&warehouse, &what);
                    }
                }
            }
        }
    }
    // Neither is all of it refused, nor is nothing.
    assert!(refused > 100 && carried > 400, "{refused} refused, {carried} carried");
}

/// What is written can be read, and has as many statements as without.
fn stays(warehouse: &Warehouse, what: &str) {
    let files = emitted(warehouse);
    let up = files.iter().find(|(path, _)| path.ends_with("/up.sql")).unwrap().1;
    let errors = SourceFile::parse(up).errors();
    assert!(errors.is_empty(), "{what}: {errors:?}");
    let drops = squawk_lexer::tokenize(up).scan(0, |at, token| {
        let text = &up[*at..*at + token.len as usize];
        *at += text.len();
        Some(text)
    });
    // No word of what is said is a word of the script.
    assert!(!drops.into_iter().any(|word| word == "canary"), "{what} breaks out of its SQL");
}

/// What is given to readers and to neighbours.
fn is_given(warehouse: &Warehouse, what: &str) {
    let page = page::page(warehouse, &Observed::default());
    let is_page = page.matches("<script").count() == 2 && !page.contains("<img");
    assert!(is_page, "{what} breaks out of the page");
    given::stays(warehouse, what);
}

#[test]
fn entities_of_hostile_names_are_rust_and_the_page_is_a_page() {
    for number in 0..MIXES {
        let names = mixed(number);
        let warehouse = said::load(&names, "hostile", Fed::All)
            .unwrap_or_else(|it| panic!("{}", it.human(Colour::Plain)));
        let page = page::page(&warehouse, &Observed::default());
        let scripts = page.matches("<script").count();
        assert_eq!((scripts, page.matches("<img").count()), (2, 0), "{number} breaks out of the page");
        for (path, text) in emitted(&warehouse).iter().filter(|(path, _)| path.ends_with(".rs")) {
            let mut rustfmt = Command::new("rustfmt");
            rustfmt.args(["--edition", "2024", "--check", "--config", "skip_children=true"]);
            let mut rustfmt =
                rustfmt.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
            rustfmt.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
            let output = rustfmt.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(!said.contains("error"), "{path}: {said}\n{text}");
        }
    }
}
