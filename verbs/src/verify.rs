//! `verify`: the laws on the warehouse at hand.

use crate::Selection;

/// Hold the warehouse against its laws: periods, silver against bronze, marts against their definitions
///
/// Looks at one snapshot, keeps nothing and blocks nobody. Exits with 1 where something is not as it should be.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    medallion verify\n  \
    medallion verify --select +fact_payment")]
pub struct Arguments {
    /// How to print the checks
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,

    /// Which relations.
    #[command(flatten)]
    pub selection: Selection,
}

/// How the checks are printed.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
pub enum Format {
    /// A line a check, findings below it
    #[default]
    Human,
    /// All of them as one JSON array
    Json,
}
