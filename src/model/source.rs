//! Where changes come from as plain data: a database, and how it is captured.

use serde::Serialize;

use super::Name;

/// The OLTP database that changes come from, captured by logical decoding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Source {
    /// The publication on the source.
    pub publication: String,
    /// The replication slot on the source.
    pub slot: String,
    /// A table of past changes that lands before live capture takes over.
    pub recorded_log: Option<Name>,
    /// For how many seconds the source keeps its log after it has landed, where it does.
    pub keep_log: Option<u64>,
    /// The output plugin.
    pub plugin: Plugin,
    /// What becomes of the rows of partitions that went by themselves.
    pub removed_partitions: RemovedPartitions,
    /// How it is asked, where it is captured by watermark; it has no publication and no slot then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub polling: Option<Polling>,
}

/// How a source is asked that is captured by watermark. Times in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Polling {
    /// Between two polls.
    pub every: u64,
    /// How old a row has to be before it is read.
    pub margin: u64,
    /// How far behind the watermark rows are read again.
    pub look_back: u64,
    /// How many rows are asked for at a time.
    pub page: u32,
    /// Between two comparisons of keys.
    pub compare_every: u64,
}

/// By what the changed rows of a source table are found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Watermark {
    /// The source's column.
    pub column: String,
    /// What becomes of rows that are gone.
    pub deletes: Deletes,
}

/// What becomes of rows that are gone from a source table without a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Deletes {
    /// They stay as they were.
    Ignored,
    /// They are found by comparing keys.
    Compared,
}

/// An output plugin of logical decoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Plugin {
    /// PostgreSQL's own.
    Pgoutput,
    /// wal2json, in its second format.
    Wal2json,
}

/// What becomes of the rows of partitions that the stream does not tell of: truncated, detached or dropped by
/// themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum RemovedPartitions {
    /// They stay as they were.
    Keep,
    /// They are deleted.
    Delete,
}
