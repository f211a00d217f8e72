//! The resolved warehouse: what a spec means, as plain data. Every name is raw (quoting belongs to `emit`),
//! every reference is known to hold, every default is filled in. Knows no TOML, no file, no template,
//! no database. `lower` is the only place that makes one from a spec.

mod alert;
mod calendar;
mod composed;
pub mod data_test;
pub mod data_type;
mod dress;
mod feed;
pub mod lower;
mod mart;
mod snapshot;
mod source;
mod staging;

pub use alert::{Alert, Watched};
pub use calendar::Calendar;
pub use composed::Composed;
pub use data_test::DataTest;
pub use data_type::DataType;
pub use dress::*;
pub use feed::{Changed, Csv, Fed, Feed, FeedFormat};
pub use lower::{ending_bodies, is_aggregate, is_type, load};
pub(crate) use lower::{meant, parts};
pub use mart::*;
pub use snapshot::{Gone, Snapshots};
pub use source::{Deletes, Plugin, Polling, RemovedPartitions, Source, Watermark};
pub use staging::{Computed, Input, Staging};

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

/// The schema that holds the tool's own tables.
pub const TOOL_SCHEMA: &str = "medallion";
/// The schema whose views answer as of `medallion.as_of`.
pub const TRAVEL_SCHEMA: &str = "as_of";

/// One warehouse, resolved. Lists stand in the order in which their objects are created: a relation
/// comes after everything that it reads; ties keep the order of their names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Warehouse {
    /// The warehouse's name: a Rust module, a folder and the default of slot and publication.
    pub name: String,
    /// One sentence for the reader.
    pub description: Option<String>,
    /// The IANA zone in which days and months are cut.
    pub time_zone: String,
    /// The schemas of the three layers.
    pub schemas: Schemas,
    /// Where changes come from.
    pub source: Source,
    /// The roles that the migration makes.
    pub roles: Roles,
    /// How long the past is kept.
    pub retention: Retention,
    /// How far things may go before somebody should look.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<Alert>,
    /// Enumerated types, created in the silver schema.
    pub enums: Vec<Enum>,
    /// Landing tables, those of lookups included.
    pub landings: Vec<Landing>,
    /// Whether these stand in a database of their own.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_bronze_apart: bool,
    /// Views of what has landed, in order of their names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stagings: Vec<Staging>,
    /// Calendars, in order of their names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub calendars: Vec<Calendar>,
    /// Dimensions and facts, those of lookups included, each after what it looks up.
    pub silver: Vec<Silver>,
    /// Joins over time, in order of their names.
    pub temporal_joins: Vec<TemporalJoin>,
    /// Marts, each after the marts that it reads.
    pub marts: Vec<Mart>,
    /// What the relations' rows are held to, relation by relation.
    pub tests: Vec<DataTest>,
    /// SQL that belongs to the warehouse's source, for demo and simulate.
    pub scripts: Scripts,
    /// The guided tour that `demo` gives; empty when the spec has none.
    pub demo: Vec<DemoStep>,
    /// What the next migration is told that a difference cannot tell.
    pub evolution: Evolution,
    /// Words to choose relations by, under the names that the spec declares.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, Vec<String>>,
}

/// How the spec calls what others have written into a dimension, where that may go: `dim_customer_hist.journal`.
pub const JOURNAL: &str = "journal";

/// How the spec calls what a dimension or a fact has of a landing table that feeds it no more: `dim_customer_hist.history`.
pub const HISTORY: &str = "history";

/// How the spec calls what was pruned from a relation and stands beside it: `dim_customer_hist.archive`.
pub const ARCHIVE: &str = "archive";

impl Warehouse {
    /// The relations that are kept whole: those whose versions of long ago are still asked for, by rows that look
    /// them up at a time of their own, and all that these look up.
    pub fn kept_whole(&self) -> BTreeSet<&Name> {
        let lookups = || self.silver.iter().flat_map(|silver| &silver.lookups);
        let mut whole: BTreeSet<&Name> = lookups()
            .filter(|lookup| matches!(lookup.at, LookupTime::OwnTime(_)))
            .map(|lookup| &lookup.relation)
            .collect();
        // A relation stands after all that it looks up.
        for silver in self.silver.iter().rev() {
            if whole.contains(&silver.name) {
                whole.extend(silver.lookups.iter().map(|lookup| &lookup.relation));
            }
        }
        whole
    }
}

/// What the spec says about how it came out of an earlier one. Says nothing about what the warehouse is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Evolution {
    /// Tables that had another name: the name before, and the name now.
    pub relations: Vec<(Name, Name)>,
    /// Columns of silver relations that had another name: the table now, the name before, and the name now.
    pub columns: Vec<(Name, String, String)>,
    /// Columns of silver relations whose past comes from bronze when they are added.
    pub backfilled: Vec<(Name, String)>,
    /// What may go, and why: a relation as the spec calls it, `relation.column`, a dimension's `relation.journal`,
    /// `relation.history` or `relation.archive`.
    pub allowed_drops: BTreeMap<String, String>,
    /// What a migration may risk, and why: `relation.hazard`, the relation as the spec calls it.
    pub allowed_hazards: BTreeMap<String, String>,
}

/// The schemas of the three layers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Schemas {
    /// Landing tables.
    pub bronze: String,
    /// Dimensions, facts, lookup views, enumerated types.
    pub silver: String,
    /// Marts.
    pub gold: String,
}

/// Roles without a login, of the whole server. Who migrates is the owner.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Roles {
    /// Runs the pipeline.
    pub loader: Option<String>,
    /// Asks.
    pub reader: Option<String>,
}

/// How long the past is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum Retention {
    /// For ever.
    #[default]
    Whole,
    /// From the horizon on: so many units before what was last applied, cut to a day of the warehouse's.
    Since {
        /// How many.
        count: u32,
        /// Days, weeks, months or years.
        unit: Unit,
        /// What becomes of what is older.
        older: Older,
    },
}

/// What becomes of what is older than the horizon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Older {
    /// It moves to tables beside, with the time when.
    Archived,
    /// It goes.
    Dropped,
}

/// A relation's two names, raw.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Name {
    /// The schema.
    pub schema: String,
    /// The table, view or type.
    pub name: String,
}

impl Name {
    /// A name of two parts.
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self { schema: schema.into(), name: name.into() }
    }
}

/// An enumerated type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Enum {
    /// Its name, in the silver schema.
    pub name: Name,
    /// Its values, in their order; never empty.
    pub values: Vec<String>,
    /// How values of before are called now.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub renamed: BTreeMap<String, String>,
}

/// A bronze table: one row a change, append only. All landing tables have the same columns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Landing {
    /// Where it stands: the bronze schema, or the tool's for a lookup's.
    pub name: Name,
    /// Becomes a COMMENT.
    pub description: Option<String>,
    /// The table at the source.
    pub source: Name,
    /// The source's columns that identify a row; never empty.
    pub key: Vec<String>,
    /// How its rows come. Where they come out of files, the source is their path.
    #[serde(flatten, skip_serializing_if = "Fed::is_by_log")]
    pub fed: Fed,
}

/// A silver relation: rows made from a landing table's changes, with what they look up elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Silver {
    /// Its name.
    pub name: Name,
    /// Becomes a COMMENT.
    pub description: Option<String>,
    /// The landing table that feeds it.
    pub feed: Name,
    /// The staging view that its columns come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub staging: Option<Name>,
    /// Which landed rows count; all without. The others are as if they had been deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<Computed>,
    /// Names of the columns that identify a row (an event, a current version); never empty.
    pub key: Vec<String>,
    /// Its columns, in the spec's order, without those of its kind (period, hash, snapshot).
    pub columns: Vec<Column>,
    /// What it looks up; each relation stands earlier in `Warehouse::silver`.
    pub lookups: Vec<Lookup>,
    /// What makes it a dimension or a fact.
    pub kind: SilverKind,
}

impl Silver {
    /// The columns in the order in which the relation came by them.
    pub fn in_order_of_introduction(&self) -> impl Iterator<Item = &Column> {
        let mut columns: Vec<&Column> = self.columns.iter().collect();
        columns.sort_by_key(|column| column.introduced);
        columns.into_iter()
    }
}

/// A dimension or a fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum SilverKind {
    /// Keeps every version of a row.
    Dimension(Dimension),
    /// Keeps the latest state of an event, partitioned by time; earlier states in an archive.
    Fact(Fact),
}

/// What a dimension has besides its columns: `row_hash bytea`, and the period's two `timestamptz`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Dimension {
    /// The hash of the tracked columns.
    pub row_hash: String,
    /// The period's start, inclusive.
    pub start: String,
    /// The period's end, exclusive; infinity in a current version.
    pub end: String,
    /// The view of current versions.
    pub current_view: Name,
    /// Whether it was declared as a `[[lookup]]`.
    pub origin: Origin,
    /// What becomes of writes past its feed.
    pub writes: Writes,
    /// Who sees to it that no two versions of a key overlap.
    pub overlaps: Overlaps,
    /// Where closed versions stand.
    pub closed: Closed,
    /// The column that tells versions apart by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub surrogate: Option<Surrogate>,
}

/// Who sees to it that no two versions of a key overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Overlaps {
    /// Whoever writes them: the loader, and versioning.
    Unmade,
    /// The database as well, by an exclusion constraint.
    Refused,
}

/// Where the closed versions of a dimension stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Closed {
    /// Beside the current ones, in one table.
    Together,
    /// In partitions of their own, by the time at which they ended. Never with overlaps refused: no
    /// constraint reaches across tables.
    Apart {
        /// How wide a partition is.
        every: Unit,
    },
}

/// How a dimension came into the spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Origin {
    /// A `[[dimension]]`: one of the warehouse's own tables.
    Declared,
    /// A `[[lookup]]`: reference data beside them.
    Lookup,
}

/// What becomes of writes that reach a dimension past its feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Writes {
    /// Nothing: the loader writes it, nobody else.
    Loader,
    /// Any role's are versioned, by triggers, and journalled.
    Versioned,
}

/// What a fact has besides its columns: `snapshot_ts timestamptz`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fact {
    /// The system time of the row's state.
    pub snapshot: String,
    /// The column that partitions it; not null, a date or a timestamp.
    pub partition_by: String,
    /// How wide a partition is.
    pub partition_every: Unit,
    /// The table of earlier states, in the tool's schema: the columns, then `sys_start`, `sys_end`.
    pub archive: Name,
}

/// A unit of the calendar, in the warehouse's zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub data_type: DataType,
    /// Whether it takes NULL.
    pub nullability: Nullability,
    /// Becomes a COMMENT.
    pub description: Option<String>,
    /// Where its values come from.
    pub from: ColumnFrom,
    /// Whether a change of it makes a version.
    pub tracking: Tracking,
    /// Of an enumerated type: how values that a landed row may say are called now.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub renamed: BTreeMap<String, String>,
    /// Its place in the order in which the relation came by its columns, by which hashes go. Of a relation
    /// that is new, the spec's.
    #[serde(skip)]
    pub introduced: usize,
}

/// Whether a column takes NULL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Nullability {
    /// It does.
    Nullable,
    /// It does not.
    NotNull,
}

/// Whether a change of an attribute makes a version of a dimension's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Tracking {
    /// It does.
    Tracked,
    /// The current version is updated in place.
    Untracked,
    /// It stays what it was when the version began.
    Opening,
}

/// Where a silver column's values come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum ColumnFrom {
    /// A field of the landed row.
    Field(String),
    /// A column of a relation that the row looks up.
    Lookup {
        /// The lookup's alias in this relation.
        lookup: String,
        /// The column there: one of its own, or its surrogate key where that is a hash.
        column: String,
    },
    /// Computed of fields of the landed row.
    Computed(Computed),
    /// Computed of the relation's other columns.
    Composed(Composed),
    /// The change that made the row's state, not the row.
    Change(Change),
}

/// One relation that the rows of another look up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lookup {
    /// Its alias.
    pub alias: String,
    /// The silver relation: a dimension's table or a fact.
    pub relation: Name,
    /// Pairs of the row's own column and the relation's key column; covers the whole key.
    pub on: Vec<(String, String)>,
    /// Which version is meant.
    pub at: LookupTime,
}

/// Which version of a looked-up row is meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum LookupTime {
    /// The one of the same system time.
    SystemTime,
    /// The one of the row's own time, in this column; where that is older than the first version,
    /// the first reaches back; in a gap the last earlier one counts.
    OwnTime(String),
}

/// A view that joins versions to a silver relation over time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TemporalJoin {
    /// Its name.
    pub name: Name,
    /// Becomes a COMMENT.
    pub description: Option<String>,
    /// The silver relation that others are joined to: a dimension's table or a fact.
    pub base: Name,
    /// What the view calls it.
    pub base_alias: String,
    /// What is joined: dimensions' tables, by their whole keys; never empty.
    pub joins: Vec<Lookup>,
    /// The columns that show the base's key.
    pub key: Vec<String>,
    /// Its columns, in the spec's order, without those of the period.
    pub columns: Vec<JoinedColumn>,
    /// For how long a row holds.
    pub stretch: Stretch,
}

/// A column of a join over time: one of the base's, or of what is joined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JoinedColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    pub data_type: DataType,
    /// Whether it can be NULL.
    pub nullability: Nullability,
    /// Becomes a COMMENT.
    pub description: Option<String>,
    /// The column that it shows: the base's as a field, or one of what is joined as a lookup's.
    pub of: ColumnFrom,
}

/// For how long a row of a join over time holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Stretch {
    /// The base is a dimension: as long as none of the versions changes, in a period of these columns.
    Period {
        /// Inclusive.
        start: String,
        /// Exclusive; infinity while it lasts.
        end: String,
    },
    /// The base is a fact: each event with the versions of its own time.
    OwnTime,
}

/// SQL that belongs to the warehouse's source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Scripts {
    /// `source.sql`: the source's schema.
    pub source: Option<String>,
    /// `sample.sql`: its sample rows.
    pub sample: Option<String>,
    /// `traffic.sql`: one round of changes.
    pub traffic: Option<String>,
}

/// A step of the guided tour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DemoStep {
    /// What the reader is told.
    pub say: String,
    /// What is done.
    pub action: DemoAction,
}

/// What a step of the tour does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum DemoAction {
    /// Nothing but saying.
    Nothing,
    /// Asks the warehouse and prints the answer.
    Query {
        /// The question, over unqualified names.
        sql: String,
        /// The time that it is asked as of; now without.
        as_of: Option<String>,
    },
    /// Changes the source.
    Source(String),
    /// Runs the pipeline.
    Run,
}
