//! What was observed of a warehouse: results of its tests, its last runs, how far its relations are. Read elsewhere.

use std::collections::BTreeMap;

/// What is known of the warehouse at work; nothing is fine.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// The last result of each test, by its name.
    pub tests: BTreeMap<String, TestResult>,
    /// When they were looked at.
    pub tested: Option<String>,
    /// The last runs and watches, the oldest first.
    pub runs: Vec<Run>,
    /// The system time up to which the source's changes have landed.
    pub landed: Option<String>,
    /// How far relations are, by `schema.name`.
    pub fresh: BTreeMap<String, Fresh>,
}

/// How a test ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TestResult {
    /// `pass`, `warn`, `fail` or `error`.
    pub status: String,
    /// What was found.
    pub message: Option<String>,
    /// How long it took, in seconds.
    pub seconds: f64,
}

/// A run, or a stretch of a watch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Run {
    /// When it began.
    pub started: String,
    /// How long it took.
    pub seconds: f64,
    /// `running`, `succeeded` or `failed`.
    pub status: String,
    /// Rows that landed.
    pub landed: u64,
    /// Rows of silver and gold that were written.
    pub written: u64,
    /// Whether it was a watch.
    pub watch: bool,
    /// Why it failed.
    pub error: Option<String>,
}

/// How far a relation is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fresh {
    /// The system time that it shows.
    pub time: String,
    /// The rows that it was last given, and the seconds that took, where a run says.
    pub last: Option<(u64, f64)>,
}
