//! Landing tables that are fed by snapshots, as they were written.

use schemars::JsonSchema;
use serde::Deserialize;

use super::At;

/// A landing table fed by whole copies of its source table: each is compared with what has landed, and what differs
/// lands at the time of the copy.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// How often, at most, a copy is taken: `1 day`. Where it is not said each run takes one, and `watch` one an hour.
    pub every: Option<At<String>>,
    /// What becomes of rows that a copy lacks; `close` unless said otherwise.
    pub deletes: Option<At<Gone>>,
}

/// What becomes of rows that have landed and that a snapshot lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Gone {
    /// They stay as they were last; a run says how many they are.
    Keep,
    /// They end: a delete lands, at the time of the snapshot.
    Close,
    /// Nobody looks: for copies that hold a part of the rows, such as the latest ones.
    Ignore,
}
