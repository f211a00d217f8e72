//! Which files feed a landing table, and how they are read. Says nothing of where they are: the environment does.

/// Which files feed a landing table, and how they are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feed {
    /// Their paths below the place that the environment names, with `*` for any part of a name.
    pub path: String,
    /// What is in them.
    pub format: FeedFormat,
    /// What becomes of a file that has landed and is another one now.
    pub changed: Changed,
    /// The field that tells since when a row is as it is; none where the file's own time does.
    pub time: Option<String>,
    /// The zone of such times that come without one; none for UTC.
    pub time_zone: Option<&'static str>,
}

/// What is in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedFormat {
    /// Values between delimiters, a line a row.
    Csv(Csv),
    /// A JSON object a line.
    JsonLines,
    /// One JSON array of objects.
    JsonArray,
    /// A batch of changes: what it is, and an array of rows with what was done to each and when.
    ChangeLog,
    /// Apache Parquet.
    Parquet,
}

impl FeedFormat {
    /// Whether its rows are lines.
    pub fn is_of_lines(&self) -> bool {
        matches!(self, Self::Csv(_) | Self::JsonLines)
    }
}

impl Feed {
    /// Whether the first line of each file says what its fields are called.
    pub fn begins_with_names(&self) -> bool {
        matches!(&self.format, FeedFormat::Csv(csv) if csv.columns.is_empty())
    }

    /// The field that tells since when a row is as it is; none where the file's own time does.
    pub fn time_field(&self) -> Option<&str> {
        match self.format {
            FeedFormat::ChangeLog => Some(CHANGED_AT),
            _ => self.time.as_deref(),
        }
    }
}

/// The field of a change that says what was done to its row.
pub const OPERATION: &str = "operation_type";

/// The field of a change that says when that was.
pub const CHANGED_AT: &str = "cdc_timestamp";

/// How a CSV file is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Csv {
    /// What stands between two values.
    pub delimiter: u8,
    /// What stands around values that hold a delimiter.
    pub quote: u8,
    /// The texts that stand for NULL.
    pub null: Vec<String>,
    /// The fields' names, where the first line does not say them.
    pub columns: Vec<String>,
}

/// What becomes of a file that has landed and is another one now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// It is read once more: what has landed of it does not land again.
    Reread,
    /// It is read from where it ended.
    Grown,
    /// It is told, and nothing of it lands.
    Refused,
}
