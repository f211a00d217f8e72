//! What the README, the pages beside it and those of `docs/` say of the project is so: each command that they show is one, each file and
//! link that they name is there. What a command does is the other tests' matter.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by them")]

use std::path::{Path, PathBuf};

/// The pages at the root and every page of `docs/`, with their text.
fn pages() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let beside = std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut pages: Vec<PathBuf> =
        beside.filter(|path| path.extension().is_some_and(|is| is == "md")).collect();
    pages.extend(["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"].map(|page| root.join(page)));
    pages.sort();
    pages.into_iter().map(|page| (page.clone(), std::fs::read_to_string(page).unwrap())).collect()
}

/// The commands in a page's indented blocks; one that leaves a quote open goes on in the next line.
fn commands(page: &str) -> Vec<Vec<String>> {
    let mut commands = Vec::new();
    let mut open = String::new();
    for line in page.lines().filter_map(|line| line.strip_prefix("    ")) {
        if open.is_empty() && !line.starts_with("medallion ") && !line.starts_with("make ") {
            continue;
        }
        open = if open.is_empty() { line.to_owned() } else { format!("{open}\n{line}") };
        if let Some(words) = shlex::split(&open) {
            open.clear();
            commands.extend(words.split(|word| word == "&&").map(<[String]>::to_vec));
        }
    }
    assert_eq!(open, "", "a quote is left open");
    commands
}

/// By the tool's command line, which reads the warehouse's as well.
fn parse(command: &[String]) -> Result<(), clap::Error> {
    // Where it is written to is the shell's.
    let own = command.iter().take_while(|word| *word != ">");
    medallion::cli::command().try_get_matches_from(own).map(drop)
}

#[test]
fn every_command_that_is_shown_is_one() {
    let makefile = std::fs::read_to_string("Makefile").unwrap();
    let mut seen = 0;
    for (page, text) in pages() {
        for command in commands(&text) {
            let said = format!("{}: {}", page.display(), command.join(" "));
            match command[0].as_str() {
                "make" => {
                    let target = &command[1];
                    assert!(makefile.contains(&format!("\n{target}:")), "{said}: no such target");
                }
                _ => parse(&command).unwrap_or_else(|error| panic!("{said}\n{error}")),
            }
            seen += 1;
        }
    }
    assert!(seen > 30, "{seen} commands only: are they found?");
}

#[test]
fn every_file_that_is_named_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut lacking = Vec::new();
    for (page, text) in pages() {
        let folder = page.parent().unwrap();
        for line in text.lines() {
            // Every other piece stands between backticks.
            let quoted = line.split('`').skip(1).step_by(2).filter(|quoted| is_path(quoted));
            lacking.extend(
                quoted
                    .filter(|path| !root.join(path.trim_end_matches('/')).exists())
                    .map(|path| format!("{}: `{path}`", page.display())),
            );
            let links =
                line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link);
            lacking.extend(
                links
                    .filter(|link| !link.contains("://"))
                    .filter(|link| !folder.join(link.split('#').next().unwrap()).exists())
                    .map(|link| format!("{}: {link}", page.display())),
            );
        }
    }
    assert!(lacking.is_empty(), "{lacking:#?}");
}

/// Whether it is a place in this repository: begins with a folder of its own.
fn is_path(quoted: &str) -> bool {
    let plain = |one: char| one.is_ascii_alphanumeric() || "/._-".contains(one);
    quoted.split_once('/').is_some_and(|(first, rest)| {
        !first.is_empty() && !rest.is_empty() && quoted.chars().all(plain) && Path::new(first).is_dir()
    })
}
