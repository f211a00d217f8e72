//! `test`: the tests of the data, and of the logic.

use std::path::PathBuf;

use crate::Selection;

/// Hold the data against the spec's tests, or with --unit the logic against its examples
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    medallion test\n  \
    medallion test --select tag:finance --results target\n  \
    medallion test --unit")]
pub struct Arguments {
    /// How to print the results
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,

    /// A folder to write the results into: `run_results.json` as dbt does, and `junit.xml`
    #[arg(long, value_name = "FOLDER")]
    pub results: Option<PathBuf>,

    /// Which relations, and which tests.
    #[command(flatten)]
    pub selection: Selection,

    /// Run the unit tests of the logic, on a scratch database, in place of the tests of the data
    #[arg(long)]
    pub unit: bool,

    /// Where the unit tests stand: files, or folders of .toml; the folder `tests` beside the spec unless said otherwise
    // The variable is there whatever is asked: what it says matters to unit tests alone.
    #[arg(long, value_name = "PATH", env = "MEDALLION_UNIT_TESTS", hide_env_values = true)]
    pub unit_tests: Vec<PathBuf>,
}

/// How the results are printed.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
pub enum Format {
    /// A line a test, rows that are wrong below it
    #[default]
    Human,
    /// What dbt writes to `run_results.json`
    Json,
    /// JUnit's XML
    Junit,
}
