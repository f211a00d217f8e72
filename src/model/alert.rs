//! Thresholds, as plain data.

use serde::Serialize;

/// How far something may go before somebody should look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Alert {
    /// What is watched.
    pub of: Watched,
    /// The most that is well: seconds, bytes, or a count.
    pub most: u64,
}

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Watched {
    /// Seconds that silver and gold are behind the source.
    Lag,
    /// Bytes of the source's log that have not landed.
    Backlog,
    /// Changes that have landed and not been applied.
    Unapplied,
    /// Changes that say again what the one before said.
    Duplicates,
    /// Rows in quarantine.
    Quarantined,
    /// Seconds since a table was polled or copied.
    Age,
}

impl Watched {
    /// What `status` calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lag => "lag_seconds",
            Self::Backlog => "backlog_bytes",
            Self::Unapplied => "unapplied",
            Self::Duplicates => "duplicates",
            Self::Quarantined => "quarantined",
            Self::Age => "age_seconds",
        }
    }
}
