//! How landing tables are fed, and the files that feed some of them, as plain data.

use serde::Serialize;

use super::{Landing, Snapshots, Watermark};

/// How the rows of a landing table come. Locks know the cases by these names, and the first by none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fed {
    /// As the changes that the source's log tells.
    Log,
    /// As the changes that are found by a column of the source's table.
    Watermark(Watermark),
    /// As snapshots of the source's table.
    Snapshots(Snapshots),
    /// Out of files.
    #[serde(rename = "feed")]
    Files(Feed),
}

impl Fed {
    pub(super) fn is_by_log(&self) -> bool {
        matches!(self, Self::Log)
    }
}

impl Landing {
    /// Whether the changes of a source's table feed it, as the source tells them.
    pub fn is_captured(&self) -> bool {
        match self.fed {
            Fed::Log | Fed::Watermark(_) => true,
            Fed::Snapshots(_) | Fed::Files(_) => false,
        }
    }

    /// By what its changes are found, where the source is asked for them.
    pub fn watermark(&self) -> Option<&Watermark> {
        match &self.fed {
            Fed::Watermark(watermark) => Some(watermark),
            Fed::Log | Fed::Snapshots(_) | Fed::Files(_) => None,
        }
    }

    /// How snapshots feed it, where they do.
    pub fn snapshots(&self) -> Option<&Snapshots> {
        match &self.fed {
            Fed::Snapshots(snapshots) => Some(snapshots),
            Fed::Log | Fed::Watermark(_) | Fed::Files(_) => None,
        }
    }

    /// Which files feed it, where they do.
    pub fn feed(&self) -> Option<&Feed> {
        match &self.fed {
            Fed::Files(feed) => Some(feed),
            Fed::Log | Fed::Watermark(_) | Fed::Snapshots(_) => None,
        }
    }
}

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
