//! A staging view as it was written: what has landed in one table, typed, renamed and cleaned.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{At, DataTest};

/// What has landed in one table, typed, renamed and cleaned: a view of the rows as they are now, in the silver
/// schema, and what dimensions, facts and lookups take their columns from.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Staging {
    /// Its name, in the silver schema; usually begins with `stg_`.
    #[schemars(required)]
    pub name: Option<At<String>>,
    /// The landing table.
    #[schemars(required)]
    pub from: Option<At<String>>,
    /// Its columns, in their order.
    #[schemars(required)]
    pub columns: Option<At<Vec<At<StagingColumn>>>>,
    /// Fields of the source's row that columns are computed of and that the view does not show.
    #[serde(default)]
    pub fields: Vec<At<StagingField>>,
    /// Which rows count: SQL over the columns that are fields, and the `fields`, as an `expr` is. A row of which it is
    /// not true is as if it had been deleted, until it is: one that is marked as deleted, or is about something else.
    pub filter: Option<At<String>>,
    /// Becomes a COMMENT.
    pub description: Option<At<String>>,
    /// What its rows are held to.
    #[serde(default)]
    pub tests: Vec<At<DataTest>>,
}

/// A column of a staging view: a field of the source's row, or computed of such fields.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StagingColumn {
    /// Its name.
    #[schemars(required)]
    pub name: Option<At<String>>,
    /// Its type: PostgreSQL's name of it, or one of `[types]`.
    #[serde(rename = "type")]
    #[schemars(required)]
    pub data_type: Option<At<String>>,
    /// Whether it takes NULL; not unless said.
    pub null: Option<At<bool>>,
    /// Becomes a COMMENT.
    pub description: Option<At<String>>,
    /// The field of the source's row that it is; the one of the same name unless said otherwise.
    pub from: Option<At<String>>,
    /// What it is computed of, SQL: the columns that are fields and the `fields`, by their names here. Of the same row
    /// it gives the same value always: no clock, no setting of a session, no chance.
    pub expr: Option<At<String>>,
}

/// A field of the source's row that columns are computed of.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StagingField {
    /// The name that columns have for it.
    #[schemars(required)]
    pub name: Option<At<String>>,
    /// The type that it is read as: PostgreSQL's name of it, or one of `[types]`.
    #[serde(rename = "type")]
    #[schemars(required)]
    pub data_type: Option<At<String>>,
    /// The field of the source's row; the one of the same name unless said otherwise.
    pub from: Option<At<String>>,
}
