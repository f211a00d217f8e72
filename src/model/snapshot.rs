//! Landing tables that are fed by snapshots of their source tables, as plain data.

use serde::Serialize;

/// How snapshots are taken of a source's table, and what is made of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Snapshots {
    /// Not more often than once in so many seconds; with every run where it is not said.
    pub every: Option<u64>,
    /// What becomes of rows that a snapshot lacks.
    pub gone: Gone,
}

/// What becomes of rows that have landed and that a snapshot lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Gone {
    /// They end: a delete lands.
    Closed,
    /// They stay as they were, and are counted.
    Kept,
    /// Nobody looks.
    Ignored,
}
