//! What is computed of a row of silver. Knows no SQL beyond the text of an expression.

use serde::Serialize;

/// What a column is computed of: other columns of its relation, those that are looked up among them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Composed {
    /// The columns that the expression names, each once, in the order of the relation.
    pub of: Vec<String>,
    /// The expression.
    pub sql: String,
}
