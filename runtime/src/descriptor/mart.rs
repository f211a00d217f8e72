//! What the runtime is told about a mart.

use super::Name;

/// A mart.
#[derive(Clone, Debug)]
pub struct Mart {
    /// The relation.
    pub table: Name,
    /// Its columns, the grain's first.
    pub columns: Vec<String>,
    /// The columns that identify a row.
    pub grain: Vec<String>,
    /// How its rows are kept.
    pub storage: Storage,
    /// The stored relations that its definition reads: silver relations and stored marts.
    pub reads: Vec<Name>,
}

/// How a mart's rows are kept.
#[derive(Clone, Debug)]
pub enum Storage {
    /// Not at all: a plain view.
    View,
    /// As a materialized view.
    MaterializedView,
    /// As a table.
    Incremental {
        /// The view that defines it: the same columns.
        definition: Name,
        /// How it follows what changed.
        refresh: Refresh,
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

    /// Whether they stand in a table, which is written by the rows that have changed.
    pub fn is_table(&self) -> bool {
        match self {
            Self::Incremental { .. } => true,
            Self::View | Self::MaterializedView => false,
        }
    }
}

/// How a stored mart follows what changed.
#[derive(Clone, Debug)]
pub enum Refresh {
    /// By a unit that the query's author named; no columns: always the whole.
    Units(Vec<UnitColumn>),
    /// By its groups, of which all is known.
    Groups(Box<Groups>),
}

/// The groups of a declared mart.
#[derive(Clone, Debug)]
pub struct Groups {
    /// The view of the groups: the grain, and the measures that are taken of rows.
    pub view: Name,
    /// Its columns.
    pub columns: Vec<String>,
    /// What is made of the groups: lists of columns with their SQL, each over those before it.
    pub derived: Vec<Vec<(String, String)>>,
    /// The columns of the grain in which all rows agree that a change of one of them reaches; none where that is the
    /// row itself.
    pub reach: Option<Vec<String>>,
    /// What is grouped.
    pub sources: Vec<MartSource>,
    /// How differences are added to what is stored, where they can be.
    pub sums: Option<Sums>,
}

/// A source of a declared mart.
#[derive(Clone, Debug)]
pub struct MartSource {
    /// The relation that the definition names.
    pub relation: Name,
    /// The stored relation behind it.
    pub stored: Name,
    /// What expressions call it.
    pub alias: String,
    /// What is joined to it, in order.
    pub joins: Vec<MartJoin>,
    /// The SQL of each column of the grain.
    pub grain: Vec<String>,
    /// Those columns of the grain that its own rows tell, without what is joined to them.
    pub own: Vec<String>,
    /// Whether an index finds the rows of a group.
    pub indexed: bool,
    /// Which rows count.
    pub filter: Option<String>,
    /// Whether the rows before and after a change tell the groups that it touches.
    pub told: bool,
}

/// What is joined to a source, by its key.
#[derive(Clone, Debug)]
pub struct MartJoin {
    /// The relation that the definition names.
    pub relation: Name,
    /// The stored relation behind it.
    pub stored: Name,
    /// What expressions call it.
    pub alias: String,
    /// Its key's columns, with the SQL of what they are equal to.
    pub on: Vec<(String, String)>,
    /// Whether rows that find nothing are left out.
    pub required: bool,
}

/// How differences are added to a mart's groups.
#[derive(Clone, Debug)]
pub struct Sums {
    /// The measure that counts all rows of a group. Without one an index finds the rows of a group, so that it tells whether
    /// there are some, and the source is joined to nothing.
    pub rows: Option<String>,
    /// Each measure, and the SQL of its difference over rows with their sign, `m$sign`.
    pub differences: Vec<(String, String)>,
    /// The averages that follow from them.
    pub averages: Vec<Average>,
    /// The counts of distinct values: the source is joined to nothing, and an index finds the rows of a group.
    pub distinct: Vec<Distinct>,
}

impl Sums {
    /// All measures that are added, in the order of a difference's columns.
    pub fn added(&self) -> impl Iterator<Item = &String> {
        let sums = self.differences.iter().map(|(name, _)| name);
        sums.chain(self.distinct.iter().map(|counted| &counted.name))
    }
}

/// A count of distinct values.
#[derive(Clone, Debug)]
pub struct Distinct {
    /// The measure.
    pub name: String,
    /// The SQL of the value.
    pub value: String,
    /// Which rows count.
    pub condition: Option<String>,
}

/// An average, which follows from a sum and a count that are measures too.
#[derive(Clone, Debug)]
pub struct Average {
    /// The measure.
    pub name: String,
    /// The measure that has the sum.
    pub sum: String,
    /// The measure that has the count.
    pub count: String,
    /// Its SQL, over `{sum}` and `{count}`.
    pub value: String,
}

impl Average {
    /// Its SQL, of measures as they are said.
    pub fn of(&self, said: impl Fn(&str) -> String) -> String {
        self.value.replace("{sum}", &said(&self.sum)).replace("{count}", &said(&self.count))
    }
}

/// A column of a stored mart's unit of refresh.
#[derive(Clone, Debug)]
pub struct UnitColumn {
    /// The grain's column.
    pub column: String,
    /// For each stored relation whose changed rows touch single units: the column's value, as SQL over
    /// that relation's columns.
    pub of: Vec<(Name, String)>,
}
