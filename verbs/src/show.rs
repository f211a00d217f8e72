//! `show`: what there is to know of a relation.

/// Show a relation's inputs, strategy, SQL, last cost and plan
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    medallion show vw_monthly_revenue\n  \
    medallion show vw_monthly_revenue --analyze")]
pub struct Arguments {
    /// The relation, or several in dbt's grammar of selection
    #[arg(required = true, value_name = "SELECTOR")]
    pub select: Vec<String>,

    /// Run the query, and tell what it took
    #[arg(long)]
    pub analyze: bool,

    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// How relations are printed.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
pub enum Format {
    /// A page a relation
    #[default]
    Human,
    /// All of them as one JSON array
    Json,
}
