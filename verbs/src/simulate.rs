//! `simulate`: rounds of the warehouse's `traffic.sql`.

/// Make traffic at the source
///
/// Plays rounds of the warehouse's `traffic.sql`: one, so many, or at a rate until it is stopped.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    medallion simulate --rounds 5\n  \
    medallion simulate --rate 20 --for 60 --seed 7")]
pub struct Arguments {
    /// How many rounds of traffic; 1, unless it goes on by `--rate` or `--for`
    #[arg(long)]
    pub rounds: Option<u64>,

    /// How many rounds a second, until it is stopped
    #[arg(long, value_name = "ROUNDS", allow_hyphen_values = true)]
    pub rate: Option<f64>,

    /// For how long, in seconds
    #[arg(long = "for", value_name = "SECONDS", allow_hyphen_values = true)]
    pub lasts: Option<f64>,

    /// How long to pause between two rounds, in seconds
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 0.0,
        allow_hyphen_values = true,
        conflicts_with = "rate"
    )]
    pub pause: f64,

    /// What `random()` starts from, so that the same traffic comes again
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u32>,
}
