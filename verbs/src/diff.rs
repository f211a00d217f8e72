//! `diff`: what became different between two times.

/// Prints each row that was added, removed or changed, and under it the changes of bronze that made it so.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    medallion diff vw_monthly_revenue --from 2025-07-01\n  \
    medallion diff dim_customer --from 2025-07-01 --to 2025-08-01 --format json")]
pub struct Arguments {
    /// The relation: a mart, a dimension, a lookup or a fact
    #[arg(value_name = "RELATION")]
    pub relation: String,

    /// The earlier time, or a commit position of the source
    #[arg(long, value_name = "TIME")]
    pub from: String,

    /// The later one; now unless said otherwise
    #[arg(long, value_name = "TIME", default_value = "infinity", hide_default_value = true)]
    pub to: String,

    /// How many rows are told, and how many changes of each
    #[arg(long, value_name = "ROWS", default_value_t = 20)]
    pub limit: u32,

    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// How a difference is printed.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
pub enum Format {
    /// A paragraph a row
    #[default]
    Human,
    /// All of it as one JSON object
    Json,
}
