//! `run`: the pipeline, once.

use crate::Selection;

/// For how many seconds a server that goes away is waited for.
pub const PATIENCE: u64 = 60;

/// Bring the warehouse up to date: capture, land, apply, refresh, test; then exit
///
/// It costs as much as what has changed. Killed anywhere, the next run goes on from there.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    medallion run\n  \
    medallion run --wait 300\n  \
    medallion run --full-refresh --select vw_monthly_revenue")]
pub struct Arguments {
    /// For how long to wait for a server that goes away meanwhile, or for room on its disk; 0 is not at all
    #[arg(long, value_name = "SECONDS", default_value_t = PATIENCE)]
    pub wait: u64,

    /// Compute silver and gold anew from all that has landed, and publish it together once the tests have passed
    #[arg(long)]
    pub full_refresh: bool,

    /// Which relations.
    #[command(flatten)]
    pub selection: Selection,
}
