//! `man`: a page of the manual for a command and each verb below it.

use std::io;
use std::path::{Path, PathBuf};

use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

/// Write the pages of the manual
///
/// `man -l DIRECTORY/medallion-run.1` shows one; in a folder `man1` of the MANPATH they are found by their names.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Example:\n  medallion man --to target/man/man1")]
pub struct Arguments {
    /// The directory to write them to; it is made where it is absent
    #[arg(long, value_name = "DIRECTORY")]
    pub to: PathBuf,
}

/// Writes the pages; gives how many there are.
pub fn write(command: clap::Command, to: &Path) -> io::Result<usize> {
    std::fs::create_dir_all(to)?;
    let all = pages(command)?;
    for (name, page) in &all {
        std::fs::write(to.join(name), page)?;
    }
    Ok(all.len())
}

/// The pages, by the names of their files.
pub fn pages(command: clap::Command) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    add(&command, &mut pages)?;
    Ok(pages)
}

fn add(command: &clap::Command, pages: &mut Vec<(String, Vec<u8>)>) -> io::Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    pages.push((format!("{name}.1"), page(command.clone())?));
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set() && verb.get_name() != "help") {
        add(verb, pages)?;
    }
    Ok(())
}

fn page(command: clap::Command) -> io::Result<Vec<u8>> {
    let said = command.get_after_help().map(ToString::to_string);
    let has_verbs = command.has_subcommands();
    let has_options = command.get_arguments().any(|argument| !argument.is_hide_set());
    let man = Man::new(command);
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    if has_options {
        man.render_options_section(&mut page)?;
    }
    if has_verbs {
        man.render_subcommands_section(&mut page)?;
    }
    if let Some(said) = said {
        after(&said).to_writer(&mut page)?;
    }
    Ok(page)
}

/// What stands below the help: examples as they are typed, under a heading, or some lines of text.
fn after(said: &str) -> Roff {
    let mut roff = Roff::new();
    let (mut examples, mut text) = (Vec::new(), Vec::new());
    for line in said.lines().filter(|line| !line.is_empty() && !line.starts_with("Example")) {
        if line.starts_with("  ") { examples.push(line.trim()) } else { text.push(line) }
    }
    if !text.is_empty() {
        roff.control("SH", ["NOTES"]);
        for line in text {
            roff.text([roman(line)]);
            roff.control("br", []);
        }
    }
    if !examples.is_empty() {
        roff.control("SH", ["EXAMPLES"]);
        roff.control("nf", []);
        for line in examples {
            roff.text([roman(line)]);
        }
        roff.control("fi", []);
    }
    roff
}
