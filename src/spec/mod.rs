//! A spec as it was written: TOML with its places. Knows the language's words and shapes, and nothing of
//! what they mean: whether a name refers to something is `model::lower`'s to say. What could not be read
//! is left out and reported; the rest is there all the same.

mod alert;
mod at;
mod bronze;
mod by_source;
mod calendar;
mod data_test;
mod dress;
mod feed;
mod files;
mod mart;
pub mod page;
mod parse;
mod recover;
mod scalar;
mod schema;
mod shape;
mod snapshot;
mod staging;
mod written;

pub use alert::Alerts;
pub use at::{At, OneOrMany};
pub use bronze::{Bronze, BronzeDatabase};
pub use by_source::BySource;
pub use calendar::Calendar;
pub use data_test::{DataTest, Severity, TestKind};
pub use dress::{Change, CurrentEnd, ShownAs, SurrogateKey, SurrogateMade, Which};
pub use feed::{Changed, Feed, FeedFormat};
pub use files::Files;
pub use mart::{GrainColumn, Joined, Mart, Measure, Storage};
pub(crate) use parse::parse_text;
pub use parse::{Parsed, parse};
pub use scalar::Scalar;
pub use schema::json_schema;
pub use snapshot::{Gone, Snapshot};
pub use staging::{Staging, StagingColumn, StagingField};
pub use written::*;
