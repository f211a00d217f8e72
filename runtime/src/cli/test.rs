//! `warehouse test`: the tests of the data, a line each, as dbt's users know them.

use std::path::Path;
use std::time::Instant;

use chrono::Utc;
use medallion_verbs::test::{Arguments, Format};

use super::Outcome;
use crate::connection::Database;
use crate::data_test::{self, Status, Tested};
use crate::descriptor::{Name, Warehouse};
use crate::error::{During as _, Error, Result};
use crate::place::Place;
use crate::progress::count;
use crate::select::{self, Selection};
use crate::unit_test;

/// So many of the rows that are wrong are printed.
const SHOWN: usize = 5;

pub async fn run(warehouse: &Warehouse, arguments: &Arguments) -> Result<Outcome> {
    if arguments.unit {
        return unit(warehouse, arguments).await;
    }
    let place = Place::find(warehouse)?;
    let (started, clock) = (Utc::now(), Instant::now());
    let selected = select::tests(warehouse, &arguments.selection)?;
    let of = selected.len();
    let mut number = 0;
    let mut unprinted = Ok(());
    let tested = data_test::test_of(warehouse, &selected, &place, |one| {
        number += 1;
        if let (Format::Human, Ok(())) = (arguments.format, &unprinted) {
            unprinted = super::answer(&lines(one, number, of));
        }
    })
    .await?;
    unprinted?;
    let results = Results {
        json: data_test::run_results(warehouse, &tested, started, clock.elapsed()),
        junit: data_test::junit(warehouse, &tested)?,
        human: summary(&tested, &arguments.selection),
    };
    results.tell(arguments)?;
    let failed = tested.iter().any(|one| one.status.holds_back());
    Ok(if failed { Outcome::Findings } else { Outcome::Done })
}

async fn unit(warehouse: &Warehouse, arguments: &Arguments) -> Result<Outcome> {
    if arguments.unit_tests.is_empty() {
        return Err(Error::new("it is not said where the unit tests stand").remedy(
            "run it as `medallion test --unit`, which knows the spec, or name them with `--unit-tests`",
        ));
    }
    let selected = select::relations(warehouse, &arguments.selection)?;
    let url = std::env::var(Database::Warehouse.variable()).ok().filter(|url| !url.is_empty());
    let (started, clock) = (Utc::now(), Instant::now());
    let mut unprinted = Ok(());
    let chosen = |about: &[Name]| {
        !arguments.selection.is_any() || about.iter().any(|relation| selected.contains(relation))
    };
    let tested =
        unit_test::run(warehouse, &arguments.unit_tests, url.as_deref(), &chosen, |one, number, of| {
            if let (Format::Human, Ok(())) = (arguments.format, &unprinted) {
                unprinted = super::answer(&unit_lines(one, number, of));
            }
        })
        .await?;
    unprinted?;
    let results = Results {
        json: unit_test::run_results(warehouse, &tested, started, clock.elapsed()),
        junit: unit_test::junit(warehouse, &tested)?,
        human: unit_summary(&tested),
    };
    results.tell(arguments)?;
    let failed = tested.iter().any(|one| one.status != unit_test::Status::Passed);
    Ok(if failed { Outcome::Findings } else { Outcome::Done })
}

fn unit_lines(one: &unit_test::Tested, number: usize, of: usize) -> String {
    let word = match one.status {
        unit_test::Status::Passed => "PASS",
        unit_test::Status::Failed => "FAIL",
        unit_test::Status::Broken => "ERROR",
    };
    let time = one.elapsed.as_secs_f64();
    let mut text = format!("{number} of {of} {word} {} [{time:.2}s]\n", one.name);
    if let Some(message) = &one.message {
        text += &format!("  {}: {}\n", one.place, message.replace('\n', "\n  "));
    }
    if !one.diff.is_empty() {
        text += "  - expected, + found\n";
    }
    for line in &one.diff {
        text += &format!("{line}\n");
    }
    text
}

fn unit_summary(tested: &[unit_test::Tested]) -> String {
    use unit_test::Status::{Broken, Failed, Passed};
    if tested.is_empty() {
        return "there are no unit tests\n".to_owned();
    }
    let counted = |status| tested.iter().filter(|one| one.status == status).count();
    let parts = [(Passed, "passed"), (Failed, "failed"), (Broken, "could not be run")];
    summed(tested.len(), "unit test", parts.map(|(status, word)| (counted(status), word)))
}

/// What was tested, and how often it ended how.
fn summed<const N: usize>(tested: usize, noun: &str, parts: [(usize, &str); N]) -> String {
    let parts: Vec<String> = parts
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, word)| format!("{number} {word}"))
        .collect();
    format!("{}: {}\n", count(tested as u64, noun), parts.join(", "))
}

/// Results, in every form.
struct Results {
    human: String,
    json: serde_json::Value,
    junit: String,
}

impl Results {
    fn tell(&self, arguments: &Arguments) -> Result<()> {
        let json = serde_json::to_string_pretty(&self.json).during(|| "cannot write JSON".to_owned())? + "\n";
        super::answer(match arguments.format {
            Format::Human => &self.human,
            Format::Json => &json,
            Format::Junit => &self.junit,
        })?;
        if let Some(folder) = &arguments.results {
            write(folder, "run_results.json", &json)?;
            write(folder, "junit.xml", &self.junit)?;
        }
        Ok(())
    }
}

fn write(folder: &Path, name: &str, text: &str) -> Result<()> {
    let path = folder.join(name);
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&path, text))
        .during(|| format!("cannot write `{}`", path.display()))
}

fn lines(one: &Tested, number: usize, of: usize) -> String {
    let word = match one.status {
        Status::Proved => "PROVED",
        Status::Passed => "PASS",
        Status::Warned => "WARN",
        Status::Failed => "FAIL",
        Status::Broken => "ERROR",
    };
    let time = match one.status {
        Status::Proved => String::new(),
        _ => format!(" [{:.2}s]", one.elapsed.as_secs_f64()),
    };
    let message = one.message.as_deref().map(|text| format!(": {text}")).unwrap_or_default();
    let mut text = format!("{number} of {of} {word} {} on {}{message}{time}\n", one.name, one.relation);
    for row in one.rows.iter().take(SHOWN) {
        text += &format!("  {row}\n");
    }
    if one.rows.len() > SHOWN {
        text += "  …\n";
    }
    text
}

fn summary(tested: &[Tested], selection: &Selection) -> String {
    if tested.is_empty() {
        let text = match selection.is_any() {
            true => "the spec declares no tests of what is selected\n",
            false => "the spec declares no tests\n",
        };
        return text.to_owned();
    }
    let counted = |status: Status| tested.iter().filter(|one| one.status == status).count();
    let parts = [
        (Status::Passed, "passed"),
        (Status::Proved, "proved"),
        (Status::Warned, "warned"),
        (Status::Failed, "failed"),
        (Status::Broken, "could not be asked"),
    ];
    summed(tested.len(), "test", parts.map(|(status, word)| (counted(status), word)))
}
