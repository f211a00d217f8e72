//! Staging views, and what is computed of a landed row. Knows no SQL beyond the text of an expression.

use serde::Serialize;

use super::{Column, DataType, Name};

/// A view of what has landed in one table: of each key its last change, typed, renamed and cleaned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Staging {
    /// Its name.
    pub name: Name,
    /// Becomes a COMMENT.
    pub description: Option<String>,
    /// The landing table.
    pub feed: Name,
    /// The columns that show the landing table's key, in its order.
    pub key: Vec<String>,
    /// Its columns, in the spec's order: fields, or computed of fields.
    pub columns: Vec<Column>,
    /// Which rows count; all without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<Computed>,
}

/// What a column, or whether a row counts, is computed of: fields of one landed row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Computed {
    /// What the expression names.
    pub inputs: Vec<Input>,
    /// The expression.
    pub sql: String,
}

/// A field of the landed row, under the name that an expression has for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Input {
    /// The name.
    pub name: String,
    /// The field.
    pub field: String,
    /// The type that it is read as.
    pub data_type: DataType,
}
