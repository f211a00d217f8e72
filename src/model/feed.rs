//! Landing tables that files feed, as plain data.

use serde::Serialize;

/// Which files feed a landing table, and how they are read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Feed {
    /// Their paths below the place that the environment names, with `*` for any part of a name.
    pub path: String,
    /// What is in them.
    pub format: FeedFormat,
    /// What becomes of a file that has landed and is another one now.
    pub changed: Changed,
    /// The field that tells since when a row is as it is; none where the file's own time does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// The zone of such times that come without one; none for UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
}

/// What is in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum FeedFormat {
    /// Values between delimiters.
    Csv(Csv),
    /// A JSON object a line.
    JsonLines,
    /// One JSON array of objects.
    JsonArray,
    /// A batch of changes.
    ChangeLog,
    /// Apache Parquet.
    Parquet,
}

/// How a CSV file is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Csv {
    /// What stands between two values: one ASCII character.
    pub delimiter: char,
    /// What stands around values that hold a delimiter: one ASCII character.
    pub quote: char,
    /// The texts that stand for NULL.
    pub null: Vec<String>,
    /// The fields' names, where the first line does not say them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
}

/// What becomes of a file that has landed and is another one now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Changed {
    /// It is read once more.
    Reread,
    /// It is read from where it ended.
    Grown,
    /// It is told.
    Refused,
}
