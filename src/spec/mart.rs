//! A mart as it was written.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{At, BySource, DataTest, OneOrMany, Unit};

/// A mart: measures by grain. Either declared (`from`, with `of` and `expr`) or written (`sql`).
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mart {
    /// Its name, in the gold schema.
    #[schemars(required)]
    pub name: Option<At<String>>,
    /// How its rows are kept; as a view unless said otherwise.
    pub storage: Option<At<Storage>>,
    /// What it reads, by alias. Each source is grouped on its own; they meet at the grain.
    pub from: Option<At<BTreeMap<At<String>, At<String>>>>,
    /// What is joined to a source, by its key: a row of a source finds one at most, so that none is counted twice.
    #[serde(default)]
    pub joins: Vec<At<Joined>>,
    /// Which rows of a source count: SQL, or a table of SQL by alias where there are several sources.
    pub filter: Option<At<BySource>>,
    /// The file beside the spec with the query that defines it.
    pub sql: Option<At<String>>,
    /// The columns that identify a row.
    #[schemars(required)]
    pub grain: Option<At<Vec<At<GrainColumn>>>>,
    /// The measures.
    #[serde(default)]
    pub measures: Vec<At<Measure>>,
    /// In which order its rows are read: columns of it, each perhaps with `DESC` and `NULLS FIRST`. A view gives them so;
    /// of one that is stored an index does, to whoever asks for that order.
    pub order: Option<At<Vec<At<String>>>>,
    /// Becomes a COMMENT.
    pub description: Option<At<String>>,
    /// Words to choose it by, with others: `--select tag:daily`.
    #[serde(default)]
    pub tags: Vec<At<String>>,
    /// What its rows are held to: all of them.
    #[serde(default)]
    pub tests: Vec<At<DataTest>>,
}

/// A relation that is joined to a source of a mart.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Joined {
    /// The name that expressions refer to it by, `alias.column`.
    #[schemars(required)]
    pub name: Option<At<String>>,
    /// A current view, a lookup, a fact or a mart.
    #[schemars(required)]
    pub relation: Option<At<String>>,
    /// The columns whose values are the key there, in the order of that key: the source's, or `alias.column` of what is
    /// joined before.
    #[schemars(required)]
    pub on: Option<At<Vec<At<String>>>>,
    /// The alias of the source that it is joined to; needed where there are several.
    pub to: Option<At<String>>,
    /// Whether rows that find nothing are left out; they are kept, with NULL for its columns, unless said otherwise.
    pub required: Option<At<bool>>,
}

/// How a mart's rows are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Storage {
    /// Not at all: a plain view.
    View,
    /// As a materialized view, refreshed when something it reads has changed.
    MaterializedView,
    /// As a table, refreshed by the groups that changed rows touch.
    Incremental,
}

/// A column of a mart's grain.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GrainColumn {
    /// Its name.
    #[schemars(required)]
    pub name: Option<At<String>>,
    /// Where its value comes from: `alias.column`, one a source. In a mart that is written as SQL, the
    /// columns whose changes touch this group.
    pub of: Option<OneOrMany>,
    /// SQL over the columns of a source and of what is joined to it, or a table of SQL by alias where there are several
    /// sources; instead of `of`.
    pub expr: Option<At<BySource>>,
    /// The unit that a time is cut to; the value is the unit's first day.
    pub cut: Option<At<Unit>>,
    /// Its type, of an expression and in a mart that is written as SQL.
    #[serde(rename = "type")]
    pub data_type: Option<At<String>>,
    /// Whether it takes NULL, of an expression and in a mart that is written as SQL.
    pub null: Option<At<bool>>,
    /// Becomes a COMMENT.
    pub description: Option<At<String>>,
}

/// A measure of a mart.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Measure {
    /// Its name.
    #[schemars(required)]
    pub name: Option<At<String>>,
    /// The alias of the source that it is taken from; needed where there are several, unless it is made of the mart's
    /// other columns.
    pub of: Option<At<String>>,
    /// SQL: an aggregate of the source's columns; or, without one, what is made of the mart's other columns, row by row
    /// or with `OVER` across rows.
    pub expr: Option<At<String>>,
    /// Its type; told by the aggregate where that is simple.
    #[serde(rename = "type")]
    pub data_type: Option<At<String>>,
    /// Whether it takes NULL.
    pub null: Option<At<bool>>,
    /// Becomes a COMMENT.
    pub description: Option<At<String>>,
}
