//! Landing tables that files feed, as they were written.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{At, OneOrMany};

/// Files that feed a landing table: those of a directory, or of S3-compatible storage, which the environment names
/// when the warehouse runs (`FILES_URL`). Each version of a file lands once.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Feed {
    /// Which files, by their path below that place: `events/date=*/*.jsonl`. A `*` stands for any part of a name, `**/`
    /// for any folders. What stands for it in a folder called `date=*` is a field `date` of each row.
    #[schemars(required)]
    pub path: Option<At<String>>,
    /// What is in them.
    #[schemars(required)]
    pub format: Option<At<FeedFormat>>,
    /// What becomes of a file that has landed and is another one now; `reread` unless said otherwise.
    pub changed: Option<At<Changed>>,
    /// The field that tells since when a row is as it is: a timestamp. Without it, rows are as they are since their
    /// file was written, and files are taken in the order of these times.
    pub time: Option<At<String>>,
    /// The IANA time zone of such times that come without one, `Europe/Berlin`; `UTC` unless said otherwise.
    pub time_zone: Option<At<String>>,
    /// For CSV: what stands between two values; a comma unless said otherwise.
    pub delimiter: Option<At<String>>,
    /// For CSV: what stands around values that hold a delimiter; `"` unless said otherwise.
    pub quote: Option<At<String>>,
    /// For CSV: what stands for NULL, quoted or not, one text or several: `["", "NULL", "n/a"]`; nothing at all unless
    /// said otherwise.
    pub null: Option<OneOrMany>,
    /// For CSV: the fields' names, where the first line does not say them.
    pub columns: Option<At<Vec<At<String>>>>,
}

/// What is in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FeedFormat {
    /// Values between delimiters, a line a row.
    Csv,
    /// A JSON object a line.
    JsonLines,
    /// One JSON array of objects; or an object that holds one, and nothing else of the kind.
    JsonArray,
    /// A batch of changes, `{"changes": [...], "batch_metadata": {...}}`: each change is a row with what was done to it
    /// (`operation_type`: INSERT, UPDATE or DELETE) and when (`cdc_timestamp`).
    ChangeLog,
    /// Apache Parquet: columns with types. What JSON has no word for comes as PostgreSQL writes it.
    Parquet,
}

/// What becomes of a file that has landed and is another one now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Changed {
    /// It is read once more: what has landed of it does not land again.
    Reread,
    /// It has grown, and is read from where it ended: for logs that are appended to.
    Grown,
    /// It should not have: it is told, and nothing of it lands.
    Refuse,
}
