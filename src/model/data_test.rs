//! What the rows of relations are held to, as the model knows it. Knows nothing of how it is looked at.

use serde::Serialize;

use super::{DataType, Name, Piece};

/// A rule that a relation's rows keep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DataTest {
    /// What it is called; no other is.
    pub name: String,
    /// Why it is there.
    pub description: Option<String>,
    /// The relation whose rows it is about: a landing table, a current view, a fact or a mart.
    pub relation: Name,
    /// The stored relation behind it.
    pub stored: Name,
    /// The columns that identify a row there.
    pub key: Vec<String>,
    /// The stored relations that it looks at; of a landing table, itself.
    pub reads: Vec<Name>,
    /// What is to be.
    pub rule: Rule,
    /// What proves it without looking.
    pub proof: Option<Proof>,
    /// More failures than so many are told.
    pub warn_above: u64,
    /// More failures than so many are an error; never one without.
    pub error_above: Option<u64>,
}

/// What is to be of a relation's rows. NULL breaks no rule but [`Condition::NotNull`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Rule {
    /// No two rows have the same values in these columns.
    Unique(Vec<String>),
    /// This is so of each row.
    Each(Condition),
    /// A column is never less than in the row before.
    Increasing {
        /// The column.
        column: String,
        /// The column that says in which order.
        order_by: String,
        /// Among the rows that are alike in these.
        per: Vec<String>,
    },
    /// Columns are a key of another relation.
    Relationship {
        /// Pairs of the row's own column and the other relation's.
        on: Vec<(String, String)>,
        /// The other relation: a fact, a mart, a current view, or a table of versions, any of which counts.
        relation: Name,
        /// The stored relation behind that.
        stored: Name,
    },
    /// There are so many rows.
    RowCount {
        /// The least.
        min: Option<u64>,
        /// The most.
        max: Option<u64>,
    },
    /// The sum of a column is what an aggregate, SQL, gives over all rows of another relation.
    SumEquals {
        /// The column.
        measure: String,
        /// The other relation.
        relation: Name,
        /// The aggregate.
        aggregate: String,
    },
    /// The latest value of a column is young.
    Freshness {
        /// The column.
        column: String,
        /// A date or a timestamp.
        data_type: DataType,
        /// Younger than so many seconds.
        within: u64,
    },
    /// A query finds nothing.
    Query(Vec<Piece>),
}

/// What can be told of a row by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Condition {
    /// None of these columns is NULL.
    NotNull(Vec<String>),
    /// The column has one of these values.
    Accepted(String, Vec<Literal>),
    /// The column lies between these, which count.
    Range {
        /// The column.
        column: String,
        /// The least.
        min: Option<Literal>,
        /// The greatest.
        max: Option<Literal>,
    },
    /// SQL over the row's columns.
    Expression(String),
}

/// A value as SQL means it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Literal {
    /// A number or a word, as it stands.
    Plain(String),
    /// A text, which takes the column's type.
    Text(String),
}

/// What proves a rule without looking at rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Proof {
    /// A column's NOT NULL.
    NotNull,
    /// A unique index, or a primary key.
    Unique,
    /// An enumerated type has no other values.
    Type,
}
