//! A mart as plain data: what it groups, by what, what is measured, and how it is kept.

use serde::Serialize;

use super::{DataType, Name, Nullability, Shown, Unit};

/// A gold relation: measures by grain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mart {
    /// Its name.
    pub name: Name,
    /// Becomes a COMMENT.
    pub description: Option<String>,
    /// The grain's columns: they identify a row; never empty.
    pub grain: Vec<MartColumn>,
    /// The measures.
    pub measures: Vec<MartColumn>,
    /// How its rows are kept.
    pub storage: Storage,
    /// The query that defines it.
    pub definition: Definition,
    /// In which order its rows are read; empty: in none.
    pub order: Vec<MartOrder>,
    /// The relations that the definition reads, in order of their names.
    pub reads: Vec<Read>,
}

/// A column of a mart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MartColumn {
    /// Its name.
    pub name: String,
    /// Its type; the definition's value is cast to it.
    pub data_type: DataType,
    /// Whether it can be NULL.
    pub nullability: Nullability,
    /// Becomes a COMMENT.
    pub description: Option<String>,
}

/// A column that a mart's rows are ordered by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MartOrder {
    /// The mart's column.
    pub column: String,
    /// Where it begins.
    pub direction: Direction,
    /// Where NULL stands.
    pub nulls: Nulls,
}

/// Where an order begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Direction {
    /// With the least value.
    Ascending,
    /// With the greatest.
    Descending,
}

/// Where NULL stands in an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Nulls {
    /// Before all values.
    First,
    /// Behind them.
    Last,
}

/// How a mart's rows are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Storage {
    /// Not at all: a plain view.
    View,
    /// As a materialized view, refreshed when something it reads has changed.
    MaterializedView,
    /// As a table, refreshed by the units that changed rows touch.
    Incremental {
        /// The columns of the grain that make the unit of refresh of a mart that is written as SQL; empty: always
        /// the whole. A declared one is refreshed by its groups.
        unit: Vec<UnitColumn>,
    },
}

impl Storage {
    /// Whether rows are kept, so that they have to follow what has changed.
    pub fn is_kept(&self) -> bool {
        match self {
            Self::View => false,
            Self::MaterializedView | Self::Incremental { .. } => true,
        }
    }

    /// Whether they stand in a table, which the loader writes and the definition is a view beside.
    pub fn is_table(&self) -> bool {
        match self {
            Self::Incremental { .. } => true,
            Self::View | Self::MaterializedView => false,
        }
    }
}

/// A column of a stored mart's unit of refresh.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UnitColumn {
    /// The grain's column.
    pub column: String,
    /// Where its value is found in the rows of each relation (the name that the definition reads it by)
    /// whose changed rows touch single units. A relation that is missing in one of the unit's columns
    /// touches the whole.
    pub of: Vec<(Name, CutColumn)>,
}

/// A column of a relation, perhaps cut to a unit of the calendar in the warehouse's zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CutColumn {
    /// The column.
    pub column: String,
    /// Its type there.
    pub data_type: DataType,
    /// The unit that it is cut to; the result is the unit's first day, a date.
    pub cut: Option<Unit>,
}

/// The query that defines a mart, with its relations left open, so that it can be bound to the
/// warehouse's own or to those of the travel schema.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Definition {
    /// Written as SQL.
    Sql(Vec<Piece>),
    /// Declared: sources grouped by the grain.
    Declared(Declared),
    /// The versions of a dimension under other names. It stands in silver.
    Shown(Shown),
}

/// A mart that is declared: facts grouped by the grain, each on its own, meeting at the grain (drill-across), so that
/// nothing multiplies rows; then what is made of the groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Declared {
    /// What is grouped.
    pub sources: Vec<MartSource>,
    /// Measures that are made of the mart's other columns, by name and SQL: each list reads those before it.
    pub derived: Vec<Vec<(String, String)>>,
    /// How far a change of one group reaches.
    pub reach: Reach,
    /// How a change is added to what is stored, where all measures are sums.
    pub sums: Option<Sums>,
}

/// How far a change of one of a mart's groups reaches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Reach {
    /// Its own row.
    Row,
    /// The rows that agree with it in these columns of the grain; none: all rows.
    Rows(Vec<String>),
}

/// How the measures of groups follow from what comes and goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sums {
    /// The measure that counts all rows: a group of which none is left goes. Without one an index tells whether some is.
    pub rows: Option<String>,
    /// Each measure that is summed up, and what of.
    pub measures: Vec<(String, Sum)>,
    /// The averages.
    pub averages: Vec<Average>,
    /// The measures that count distinct values, and which ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub distinct: Vec<(String, Distinct)>,
}

/// What a measure counts each value of once, of the rows for which a condition holds: a change is added by looking for
/// other rows of its group that have the value, which an index finds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Distinct {
    /// The source's column.
    pub column: String,
    /// Which rows count.
    pub condition: Option<String>,
}

/// An average whose sum and count are measures too, so that it follows from them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Average {
    /// The measure.
    pub name: String,
    /// The measure that has the sum.
    pub sum: String,
    /// The measure that counts what is summed up.
    pub count: String,
    /// The decimal places that it is rounded to, where it says so.
    pub places: Option<String>,
}

/// What a measure sums up, of the rows for which a condition holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Sum {
    /// The rows.
    Rows(Option<String>),
    /// The rows in which an expression is not NULL.
    Known(String, Option<String>),
    /// An expression.
    Of(String, Option<String>),
}

/// A relation that a declared mart groups by the grain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MartSource {
    /// Its alias in the mart.
    pub alias: String,
    /// The relation that is read.
    pub relation: Name,
    /// What is joined to it, in the order in which it is.
    pub joins: Vec<MartJoin>,
    /// Which rows count: SQL over the columns of the relation and of what is joined.
    pub filter: Option<String>,
    /// Each grain column's value, in the grain's order.
    pub grain: Vec<GrainValue>,
    /// The measures taken from this relation: the name of the mart's column and the aggregate, SQL over
    /// the columns of the relation and of what is joined.
    pub measures: Vec<(String, String)>,
    /// Whether the rows before and after a change tell the groups that it touches.
    pub told: bool,
}

/// A relation that is joined to a source, by its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MartJoin {
    /// Its alias in the mart.
    pub alias: String,
    /// The relation that is read.
    pub relation: Name,
    /// Pairs of what is joined before, an alias and a column, and the relation's key column; covers the whole key.
    pub on: Vec<((String, String), String)>,
    /// What becomes of rows that find nothing.
    pub without: Without,
}

/// What becomes of rows that find nothing to join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Without {
    /// They stay, with NULL.
    Kept,
    /// They are left out.
    LeftOut,
}

/// The value of a grain's column in a row of a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum GrainValue {
    /// A column of the relation of an alias, perhaps cut.
    Column(String, CutColumn),
    /// SQL over the columns of the source and of what is joined to it.
    Expression(String),
}

/// A piece of a definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Piece {
    /// SQL as it stands.
    Sql(String),
    /// A relation of the warehouse.
    Relation(Name),
}

/// A relation that a mart reads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Read {
    /// What the definition names: a fact, a current view, a history, a lookup view, a mart.
    pub name: Name,
    /// The stored relation behind it: a silver table or a mart.
    pub stored: Name,
}
