//! `rebuild`: relations from bronze again.

use crate::Selection;

/// Compute relations anew from all that has landed and was written
///
/// Only what differs is written, in one transaction, so that readers notice nothing else.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    medallion rebuild dim_customer\n  \
    medallion rebuild --select +vw_top_titles")]
pub struct Arguments {
    /// Dimensions, facts and stored marts; without any, all of them
    #[arg(value_name = "RELATION", conflicts_with_all = ["select", "exclude"])]
    pub relations: Vec<String>,

    /// Which relations.
    #[command(flatten)]
    pub selection: Selection,
}
