//! `extract`: what has changed at a source that is polled, as files.

use std::path::PathBuf;

/// Polls the source as the spec says, and writes a file a batch of changes. A warehouse that never meets the source
/// reads these files as its feed.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    medallion extract --to /data/changes\n  \
    medallion extract --to s3://lake/changes --state /var/lib/changes --every 60")]
pub struct Arguments {
    /// The directory, or the bucket as s3://bucket/prefix, that they are written to: a folder a table, a file a batch
    #[arg(long, value_name = "PLACE")]
    pub to: String,

    /// The directory that keeps what was written to a bucket; for a directory that is itself
    #[arg(long, value_name = "DIRECTORY")]
    pub state: Option<PathBuf>,

    /// Look again and again, so many seconds apart, until it is stopped
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true)]
    pub every: Option<f64>,
}
