//! What the runtime is told about a warehouse: plain facts, yielded by the generated entities (or built
//! from a model by a test). Says what there is and never how it is done; knows no SQL.

mod alert;
mod data_test;
mod demo;
mod feed;
mod landing;
mod mart;
mod source;
mod staging_view;

pub use alert::{Alert, Watched};
pub use data_test::{DataTest, Rule};
pub use demo::{DemoAction, DemoStep, Scripts};
pub use feed::{CHANGED_AT, Changed, Csv, Feed, FeedFormat, OPERATION};
pub use landing::{Fed, Gone, Snapshots};
pub use mart::{Average, Distinct, Groups, Mart, MartJoin, MartSource, Refresh, Storage, Sums, UnitColumn};
pub use source::{Deletes, Plugin, Polling, RemovedPartitions, Source, Watermark};
pub use staging_view::{LANDED, StagingView};

use sea_orm::{EntityName, EntityTrait, IdenStatic};
use sea_orm_migration::MigrationTrait;

use crate::quote;

/// One warehouse. Lists stand in the order in which they are worked through: a relation comes after
/// everything that it reads.
pub struct Warehouse {
    /// Its name, as in its spec.
    pub name: &'static str,
    /// The hash of the whole resolved spec that this was generated from.
    pub spec_hash: &'static str,
    /// The hash of the database's objects, as the migrations leave them.
    pub objects_hash: &'static str,
    /// The IANA zone in which days and months are cut.
    pub time_zone: &'static str,
    /// The schemas that hold the warehouse's relations, silver and gold: a question's search path.
    pub schemas: Vec<&'static str>,
    /// Where changes come from.
    pub source: Source,
    /// Landing tables, those that the source's changes feed first.
    pub landings: Vec<Landing>,
    /// Staging views, those whose rows are tested one by one.
    pub stagings: Vec<StagingView>,
    /// Dimensions and facts.
    pub silver: Vec<Silver>,
    /// Calendars.
    pub calendars: Vec<Name>,
    /// Marts.
    pub marts: Vec<Mart>,
    /// What the relations' rows are held to.
    pub tests: Vec<DataTest>,
    /// Words to choose relations by, under the names that the spec declares.
    pub tags: Vec<(&'static str, &'static [&'static str])>,
    /// The migrations, first to last.
    pub migrations: fn() -> Vec<Box<dyn MigrationTrait>>,
    /// What migrations risk that the spec did not allow when they were generated: the migration, and the relation
    /// with the hazard as the spec would allow it, `dim_customer_hist.rewrite`.
    pub refused: &'static [(&'static str, &'static str)],
    /// SQL for the source.
    pub scripts: Scripts,
    /// The guided tour.
    pub demo: Vec<DemoStep>,
    /// Where the columns of each relation come from, as JSON: for events of lineage.
    pub lineage: &'static str,
    /// How far things may go before somebody should look.
    pub alerts: Vec<Alert>,
}

impl Warehouse {
    /// Whether others than the loader write to some dimension.
    pub fn is_versioned(&self) -> bool {
        self.silver.iter().any(|silver| silver.journal().is_some())
    }
}

/// A relation's two names, unquoted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// The schema.
    pub schema: String,
    /// The table or view.
    pub table: String,
}

impl Name {
    /// A name of two parts.
    pub fn new(schema: impl Into<String>, table: impl Into<String>) -> Self {
        Self { schema: schema.into(), table: table.into() }
    }

    /// The name of an entity's table.
    pub fn of<E: EntityName>(entity: E) -> Self {
        Self::new(entity.schema_name().unwrap_or("public"), entity.table_name())
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}.{}", self.schema, self.table)
    }
}

/// The name of an entity's column.
pub fn column<C: IdenStatic>(column: C) -> String {
    column.as_str().to_owned()
}

/// Names that no entity has: those of the source's columns.
pub fn names<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    names.into_iter().map(str::to_owned).collect()
}

/// An entity's table, and SQL over its columns, where `{column}` stands for the one given.
pub fn value_in<E: EntityTrait>(entity: E, column: E::Column, sql: &str) -> (Name, String) {
    (Name::of(entity), sql.replace("{column}", &quote::identifier(column.as_str())))
}

/// The names of an entity's columns: `columns([Column::StoreId, Column::Month])`.
pub fn columns<C: IdenStatic>(columns: impl IntoIterator<Item = C>) -> Vec<String> {
    columns.into_iter().map(|column| column.as_str().to_owned()).collect()
}

/// Texts: `texts(["one", "two"])`.
pub fn texts<'a>(all: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    all.into_iter().map(str::to_owned).collect()
}

/// Pairs of texts: `pairs([("one", "other")])`.
pub fn pairs<'a>(all: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<(String, String)> {
    all.into_iter().map(|(one, other)| (one.to_owned(), other.to_owned())).collect()
}

/// A landing table.
#[derive(Clone, Debug)]
pub struct Landing {
    /// The landing table.
    pub table: Name,
    /// The table at the source.
    pub source: Name,
    /// The source's columns that identify a row.
    pub key: Vec<String>,
    /// How its rows come.
    pub fed: Fed,
    /// Whether it stands in a database of its own, together with all others.
    pub is_apart: bool,
}

/// A dimension or a fact.
#[derive(Clone, Debug)]
pub struct Silver {
    /// The relation.
    pub table: Name,
    /// The landing table that feeds it.
    pub feed: Name,
    /// The columns that identify a row.
    pub key: Vec<String>,
    /// Its columns, without those of its kind.
    pub columns: Vec<Column>,
    /// What it looks up.
    pub lookups: Vec<Lookup>,
    /// What makes it a dimension or a fact.
    pub kind: SilverKind,
}

impl Silver {
    /// Whether something is computed, which a landed row may not let it be.
    pub fn is_computed(&self) -> bool {
        self.filter().is_some()
            || self.columns.iter().any(|column| matches!(column.from, ColumnFrom::Computed { .. }))
    }

    /// Which landed rows count.
    pub fn filter(&self) -> Option<&Filter> {
        self.columns.iter().find_map(|column| column.counted.as_ref())
    }

    /// Whether something is computed of its other columns.
    pub fn is_composed(&self) -> bool {
        self.columns.iter().any(|column| matches!(column.from, ColumnFrom::Composed { .. }))
    }

    /// The journal of what others than the loader write to it.
    pub fn journal(&self) -> Option<&Name> {
        match &self.kind {
            SilverKind::Dimension { journal, .. } => journal.as_ref(),
            SilverKind::Fact { .. } => None,
        }
    }
}

/// A dimension or a fact.
#[derive(Clone, Debug)]
pub enum SilverKind {
    /// Every version of a row, by system time.
    Dimension {
        /// The view of the current versions.
        current: Name,
        /// The hash of the tracked columns.
        row_hash: String,
        /// The period's start, inclusive.
        start: String,
        /// The period's end, exclusive; infinity in a current version.
        end: String,
        /// Where versioning keeps what others than the loader write; none where nobody else does.
        journal: Option<Name>,
        /// The partitions that closed versions stand in; none where they stand beside the current ones.
        closed: Option<Closed>,
        /// What tells the versions apart by itself, where something does.
        surrogate: Option<Surrogate>,
    },
    /// The latest state of an event, partitioned by time.
    Fact {
        /// The system time of the row's state.
        snapshot: String,
        /// Earlier states: the columns, then `sys_start`, `sys_end`.
        archive: Name,
        /// The column that partitions it.
        partition_by: String,
        /// How wide a partition is.
        partition_every: Unit,
    },
}

/// A column that tells a dimension's versions apart by itself, the first of its current view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surrogate {
    /// Its name.
    pub name: String,
    /// Where it is a hash, its SQL over `{row}` and `{start}`: a row's alias, and its period's start. None where the
    /// table has it.
    pub hash: Option<String>,
}

impl Surrogate {
    /// A column of the table.
    pub fn stored(name: &str) -> Self {
        Self { name: name.to_owned(), hash: None }
    }

    /// A hash, which is computed where it is read.
    pub fn hash(name: &str, sql: &str) -> Self {
        Self { name: name.to_owned(), hash: Some(sql.to_owned()) }
    }
}

/// A table of closed versions, partitioned by when they ended.
#[derive(Clone, Debug)]
pub struct Closed {
    /// The table: itself a partition of the relation.
    pub table: Name,
    /// How wide a partition is.
    pub every: Unit,
}

/// A unit of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A day.
    Day,
    /// A week, from Monday on.
    Week,
    /// A month.
    Month,
    /// A quarter.
    Quarter,
    /// A year.
    Year,
}

/// A column of a silver relation.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type, as SQL: `numeric(5, 2)`, `"temporal_silver"."mpaa_rating"`.
    pub sql_type: String,
    /// Where its values come from.
    pub from: ColumnFrom,
    /// Whether a change of it makes a version.
    pub tracking: Tracking,
    /// Values of an enumerated type that a landed row may say, and how they are called now.
    pub renamed: Vec<(String, String)>,
    /// Of a key's first column: which landed rows count. All without; the others are as if they had been deleted.
    pub counted: Option<Filter>,
}

/// Which landed rows count: those of which it is true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// What the expression names.
    pub inputs: Vec<Input>,
    /// The expression.
    pub sql: String,
}

/// Whether a change of an attribute makes a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracking {
    /// It does.
    Tracked,
    /// The current version is updated in place.
    Untracked,
    /// It stays what it was when the version began.
    Opening,
}

/// Where a silver column's values come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ColumnFrom {
    /// A field of the landed row.
    Field(String),
    /// A column of a relation that the row looks up.
    Lookup {
        /// The lookup's alias.
        lookup: String,
        /// The column there.
        column: String,
    },
    /// Computed of fields of the landed row: always the same of the same.
    Computed {
        /// What the expression names.
        inputs: Vec<Input>,
        /// The expression.
        sql: String,
    },
    /// Computed of the relation's other columns, those that are looked up among them: always the same of the same.
    Composed {
        /// The columns that the expression names.
        of: Vec<String>,
        /// The expression.
        sql: String,
    },
    /// The hash of a version that is looked up.
    LookedUpHash {
        /// The lookup's alias.
        lookup: String,
        /// Its SQL, over `{row}` and `{start}`: a row's alias, and its period's start.
        sql: String,
    },
    /// The change that made the row's state, not the row.
    Change(Change),
}

/// A field of the landed row, under the name that an expression has for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// The name.
    pub name: String,
    /// The type that it is read as, as SQL.
    pub sql_type: String,
    /// The field.
    pub field: String,
}

impl ColumnFrom {
    /// The fields of the landed row that it reads.
    pub fn fields(&self) -> Vec<&str> {
        match self {
            Self::Field(field) => vec![field],
            Self::Lookup { .. } | Self::Composed { .. } | Self::LookedUpHash { .. } | Self::Change(_) => {
                Vec::new()
            }
            Self::Computed { inputs, .. } => inputs.iter().map(|input| input.field.as_str()).collect(),
        }
    }
}

/// What can be told of a landed change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// What it did, as a word.
    Operation,
    /// What it did, as a letter.
    Letter,
    /// Its system time.
    Time,
    /// Its position.
    Position,
    /// When it landed.
    Landed,
    /// The batch that it landed in.
    Batch,
    /// The batch that its file says it is of.
    BatchId,
}

impl Column {
    /// A column that takes a field of the landed row.
    pub fn field<C: IdenStatic>(column: C, sql_type: &str, field: &str) -> Self {
        Self {
            name: column.as_str().to_owned(),
            sql_type: sql_type.to_owned(),
            from: ColumnFrom::Field(field.to_owned()),
            tracking: Tracking::Tracked,
            renamed: Vec::new(),
            counted: None,
        }
    }

    /// A column that takes a field of the landed row, its changes making no version.
    pub fn untracked_field<C: IdenStatic>(column: C, sql_type: &str, field: &str) -> Self {
        Self { tracking: Tracking::Untracked, ..Self::field(column, sql_type, field) }
    }

    /// A column that is computed of fields of the landed row: names, types and fields, and the expression.
    pub fn computed<C: IdenStatic>(
        column: C,
        sql_type: &str,
        inputs: impl IntoIterator<Item = (&'static str, &'static str, &'static str)>,
        sql: &str,
    ) -> Self {
        let from = ColumnFrom::Computed { inputs: named(inputs), sql: sql.to_owned() };
        Self { from, ..Self::field(column, sql_type, "") }
    }

    /// The same, where not all landed rows count: names, types and fields, and the expression.
    #[must_use]
    pub fn counted(
        self,
        inputs: impl IntoIterator<Item = (&'static str, &'static str, &'static str)>,
        sql: &str,
    ) -> Self {
        Self { counted: Some(Filter { inputs: named(inputs), sql: sql.to_owned() }), ..self }
    }

    /// The fields of the landed row that it reads.
    pub fn fields(&self) -> Vec<&str> {
        let mut fields = self.from.fields();
        fields
            .extend(self.counted.iter().flat_map(|filter| &filter.inputs).map(|input| input.field.as_str()));
        fields
    }

    /// The same, its changes making no version.
    #[must_use]
    pub fn untracked(self) -> Self {
        Self { tracking: Tracking::Untracked, ..self }
    }

    /// The same, where values that landed rows may say are called otherwise now.
    #[must_use]
    pub fn renamed(self, values: &[(&str, &str)]) -> Self {
        let renamed = values.iter().map(|(before, now)| ((*before).to_owned(), (*now).to_owned()));
        Self { renamed: renamed.collect(), ..self }
    }

    /// A column that takes a column of a looked-up relation.
    pub fn lookup<C: IdenStatic, D: IdenStatic>(column: C, sql_type: &str, lookup: &str, there: D) -> Self {
        Self {
            name: column.as_str().to_owned(),
            sql_type: sql_type.to_owned(),
            from: ColumnFrom::Lookup { lookup: lookup.to_owned(), column: there.as_str().to_owned() },
            tracking: Tracking::Tracked,
            renamed: Vec::new(),
            counted: None,
        }
    }

    /// A column that takes a column of a looked-up relation, its changes making no version.
    pub fn untracked_lookup<C: IdenStatic, D: IdenStatic>(
        column: C,
        sql_type: &str,
        lookup: &str,
        there: D,
    ) -> Self {
        Self { tracking: Tracking::Untracked, ..Self::lookup(column, sql_type, lookup, there) }
    }

    /// A column that takes the hash of a version that is looked up, by its SQL over `{row}` and `{start}`.
    pub fn looked_up_hash<C: IdenStatic>(column: C, sql_type: &str, lookup: &str, sql: &str) -> Self {
        let from = ColumnFrom::LookedUpHash { lookup: lookup.to_owned(), sql: sql.to_owned() };
        Self { from, ..Self::field(column, sql_type, "") }
    }

    /// A column that is computed of the relation's other columns: those that the expression names, and the expression.
    pub fn composed<C: IdenStatic>(
        column: C,
        sql_type: &str,
        of: impl IntoIterator<Item = C>,
        sql: &str,
    ) -> Self {
        let from = ColumnFrom::Composed { of: columns(of), sql: sql.to_owned() };
        Self { from, ..Self::field(column, sql_type, "") }
    }

    /// A column that tells of the change which opened a version.
    pub fn of_change<C: IdenStatic>(column: C, sql_type: &str, change: Change) -> Self {
        let from = ColumnFrom::Change(change);
        Self { from, tracking: Tracking::Opening, ..Self::field(column, sql_type, "") }
    }

    /// A column that tells of the last change of a version.
    pub fn of_latest_change<C: IdenStatic>(column: C, sql_type: &str, change: Change) -> Self {
        Self { tracking: Tracking::Untracked, ..Self::of_change(column, sql_type, change) }
    }
}

fn named(inputs: impl IntoIterator<Item = (&'static str, &'static str, &'static str)>) -> Vec<Input> {
    let input = |(name, sql_type, field): (&str, &str, &str)| Input {
        name: name.to_owned(),
        sql_type: sql_type.to_owned(),
        field: field.to_owned(),
    };
    inputs.into_iter().map(input).collect()
}

impl Lookup {
    /// The version of the same system time, found by pairs of the row's own column and the relation's.
    pub fn of<C: IdenStatic, E: EntityTrait>(
        alias: &str,
        relation: E,
        on: impl IntoIterator<Item = (C, E::Column)>,
    ) -> Self {
        let on = on.into_iter().map(|(own, there)| (column(own), column(there))).collect();
        Self { alias: alias.to_owned(), relation: Name::of(relation), on, at: LookupTime::SystemTime }
    }

    /// The version of the row's own time, which stands in `at`.
    pub fn at<C: IdenStatic, E: EntityTrait>(
        alias: &str,
        relation: E,
        on: impl IntoIterator<Item = (C, E::Column)>,
        at: C,
    ) -> Self {
        Self { at: LookupTime::OwnTime(column(at)), ..Self::of(alias, relation, on) }
    }
}

/// A relation that the rows of another look up.
#[derive(Clone, Debug)]
pub struct Lookup {
    /// Its alias.
    pub alias: String,
    /// The silver relation.
    pub relation: Name,
    /// Pairs of the row's own column and the relation's key column.
    pub on: Vec<(String, String)>,
    /// Which version is meant.
    pub at: LookupTime,
}

/// Which version of a looked-up row is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LookupTime {
    /// The one of the same system time.
    SystemTime,
    /// The one of the row's own time, in this column; the first version reaches back, and in a gap the
    /// last earlier one counts.
    OwnTime(String),
}
