//! `watch`: the pipeline, continuously.

/// Keep the warehouse up to date until stopped
///
/// A change is seen a moment after it commits. What passes by itself, such as a server that restarts, is waited for.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    medallion watch\n  \
    medallion watch --metrics 9187")]
pub struct Arguments {
    /// Serve /metrics and /health: a port for this machine, an address and a port for others
    #[arg(long, value_name = "ADDRESS")]
    pub metrics: Option<String>,

    /// How soon to look again while the source is busy, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 10)]
    pub poll_busy: u64,

    /// How soon to look again while it is idle, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 200)]
    pub poll_idle: u64,
}
