//! `query`: a read-only question.

use std::time::Duration;

/// Ask the warehouse a question, as of any time
///
/// Takes one statement that reads. Without one, and with a terminal, it is a prompt: questions end with a semicolon,
/// Tab completes, `\?` helps.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    medallion query \"SELECT * FROM vw_monthly_revenue LIMIT 7\"\n  \
    medallion query --as-of 2025-07-01 --format csv \"SELECT * FROM dim_film\"\n  \
    medallion query \"SELECT * FROM dim_film FOR SYSTEM_TIME ALL WHERE film_id = 789\"")]
pub struct Arguments {
    /// The question: names without a schema are the warehouse's silver and gold relations, and FOR
    /// SYSTEM_TIME may stand behind them. Without one, it is read from standard input
    pub sql: Option<String>,

    /// Answer from the state at this time, or at this commit position of the source (0/16B3748); a time
    /// without a zone is in the warehouse's. Names with a schema are read
    /// as they are now
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub as_of: Option<String>,

    /// How to print the answer
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,

    /// How long the server may work on it: 500ms, 30s, 10min, 1h; 0 sets no limit
    #[arg(long, value_name = "TIME", default_value = "5min", value_parser = duration)]
    pub timeout: Duration,

    /// Print the SQL that would be sent, and do not ask
    #[arg(long)]
    pub explain: bool,
}

/// How an answer is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Table,
    /// With a header line
    Csv,
    /// An array of objects
    Json,
}

/// A length of time as people write it.
pub fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().map_err(|_| "write it as 30s, 10min or 1h".to_owned())?;
    let milliseconds = match unit.trim() {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "" if number == 0 => 0,
        _ => return Err("write it as 30s, 10min or 1h".to_owned()),
    };
    // As much as the server's setting takes.
    let length = number.checked_mul(milliseconds).filter(|length| *length <= 2_147_483_647);
    length.map(Duration::from_millis).ok_or_else(|| "that is longer than the server can wait".to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::duration;

    #[test]
    fn a_duration_has_a_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("10min"), Ok(Duration::from_secs(600)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        for wrong in ["", "30", "s", "-1s", "1 fortnight", "99999h"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
