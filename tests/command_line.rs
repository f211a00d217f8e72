//! The command line as people meet it: each verb has a help with examples that it reads, completions that a shell takes, and
//! a page of the manual. Of both binaries, which read the same verbs.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by them")]

use std::path::Path;
use std::process::Command;

use clap::Command as Verb;
use medallion_verbs::{completions, man};

/// The commands of both binaries, whole.
fn both() -> [Verb; 2] {
    [medallion::cli::command(), medallion_verbs::command()].map(|mut command| {
        command.build();
        command
    })
}

/// A command and all below it, with what they are called.
fn all(command: &Verb) -> Vec<(String, &Verb)> {
    let mut all = vec![(command.get_name().to_owned(), command)];
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        let below = self::all(verb).into_iter();
        all.extend(below.map(|(name, verb)| (format!("{} {name}", command.get_name()), verb)));
    }
    all
}

/// The examples that stand below a command's help.
fn examples(command: &Verb) -> Vec<String> {
    let said = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    said.lines().filter_map(|line| line.strip_prefix("  ")).map(str::to_owned).collect()
}

#[test]
fn every_verb_has_examples_that_it_reads() {
    for command in both() {
        let program = command.get_name().to_owned();
        for (name, verb) in all(&command) {
            if name == program {
                continue;
            }
            let examples = examples(verb);
            assert!(!examples.is_empty(), "`{name}` has no example");
            for example in examples {
                assert!(example.starts_with(&format!("{program} ")), "`{name}`: {example}");
                // The rest of the line is the shell's.
                let own = example.split(" > ").next().unwrap();
                let words = shlex::split(own).unwrap();
                let read = command.clone().try_get_matches_from(&words);
                read.unwrap_or_else(|error| panic!("{name}: {example}\n{error}"));
                let verb = name.strip_prefix(&format!("{program} ")).unwrap();
                assert!(own.contains(verb), "`{name}` is not what `{example}` calls");
            }
        }
    }
}

#[test]
fn every_verb_and_option_says_in_a_line_what_it_is() {
    for command in both() {
        for (name, verb) in all(&command) {
            let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
            let is_well = about.chars().next().is_some_and(char::is_uppercase) && !about.ends_with('.');
            assert!(is_well && about.chars().count() <= 110, "`{name}`: {about:?}");
            for argument in verb.get_arguments().filter(|one| !one.is_hide_set()) {
                let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
                let is_well = help.chars().next().is_some_and(char::is_uppercase) && !help.ends_with('.');
                assert!(is_well, "`{name}` {}: {help:?}", argument.get_id());
            }
        }
    }
}

/// What the tool prints.
fn printed(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_medallion")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_verb_of_the_warehouse_tells_its_help_without_one() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_medallion"))
        .current_dir(folder.path())
        .args(["run", "--help"])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("Usage: medallion run [OPTIONS]") && said.contains("--full-refresh"), "{said}");
    // A slip of the pen is told before anything is built.
    let output = Command::new(env!("CARGO_BIN_EXE_medallion"))
        .current_dir(folder.path())
        .args(["run", "--wiat", "5"])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(said.contains("'--wiat'") && said.contains("'--wait'"), "{said}");
}

/// What bash offers behind these words.
fn offered(script: &Path, words: &[&str]) -> Vec<String> {
    let program = words[0];
    let (last, before) = (words[words.len() - 1], words[words.len() - 2]);
    let asked = format!(
        "source {}; COMP_WORDS=({}); COMP_CWORD={}; _{program} {program} '{last}' '{before}'; printf '%s\\n' \
         \"${{COMPREPLY[@]}}\"",
        script.display(),
        words.iter().map(|word| format!("'{word}' ")).collect::<String>(),
        words.len() - 1,
    );
    let output = Command::new("bash").args(["--norc", "-c", &asked]).output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_verbs_options_and_words() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("medallion");
    std::fs::write(&script, printed(&["completions", "bash"])).unwrap();
    for (words, expected) in [
        (&["medallion", "reb"][..], &["rebuild"][..]),
        (&["medallion", "migrate", "f"], &["fresh"]),
        (&["medallion", "migrate", "ver"], &["verify"]),
        (&["medallion", "run", "--full"], &["--full-refresh"]),
        (&["medallion", "query", "--format", ""], &["table", "csv", "json"]),
        (&["medallion", "check", "--expl"], &["--explain"]),
    ] {
        assert_eq!(offered(&script, words), expected, "{words:?}");
    }
    let own = completions::script(medallion_verbs::command(), clap_complete::Shell::Bash);
    std::fs::write(&script, own).unwrap();
    assert_eq!(offered(&script, &["warehouse", "simulate", "--se"]), ["--seed"]);
}

#[test]
fn every_shell_has_completions() {
    use clap::ValueEnum as _;
    for shell in clap_complete::Shell::value_variants() {
        let script = printed(&["completions", &shell.to_string()]);
        for word in ["rebuild", "full-refresh", "warehouse-binary"] {
            assert!(script.contains(word), "{shell} does not know `{word}`");
        }
    }
}

#[test]
fn the_manual_has_a_page_for_every_verb() {
    for command in both() {
        let verbs = all(&command);
        let pages = man::pages(command.clone()).unwrap();
        assert_eq!(pages.len(), verbs.len());
        for ((name, _), (file, page)) in verbs.iter().zip(&pages) {
            assert_eq!(*file, format!("{}.1", name.replace(' ', "-")));
            let page = std::str::from_utf8(page).unwrap();
            for section in [".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION"] {
                assert!(page.contains(section), "{file} has no `{section}`");
            }
            assert!(page.contains(".SH EXAMPLES") || page.contains(".SH NOTES"), "{file} has no examples");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("man1");
    let said = printed(&["man", "--to", to.to_str().unwrap()]);
    assert_eq!(said, format!("{} pages in {}\n", std::fs::read_dir(&to).unwrap().count(), to.display()));
    // Where there is one, who sets manuals has nothing to say of ours.
    let Ok(found) = Command::new("groff").arg("--version").output() else { return };
    assert!(found.status.success());
    for page in std::fs::read_dir(&to).unwrap() {
        let page = page.unwrap().path();
        let output = Command::new("groff").args(["-man", "-Tutf8", "-ww", "-z"]).arg(&page).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{}", page.display());
    }
}
