//! What a dimension wears: a surrogate key, the names and conventions of its period, columns that tell of the change.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{At, DataTest};

/// A column that tells the versions of a dimension apart by itself.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SurrogateKey {
    /// Its name.
    #[schemars(required)]
    pub name: Option<At<String>>,
    /// How it is made.
    #[serde(rename = "as")]
    #[schemars(required)]
    pub made: Option<At<SurrogateMade>>,
    /// What a hash is made of, in this order: columns of the dimension, and the period's start, by the name under which
    /// it is shown.
    pub of: Option<At<Vec<At<String>>>>,
    /// Becomes a COMMENT.
    pub description: Option<At<String>>,
}

/// How a surrogate key is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SurrogateMade {
    /// A number, given as versions come to be and kept as long as they stand. What has landed does not say it.
    Identity,
    /// The MD5 of the columns' text, as `dbt_utils.generate_surrogate_key` makes it. Facts can look it up.
    Hash,
}

/// A view of every version of a dimension, with a period of other names and conventions.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShownAs {
    /// Its name, in the silver schema.
    #[schemars(required)]
    pub name: Option<At<String>>,
    /// The period's start, inclusive; `valid_from` unless said otherwise.
    pub start: Option<At<String>>,
    /// The period's end, exclusive; `valid_to` unless said otherwise.
    pub end: Option<At<String>>,
    /// What the end of a current version is; `infinity` unless said otherwise.
    pub current_end: Option<At<CurrentEnd>>,
    /// The column that says whether a version is the current one; there is none unless it is named.
    pub is_current: Option<At<String>>,
    /// Becomes a COMMENT.
    pub description: Option<At<String>>,
    /// What its rows are held to: every version.
    #[serde(default)]
    pub tests: Vec<At<DataTest>>,
}

/// What the end of a current version is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum CurrentEnd {
    /// `infinity`, as it is stored.
    #[serde(rename = "infinity")]
    Infinity,
    /// NULL.
    #[serde(rename = "null")]
    Null,
    /// The beginning of that day, in the warehouse's time zone.
    #[serde(rename = "9999-12-31")]
    LastDay,
}

/// What a column tells of the change that made the row's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// What it did: `INSERT` or `UPDATE`, in a `char(1)` its first letter.
    Operation,
    /// When it was committed at the source: its system time.
    Time,
    /// Its position (`lsn`).
    Position,
    /// When it landed.
    Landed,
    /// The batch that it landed in: an identifier made of the time at which that transaction landed.
    Batch,
}

/// Which of the changes of a version is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Which {
    /// The one that opened the version.
    Opening,
    /// The last one of the row while the version was current, whether it changed a tracked column or not.
    Latest,
}
