//! What the runtime is told of the tests of the data: the rule, as SQL over the columns of the relation that it is
//! about. Says nothing of how rules are looked at together.

use super::{Name, Warehouse};

/// A rule that a relation's rows keep.
#[derive(Clone, Debug)]
pub struct DataTest {
    /// What it is called.
    pub name: &'static str,
    /// Why it is there.
    pub description: Option<&'static str>,
    /// The relation whose rows it is about.
    pub relation: Name,
    /// The stored relation behind it.
    pub stored: Name,
    /// The columns that identify a row there.
    pub key: Vec<String>,
    /// The stored relations that it looks at; of a landing table, itself.
    pub reads: Vec<Name>,
    /// What is to be.
    pub rule: Rule,
    /// More failures than so many are told.
    pub warn_above: u64,
    /// More failures than so many are an error; never one without.
    pub error_above: Option<u64>,
}

impl DataTest {
    /// Whether it looks at all versions of a dimension, in the view that shows them, and not at current rows.
    pub fn is_of_versions(&self, warehouse: &Warehouse) -> bool {
        self.relation != self.stored && warehouse.marts.iter().any(|mart| mart.table == self.relation)
    }

    /// Whether it is enough to look at what has changed: what passed and stays as it is passes still. Where some
    /// failures are put up with, how many there are in all is what counts.
    pub fn follows_changes(&self) -> bool {
        let none_is_put_up_with = self.warn_above == 0 && self.error_above.is_none_or(|above| above == 0);
        let by_rows = matches!(
            self.rule,
            Rule::Each(_) | Rule::Unique(_) | Rule::Increasing { .. } | Rule::Relationship { .. }
        );
        by_rows && none_is_put_up_with
    }
}

/// What is to be of a relation's rows.
#[derive(Clone, Debug)]
pub enum Rule {
    /// Something that this proves without looking.
    Proved(&'static str),
    /// SQL over a row's columns, never false.
    Each(&'static str),
    /// No two rows have the same values in these columns, NULL aside.
    Unique(Vec<String>),
    /// A column is never less than in the row before, NULL aside.
    Increasing {
        /// The column.
        column: String,
        /// The column that says in which order.
        order_by: String,
        /// Among the rows that are alike in these.
        per: Vec<String>,
    },
    /// Columns are a key of another relation, NULL aside.
    Relationship {
        /// Pairs of the row's own column and the other relation's.
        on: Vec<(String, String)>,
        /// The other relation.
        relation: Name,
        /// The stored relation behind that.
        stored: Name,
    },
    /// There are so many rows.
    RowCount {
        /// At least.
        min: Option<u64>,
        /// At most.
        max: Option<u64>,
    },
    /// A column's sum is what an aggregate, SQL, gives over all rows of another relation.
    SumEquals {
        /// The column.
        measure: String,
        /// The other relation.
        relation: Name,
        /// The aggregate.
        aggregate: &'static str,
    },
    /// The latest time, SQL, is younger than so many seconds.
    Freshness {
        /// An aggregate over the relation's rows: a `timestamptz`.
        latest: &'static str,
        /// In seconds.
        within: u64,
    },
    /// A query, SQL, finds nothing.
    Query(&'static str),
}
