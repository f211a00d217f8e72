//! `warehouse test`: the tests of the data, a line each, as dbt's users know them.

use std::path::{Path, PathBuf};
use std::time::Instant;

use chrono::Utc;

use super::Outcome;
use crate::data_test::{self, Status, Tested};
use crate::descriptor::Warehouse;
use crate::error::{During as _, Result};
use crate::place::Place;
use crate::progress::count;

/// So many of the rows that are wrong are printed.
const SHOWN: usize = 5;

#[derive(clap::Args)]
pub struct Arguments {
    /// How to print the results
    #[arg(long, value_enum, default_value_t)]
    format: Format,

    /// A folder to write the results into: `run_results.json` as dbt does, and `junit.xml`
    #[arg(long, value_name = "FOLDER")]
    results: Option<PathBuf>,
}

/// How the results are printed.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum Format {
    /// A line a test, rows that are wrong below it
    #[default]
    Human,
    /// What dbt writes to `run_results.json`
    Json,
    /// JUnit's XML
    Junit,
}

pub async fn run(warehouse: &Warehouse, arguments: &Arguments) -> Result<Outcome> {
    let place = Place::find(warehouse.name)?;
    let (started, clock) = (Utc::now(), Instant::now());
    let (mut number, of) = (0, warehouse.tests.len());
    let mut unprinted = Ok(());
    let tested = data_test::test(warehouse, &place, |one| {
        number += 1;
        if let (Format::Human, Ok(())) = (arguments.format, &unprinted) {
            unprinted = super::answer(&lines(one, number, of));
        }
    })
    .await?;
    unprinted?;
    let elapsed = clock.elapsed();
    let results = || {
        let results = data_test::run_results(warehouse, &tested, started, elapsed);
        let text = serde_json::to_string_pretty(&results).during(|| "cannot write JSON".to_owned())?;
        Ok(format!("{text}\n"))
    };
    match arguments.format {
        Format::Human => super::answer(&summary(&tested))?,
        Format::Json => super::answer(&results()?)?,
        Format::Junit => super::answer(&data_test::junit(warehouse, &tested)?)?,
    }
    if let Some(folder) = &arguments.results {
        write(folder, "run_results.json", &results()?)?;
        write(folder, "junit.xml", &data_test::junit(warehouse, &tested)?)?;
    }
    let failed = tested.iter().any(|one| one.status.holds_back());
    Ok(if failed { Outcome::Findings } else { Outcome::Done })
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

fn summary(tested: &[Tested]) -> String {
    if tested.is_empty() {
        return "the spec declares no tests\n".to_owned();
    }
    let counted = |status: Status| tested.iter().filter(|one| one.status == status).count();
    let parts = [
        (Status::Passed, "passed"),
        (Status::Proved, "proved"),
        (Status::Warned, "warned"),
        (Status::Failed, "failed"),
        (Status::Broken, "could not be asked"),
    ];
    let parts: Vec<String> = parts
        .iter()
        .map(|(status, word)| (counted(*status), word))
        .filter(|(number, _)| *number > 0)
        .map(|(number, word)| format!("{number} {word}"))
        .collect();
    format!("{}: {}\n", count(tested.len() as u64, "test"), parts.join(", "))
}
