//! `forget`: erases a subject.

/// Erases a row of the source by its key: what landed of it, every version and earlier state, what was written past
/// the feed, what could not land, and what retention put aside. What other relations copied of it goes from them, and
/// marts follow. Rows that name the key keep it: a payment still says whose it was, by a number that nothing explains.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    medallion forget dim_customer 42 --dry-run\n  \
    medallion forget dim_customer customer_id=42")]
pub struct Arguments {
    /// The relation: a dimension, a fact, a lookup, or the landing table that feeds it
    pub relation: String,

    /// The key's values: in its order, or as column=value; after `--` if one begins with a hyphen
    #[arg(required = true, value_name = "KEY", allow_negative_numbers = true)]
    pub key: Vec<String>,

    /// Erase although it is at the source still: a change there brings it back
    #[arg(long)]
    pub even_if_current: bool,

    /// Erase although a test of the data refuses what is left
    #[arg(long, conflicts_with = "dry_run")]
    pub even_if_tests_fail: bool,

    /// Say what would go, and leave it
    #[arg(long)]
    pub dry_run: bool,
}
