//! Which relations are meant, as every verb that takes several of them is told.

/// What is asked for, as on the command line.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Selection {
    /// Only these relations, in dbt's grammar: `+vw_top_titles`, `tag:daily`, `kind:mart,br_*+`
    #[arg(long, short = 's', value_name = "SELECTOR", num_args = 1..)]
    pub select: Vec<String>,

    /// But not these
    #[arg(long, value_name = "SELECTOR", num_args = 1..)]
    pub exclude: Vec<String>,
}

impl Selection {
    /// Whether anything is said.
    pub fn is_any(&self) -> bool {
        !self.select.is_empty() || !self.exclude.is_empty()
    }
}
