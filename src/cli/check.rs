//! `medallion check`: says all that is wrong with the specs. Writes nothing.

use std::io::{IsTerminal, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::workspace::Workspace;
use super::{Error, read};
use crate::finding::{Colour, Findings};
use crate::model::{self, Deletes, Gone, Landing, SilverKind, Warehouse};
use crate::spec::Files;

/// Say all that is wrong with the specs
///
/// Each finding has a code, a place and a remedy; `--explain` tells more of a code. Exits with 1 where there are any.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    medallion check\n  \
    medallion check --explain M0304\n  \
    medallion check --base main --format json")]
pub struct Check {
    /// The warehouse's folder or its `spec.toml`; all below `spec/` without. An option of every verb.
    #[arg(skip)]
    pub spec: Option<PathBuf>,
    /// Say whether what this branch changes goes together with what another one has done: a branch, a tag or a hash.
    #[arg(long, value_name = "REVISION")]
    pub base: Option<String>,
    /// Say what a finding's code means, with an example and what to do; without a code, all of them
    #[arg(long, value_name = "CODE", num_args = 0..=1, default_missing_value = "", conflicts_with = "base")]
    pub explain: Option<String>,
    /// For whom findings are written.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

/// For whom findings are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For a person.
    Human,
    /// For a program: one JSON array.
    Json,
}

/// Checks; the status says whether there are findings.
pub fn run(check: &Check) -> Result<ExitCode, read::Unreadable> {
    let specs = read::chosen(check.spec.as_deref())?;
    let results = specs.iter().map(|files| (files, model::load(files))).collect::<Vec<_>>();
    answer(&match check.format {
        Format::Human => results.iter().map(|(files, result)| human(files, result, colour())).collect(),
        Format::Json => {
            format!("{:#}\n", json(results.iter().filter_map(|(_, result)| result.as_ref().err())))
        }
    });
    let found = results.iter().any(|(_, result)| result.is_err());
    Ok(if found { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// Prints findings as every verb does that reads a spec.
pub fn print_findings<'f>(all: impl Iterator<Item = &'f Findings>, format: Format) {
    match format {
        Format::Human => all.for_each(|findings| answer(&rendered(findings, colour()))),
        Format::Json => answer(&format!("{:#}\n", json(all))),
    }
}

/// The one warehouse that a verb is about; where its spec is wrong that is said, and there is none.
pub(super) fn model(workspace: &Workspace) -> Result<Option<Warehouse>, Error> {
    match model::load(&read::warehouse(&workspace.one()?)?) {
        Ok(warehouse) => Ok(Some(warehouse)),
        Err(findings) => {
            print_findings(std::iter::once(&findings), Format::Human);
            Ok(None)
        }
    }
}

/// Prints what was asked for. A reader who has left (`| head`) wants no more of it.
pub(super) fn answer(text: &str) {
    let mut output = std::io::stdout().lock();
    let _ = output.write_all(text.as_bytes()).and_then(|()| output.flush());
}

/// What is said of one warehouse to a person.
pub fn human(files: &Files, result: &Result<Warehouse, Findings>, colour: Colour) -> String {
    match result {
        Ok(warehouse) => {
            let limits = limits(warehouse).into_iter().map(|limit| format!("warning: {limit}\n"));
            format!(
                "{}: {}, no findings\n{}",
                files.spec.path(),
                inventory(warehouse),
                limits.collect::<String>()
            )
        }
        Err(findings) => rendered(findings, colour),
    }
}

fn colour() -> Colour {
    if std::io::stdout().is_terminal() { Colour::Ansi } else { Colour::Plain }
}

fn rendered(findings: &Findings, colour: Colour) -> String {
    let count = match findings.list().len() {
        1 => "1 finding".to_owned(),
        count => format!("{count} findings"),
    };
    // Whoever reads it at a terminal can ask on.
    let more = match findings.list().first() {
        Some(first) if colour == Colour::Ansi => {
            format!("`medallion check --explain {}` tells more\n", first.code.number())
        }
        _ => String::new(),
    };
    format!("{}\n{count}\n{more}", findings.human(colour))
}

/// Findings as a program reads them.
pub(super) fn json<'f>(all: impl Iterator<Item = &'f Findings>) -> serde_json::Value {
    let lists = all.filter_map(|findings| findings.json().as_array().cloned());
    serde_json::Value::Array(lists.flatten().collect())
}

/// What the spec has chosen to do without: history that its source cannot tell.
fn limits(warehouse: &Warehouse) -> Vec<String> {
    let sources = |is: &dyn Fn(&Landing) -> bool| -> String {
        let named = warehouse.landings.iter().filter(|landing| is(landing));
        named.map(|landing| format!("`{}`", landing.source.name)).collect::<Vec<_>>().join(", ")
    };
    let mut limits = Vec::new();
    if !sources(&|one| one.watermark().is_some()).is_empty() {
        limits.push(
            "the source is polled: of several changes of a row between two polls only the last one lands"
                .to_owned(),
        );
    }
    let ignored = sources(&|one| one.watermark().is_some_and(|it| it.deletes == Deletes::Ignored));
    if !ignored.is_empty() {
        limits.push(format!("deletes of {ignored} are not seen; `deletes = \"compare\"` compares keys"));
    }
    let copied = sources(&|one| one.snapshots().is_some());
    if !copied.is_empty() {
        limits.push(format!(
            "{copied}: of several changes of a row between two snapshots only the last one lands, at the time of the \
             second"
        ));
    }
    let left = sources(&|one| one.snapshots().is_some_and(|it| it.gone != Gone::Closed));
    if !left.is_empty() {
        limits.push(format!(
            "rows of {left} that are deleted stay as they were; `snapshot = {{ deletes = \"close\" }}` ends them"
        ));
    }
    limits
}

/// What a warehouse is made of, in a line.
fn inventory(warehouse: &Warehouse) -> String {
    use crate::model::Origin::{Declared, Lookup};
    use crate::model::TOOL_SCHEMA;
    let dimensions = |origin| {
        let is = |kind: &SilverKind| matches!(kind, SilverKind::Dimension(it) if it.origin == origin);
        warehouse.silver.iter().filter(|silver| is(&silver.kind)).count()
    };
    let lookups = dimensions(Lookup);
    // A lookup's own landing table goes with it.
    let declared = warehouse.landings.iter().filter(|landing| landing.name.schema != TOOL_SCHEMA);
    let facts = warehouse.silver.iter().filter(|silver| matches!(silver.kind, SilverKind::Fact(_)));
    let counts = [
        (declared.count(), "landing table", "landing tables"),
        (lookups, "lookup", "lookups"),
        (dimensions(Declared), "dimension", "dimensions"),
        (facts.count(), "fact", "facts"),
        (warehouse.marts.iter().filter(|mart| !mart.is_shown()).count(), "mart", "marts"),
    ];
    let said = counts.map(|(count, one, many)| format!("{count} {}", if count == 1 { one } else { many }));
    said.join(", ")
}
