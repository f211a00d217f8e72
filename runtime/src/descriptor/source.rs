//! What the runtime is told of the source: a database, and how it is captured.

use std::time::Duration;

use super::Name;

/// The OLTP database, captured by logical decoding.
#[derive(Clone, Debug)]
pub struct Source {
    /// The publication on the source.
    pub publication: String,
    /// The replication slot on the source.
    pub slot: String,
    /// A table of past changes that lands first.
    pub recorded_log: Option<Name>,
    /// For how long the source keeps its log after it has landed, where it does.
    pub keep_log: Option<Duration>,
    /// The output plugin of its slot.
    pub plugin: Plugin,
    /// What becomes of the rows of partitions that went by themselves.
    pub removed_partitions: RemovedPartitions,
    /// How it is asked, where it is captured by watermark: its log is not read then, and the slot's name is only that
    /// of its position.
    pub polling: Option<Polling>,
}

/// How a source is asked that is captured by watermark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Polling {
    /// Between two polls.
    pub every: Duration,
    /// How old a row has to be, by its watermark, before it is read.
    pub margin: Duration,
    /// How far behind the watermark rows are read again.
    pub look_back: Duration,
    /// How many rows are asked for at a time.
    pub page: u32,
    /// Between two comparisons of keys.
    pub compare_every: Duration,
    /// By what the changes of each landing table are found, in the order of the landing tables.
    pub watermarks: Vec<Watermark>,
}

/// By what the changed rows of a source table are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watermark {
    /// The source's column: a timestamp that rises with each change of a row.
    pub column: String,
    /// What becomes of rows that are gone.
    pub deletes: Deletes,
}

/// What becomes of rows that are gone from a polled table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletes {
    /// They stay as they were.
    Ignored,
    /// They are found by comparing keys.
    Compared,
}

/// An output plugin of logical decoding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Plugin {
    /// PostgreSQL's own.
    #[default]
    Pgoutput,
    /// wal2json, in its second format.
    Wal2json,
}

impl Plugin {
    /// Its name, as a slot has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pgoutput => "pgoutput",
            Self::Wal2json => "wal2json",
        }
    }
}

/// What becomes of the rows of partitions that the stream does not tell of: truncated, detached or dropped by
/// themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RemovedPartitions {
    /// They stay as they were; it is said once.
    #[default]
    Keep,
    /// They are deleted, and with that what else the table's snapshot lacks.
    Delete,
}
