//! `demo`: everything on an embedded server.

/// Starts the embedded PostgreSQL, fills a source, migrates, runs, and tells what the warehouse shows: always in
/// databases of its own, which stay for looking around.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    medallion demo\n  \
    medallion demo --fresh")]
pub struct Arguments {
    /// Start over even if the databases were not made by a demo
    #[arg(long)]
    pub fresh: bool,
}
