//! Thresholds, as they were written.

use schemars::JsonSchema;
use serde::Deserialize;

use super::At;

/// How far things may go before somebody should look: `status` says what has been exceeded and exits with 1, and the
/// metrics of `watch` have each. What is not said is not watched.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Alerts {
    /// How far silver and gold may be behind the source: `5 minutes`.
    pub lag: Option<At<String>>,
    /// How much of the source's log may wait to land: `1 GB`.
    pub backlog: Option<At<String>>,
    /// How many changes that have landed may wait to be applied.
    pub unapplied: Option<At<u64>>,
    /// How many of the last 10000 changes of a landing table may say again what the one before of the same key said.
    pub duplicates: Option<At<u64>>,
    /// How many rows may be in quarantine.
    pub quarantined: Option<At<u64>>,
    /// How long ago each table that is polled or copied may have been read last: `1 day`.
    pub age: Option<At<String>>,
}
