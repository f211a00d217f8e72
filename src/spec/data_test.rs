//! Rules that a relation's rows keep, as they are written.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{At, Scalar};

/// A rule that a relation's rows keep. A run publishes nothing that breaks a rule whose severity is `error`; what
/// a constraint of the table proves is not run.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DataTest {
    /// Which rule it is.
    #[schemars(required)]
    pub test: Option<At<TestKind>>,
    /// What the test is called; made of the relation, the rule and the columns unless said otherwise.
    pub name: Option<At<String>>,
    /// The column, of `accepted_values`, `range`, `increasing` and `freshness`.
    pub column: Option<At<String>>,
    /// The columns, of `unique`, `not_null` and `relationship`.
    pub columns: Option<At<Vec<At<String>>>>,
    /// The column that says in which order the rows are looked at, of `increasing`.
    pub order_by: Option<At<String>>,
    /// The columns in which rows are alike that are looked at together, of `increasing`; all rows are without.
    pub per: Option<At<Vec<At<String>>>>,
    /// The values that a column takes, of `accepted_values`.
    pub values: Option<At<Vec<At<Scalar>>>>,
    /// The least value that there is, of `range`; the least number of rows, of `row_count`.
    pub min: Option<At<Scalar>>,
    /// The greatest value that there is, of `range`; the greatest number of rows, of `row_count`.
    pub max: Option<At<Scalar>>,
    /// SQL over the relation's columns: what is true of each row, of `expression`; the aggregate of the other
    /// relation, of `sum_equals`.
    pub expr: Option<At<String>>,
    /// The measure that is summed up, of `sum_equals`.
    pub measure: Option<At<String>>,
    /// The other relation, of `relationship` and `sum_equals`.
    pub relation: Option<At<String>>,
    /// The columns there, of `relationship`; its key unless said otherwise.
    pub on: Option<At<Vec<At<String>>>>,
    /// How old the latest value of the column may be, of `freshness`: `"2 days"`.
    pub within: Option<At<String>>,
    /// The file beside the spec with a query for the rows that are wrong, of `sql`.
    pub sql: Option<At<String>>,
    /// How bad it is; an error unless said otherwise.
    pub severity: Option<At<Severity>>,
    /// More failures than so many are told; 0 unless said otherwise.
    pub warn_above: Option<At<i64>>,
    /// More failures than so many are an error, where the severity is `error`; as many as are told unless said
    /// otherwise.
    pub error_above: Option<At<i64>>,
    /// Why the rule is there.
    pub description: Option<At<String>>,
}

/// Which rule a test is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TestKind {
    /// No two rows have the same values in the columns.
    Unique,
    /// No row has NULL in the columns.
    NotNull,
    /// The column takes these values only; NULL is not looked at.
    AcceptedValues,
    /// The column's values lie between these, which count; NULL is not looked at.
    Range,
    /// The column is never less than in the row before, in the order of another one; NULL is not looked at.
    Increasing,
    /// Each row's columns are a key of the other relation; NULL is not looked at. To a row of a fact or a landing
    /// table any version counts, to others the current one.
    Relationship,
    /// What `expr` says is true of each row, or NULL, as in a CHECK.
    Expression,
    /// So many rows there are.
    RowCount,
    /// The measure's sum over all rows is what `expr` gives over all rows of the other relation.
    SumEquals,
    /// The column's latest value is young.
    Freshness,
    /// The query finds nothing.
    Sql,
}

/// How bad it is where a test fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It is told.
    Warn,
    /// Nothing is published.
    Error,
}
