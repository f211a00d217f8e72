//! `list`: the relations that a selection means.

use crate::Selection;

/// Needs no database.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    medallion list\n  \
    medallion list --select +vw_top_titles --exclude kind:landing")]
pub struct Arguments {
    /// Which relations.
    #[command(flatten)]
    pub selection: Selection,

    /// How to print them
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// How relations are printed.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
pub enum Format {
    /// A line a relation: its name, what it is, its tags
    #[default]
    Human,
    /// All of them as one JSON array
    Json,
}
