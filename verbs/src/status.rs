//! `status`: how things stand.

use crate::source::Format;

/// Say how source, landing, silver and the last runs stand
///
/// Exits with 1 where something has gone beyond a threshold of the spec's `[alerts]`.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    medallion status\n  \
    medallion status --format json")]
pub struct Arguments {
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}
