//! The language: one struct a table of the spec, one field a key. The comments here are what an editor
//! shows, by way of the JSON Schema. A key that has to be there is an `Option` all the same: where it is
//! missing, that has been reported, and the rest can still be looked at.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::data_test::DataTest;
use super::dress::{Change, ShownAs, SurrogateKey, Which};
use super::mart::Mart;
use super::{Alerts, At, Bronze, Calendar, Feed, Snapshot, Staging};

/// Describes one medallion warehouse on PostgreSQL.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "medallion warehouse")]
pub struct Warehouse {
    /// The warehouse itself.
    #[schemars(required)]
    pub warehouse: Option<At<Identity>>,
    /// The schemas of the three layers.
    #[serde(default)]
    pub schemas: Schemas,
    /// Where changes come from.
    #[serde(default)]
    pub source: Source,
    /// Where they land.
    #[serde(default)]
    pub bronze: Bronze,
    /// The roles that the migration makes, with what each may do.
    #[serde(default)]
    pub roles: Roles,
    /// How long the past is kept; for ever without it.
    pub retention: Option<At<Retention>>,
    /// How far things may go before somebody should look.
    #[serde(default)]
    pub alerts: Alerts,
    /// Enumerated types, created in the silver schema: a name and its values, in order.
    #[serde(default)]
    pub types: BTreeMap<At<String>, At<Vec<At<String>>>>,
    /// Values of those types that were called otherwise: `type.before`, and the value of now. What has landed says the
    /// one of before, so that this stays.
    #[serde(default)]
    pub renamed_values: BTreeMap<At<String>, At<String>>,
    /// Bronze: every change of a source table, as it came.
    #[serde(default)]
    pub landing: Vec<At<Landing>>,
    /// Views of what has landed, typed, renamed and cleaned; dimensions and facts are fed from them.
    #[serde(default)]
    pub staging: Vec<At<Staging>>,
    /// Days, one row each, computed.
    #[serde(default)]
    pub calendar: Vec<At<Calendar>>,
    /// Reference data: captured with its history, shown as views of current rows.
    #[serde(default)]
    pub lookup: Vec<At<Lookup>>,
    /// Silver: rows as they were at any time.
    #[serde(default)]
    pub dimension: Vec<At<Dimension>>,
    /// Silver: events as they are now.
    #[serde(default)]
    pub fact: Vec<At<Fact>>,
    /// Silver: versions joined over time, as views.
    #[serde(default)]
    pub temporal_join: Vec<At<TemporalJoin>>,
    /// Gold: measures by grain.
    #[serde(default)]
    pub mart: Vec<At<Mart>>,
    /// What may go with all that it holds, and why: a relation, `relation.column`, `relation.journal` of a dimension that
    /// is versioned no more, `relation.history` or `relation.archive`. Needed where the next migration would drop it.
    #[serde(default)]
    pub allow_drop: BTreeMap<At<String>, At<String>>,
    /// What a migration may risk, and why: `relation.rewrite`, `relation.scan`, `relation.index_build`,
    /// `relation.narrowing` or `relation.irreversible`. Needed before a column becomes narrower; `migrate up` refuses what
    /// else is not allowed here.
    #[serde(default)]
    pub allow_hazard: BTreeMap<At<String>, At<String>>,
}

/// The warehouse itself.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Its name: lower-case letters, digits and underscores. A Rust module and a folder bear it too.
    #[schemars(required)]
    pub name: Option<At<String>>,
    /// One sentence for the reader.
    pub description: Option<At<String>>,
    /// The IANA time zone in which days and months are cut; `UTC` unless said otherwise.
    pub time_zone: Option<At<String>>,
}

/// The schemas of the three layers.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Schemas {
    /// Landing tables; `bronze` unless said otherwise.
    pub bronze: Option<At<String>>,
    /// Dimensions, facts, lookup views and types; `silver` unless said otherwise.
    pub silver: Option<At<String>>,
    /// Marts; `gold` unless said otherwise.
    pub gold: Option<At<String>>,
}

/// Where changes come from.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// How they are captured.
    pub capture: Option<At<Capture>>,
    /// The output plugin of logical decoding; `pgoutput` unless said otherwise.
    pub plugin: Option<At<Plugin>>,
    /// The schema of source tables that are named without one; `public` unless said otherwise.
    pub schema: Option<At<String>>,
    /// The publication on the source; `medallion_<warehouse>` unless said otherwise.
    pub publication: Option<At<String>>,
    /// The replication slot on the source; `medallion_<warehouse>` unless said otherwise.
    pub slot: Option<At<String>>,
    /// A source table of past changes, loaded once before live capture takes over.
    pub recorded_log: Option<At<String>>,
    /// For how long the source keeps its log after it has landed, so that a warehouse restored from a backup no older
    /// goes on by itself: `"1 day"`; not at all unless said otherwise.
    pub keep_log: Option<At<String>>,
    /// What becomes of the rows of partitions that were truncated, detached or dropped by themselves, which the stream
    /// does not tell; `keep` unless said otherwise.
    pub removed_partitions: Option<At<RemovedPartitions>>,
    /// How a source is asked that is captured by watermark.
    pub polling: Option<At<Polling>>,
}

/// How a source is asked that is captured by watermark: how often, and what of it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Polling {
    /// How long `watch` waits between two polls; `1 second` unless said otherwise.
    pub every: Option<At<String>>,
    /// How old a row has to be, by its watermark, before it is read: transactions that take no longer are not missed;
    /// `1 second` unless said otherwise.
    pub margin: Option<At<String>>,
    /// How far behind the watermark rows are read once more, for transactions that took longer; what has landed is
    /// not landed again; `1 minute` unless said otherwise.
    pub look_back: Option<At<String>>,
    /// How many rows are asked for at a time; 10000 unless said otherwise.
    pub page: Option<At<u32>>,
    /// How often, at most, the keys of tables with `deletes = "compare"` are compared: it reads all of them;
    /// `1 hour` unless said otherwise.
    pub compare_every: Option<At<String>>,
}

/// What becomes of rows that were deleted at a source that is captured by watermark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Deletes {
    /// Nobody notices: the warehouse keeps the row as it was last.
    Ignore,
    /// Keys are compared every now and then, and what is gone lands as a delete at the time of the comparison.
    Compare,
}

/// How changes are captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Capture {
    /// By logical decoding.
    Logical,
    /// By a column that rises with each change of a row, asked for again and again: for sources that let nobody
    /// read their log. Sees the last of several changes between two polls, and no deletes by itself.
    Watermark,
    /// By whole copies of its tables, compared with what has landed: for sources with neither. Sees what differs from
    /// one copy to the next.
    Snapshot,
}

/// The output plugin of logical decoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Plugin {
    /// PostgreSQL's own.
    Pgoutput,
    /// wal2json, where the server has it and allows it: slower, and within limits of its own.
    Wal2json,
}

/// What becomes of the rows of partitions that went from a captured table by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RemovedPartitions {
    /// They stay as they were; a run says so.
    Keep,
    /// They are deleted.
    Delete,
}

/// The roles that the migration makes, with what each may do: group roles without a login, for logins to be
/// members of. Who migrates owns the warehouse. A role is one for the whole server: where it is there already
/// it is used as it is, and it stays when the warehouse goes.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Roles {
    /// Runs the pipeline: adds to bronze, writes silver and gold, changes nothing that has ended but by
    /// repair. No such role is made without it.
    pub loader: Option<At<String>>,
    /// Asks: silver, gold and their past. No such role is made without it.
    pub reader: Option<At<String>>,
}

/// How long the past is kept. A run moves the horizon at most once a day, by the system time of what it has
/// applied: from there on every state is known, and what is older is one base row a key. What others look up at
/// a time of their own is kept whole, with all that it looks up itself.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// A number of days, weeks, months or years: `24 months`.
    #[schemars(required)]
    pub keep: Option<At<String>>,
    /// What becomes of what is older.
    #[schemars(required)]
    pub then: Option<At<Then>>,
}

/// What becomes of what is older than what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// It moves to tables beside, in the tool's own schema, which only the owner reads.
    Archive,
    /// It goes.
    Drop,
}

/// A landing table: one row a change, append only. All landing tables have the same columns.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("anyOf" = [{ "required": ["from"] }, { "required": ["files"] }]))]
pub struct Landing {
    /// Its name, in the bronze schema.
    #[schemars(required)]
    pub name: Option<At<String>>,
    /// The source table: `table` or `schema.table`.
    pub from: Option<At<String>>,
    /// The files that feed it, instead of a source table.
    pub files: Option<At<Feed>>,
    /// The source's columns that identify a row.
    #[schemars(required)]
    pub key: Option<At<Vec<At<String>>>>,
    /// Where the source is captured by watermark: the source's column that rises with each change of a row, a
    /// timestamp.
    pub watermark: Option<At<String>>,
    /// What becomes of deleted rows, where the source is captured by watermark; `ignore` unless said otherwise.
    pub deletes: Option<At<Deletes>>,
    /// Feeds it by whole copies of the source table, whatever else the source is captured by.
    pub snapshot: Option<At<Snapshot>>,
    /// Becomes a COMMENT.
    pub description: Option<At<String>>,
    /// What it was called before: the next migration renames it, with all that it holds.
    pub renamed_from: Option<At<String>>,
    /// Words to choose it by, with others: `--select tag:daily`.
    #[serde(default)]
    pub tags: Vec<At<String>>,
    /// What its rows are held to: each change that has landed.
    #[serde(default)]
    pub tests: Vec<At<DataTest>>,
}

/// Reference data: captured with its history, shown as a view of current rows in the silver schema.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("anyOf" = [{ "required": ["from"] }, { "required": ["files"] }]))]
pub struct Lookup {
    /// The name of the view; its history is `<name>_hist`.
    #[schemars(required)]
    pub name: Option<At<String>>,
    /// The source table, `table` or `schema.table`; or a staging view.
    pub from: Option<At<String>>,
    /// The files that feed it, instead of a source table.
    pub files: Option<At<Feed>>,
    /// The columns that identify a row.
    #[schemars(required)]
    pub key: Option<At<Vec<At<String>>>>,
    /// Its columns, in their order.
    #[schemars(required)]
    pub columns: Option<At<Vec<At<Column>>>>,
    /// Where the source is captured by watermark: the source's column that rises with each change of a row, a
    /// timestamp.
    pub watermark: Option<At<String>>,
    /// What becomes of deleted rows, where the source is captured by watermark; `ignore` unless said otherwise.
    pub deletes: Option<At<Deletes>>,
    /// Feeds it by whole copies of the source table, whatever else the source is captured by.
    pub snapshot: Option<At<Snapshot>>,
    /// Becomes a COMMENT.
    pub description: Option<At<String>>,
    /// What it was called before: the next migration renames it, with all that it holds.
    pub renamed_from: Option<At<String>>,
    /// Words to choose it by, with others: `--select tag:daily`.
    #[serde(default)]
    pub tags: Vec<At<String>>,
    /// What its rows are held to: its current rows.
    #[serde(default)]
    pub tests: Vec<At<DataTest>>,
}

/// A dimension: keeps every version of a row.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dimension {
    /// Its name, in the silver schema; usually ends in `_hist`.
    #[schemars(required)]
    pub name: Option<At<String>>,
    /// What feeds it: a landing table, a staging view, or a lookup (then that lookup's landing table).
    #[schemars(required)]
    pub from: Option<At<String>>,
    /// The columns that identify a row.
    #[schemars(required)]
    pub key: Option<At<Vec<At<String>>>>,
    /// Whether triggers version what any role writes to it; otherwise only the loader writes it.
    pub system_versioning: Option<At<bool>>,
    /// The view of current versions; the name without `_hist` unless said otherwise.
    pub current_view: Option<At<String>>,
    /// Who sees to it that no two versions of a key overlap; the loader alone unless said otherwise.
    pub overlaps: Option<At<Overlaps>>,
    /// Keeps closed versions in a table of their own, split by the time at which they ended: for histories
    /// of many millions. One name still reads both; the current versions stand in `<name>_current`, which no
    /// question about now has to look further than.
    pub closed_apart: Option<At<ClosedApart>>,
    /// A column that tells its versions apart by itself.
    pub surrogate_key: Option<At<SurrogateKey>>,
    /// A view of its versions under other names and conventions.
    pub shown_as: Option<At<ShownAs>>,
    /// Its columns, in their order. Hash and period are added.
    #[schemars(required)]
    pub columns: Option<At<Vec<At<Column>>>>,
    /// Relations whose columns it takes.
    #[serde(default)]
    pub lookups: Vec<At<LookedUp>>,
    /// Becomes a COMMENT.
    pub description: Option<At<String>>,
    /// What it was called before: the next migration renames it, with all that it holds.
    pub renamed_from: Option<At<String>>,
    /// Words to choose it by, with others: `--select tag:daily`.
    #[serde(default)]
    pub tags: Vec<At<String>>,
    /// What its rows are held to: its current rows.
    #[serde(default)]
    pub tests: Vec<At<DataTest>>,
}

/// Who sees to it that no two versions of a key overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Overlaps {
    /// The loader makes none.
    Unmade,
    /// The database refuses them as well, by an exclusion constraint, which needs the extension `btree_gist`
    /// and makes inserting versions five to nine times as slow.
    Refused,
}

/// How closed versions are split.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClosedApart {
    /// How much time a partition holds, in the warehouse's time zone. A year does for most: a question about
    /// one key looks into every partition from its time on.
    #[schemars(required)]
    pub every: Option<At<Unit>>,
}

/// A fact: the latest state of each event, partitioned by time.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fact {
    /// Its name, in the silver schema.
    #[schemars(required)]
    pub name: Option<At<String>>,
    /// The landing table, staging view or lookup that feeds it.
    #[schemars(required)]
    pub from: Option<At<String>>,
    /// The columns that identify an event.
    #[schemars(required)]
    pub key: Option<At<Vec<At<String>>>>,
    /// How its rows are split.
    #[schemars(required)]
    pub partition: Option<At<Partition>>,
    /// Its columns, in their order. The snapshot's time is added.
    #[schemars(required)]
    pub columns: Option<At<Vec<At<Column>>>>,
    /// Relations whose columns it takes.
    #[serde(default)]
    pub lookups: Vec<At<LookedUp>>,
    /// Becomes a COMMENT.
    pub description: Option<At<String>>,
    /// What it was called before: the next migration renames it, with all that it holds.
    pub renamed_from: Option<At<String>>,
    /// Words to choose it by, with others: `--select tag:daily`.
    #[serde(default)]
    pub tags: Vec<At<String>>,
    /// What its rows are held to: all of them.
    #[serde(default)]
    pub tests: Vec<At<DataTest>>,
}

/// How a fact's rows are split.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Partition {
    /// A column: a date or a timestamp, never NULL.
    #[schemars(required)]
    pub by: Option<At<String>>,
    /// How much time a partition holds.
    #[schemars(required)]
    pub every: Option<At<Unit>>,
}

/// A unit of the calendar, in the warehouse's time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
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

/// A column.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Its name.
    #[schemars(required)]
    pub name: Option<At<String>>,
    /// Its type: PostgreSQL's name of it, or one of `[types]`. A column of a staging view has the one that it has
    /// there.
    #[serde(rename = "type")]
    pub data_type: Option<At<String>>,
    /// Whether it takes NULL; as in the staging view that it comes from, else not unless said.
    pub null: Option<At<bool>>,
    /// Becomes a COMMENT.
    pub description: Option<At<String>>,
    /// Where its value comes from: a field of the source's row, a column of the staging view that feeds the relation,
    /// or `alias.column` of a relation that is looked up; what has the same name unless said otherwise.
    pub from: Option<At<String>>,
    /// What it is computed of, SQL over the relation's other columns, by their names here, those that are looked up among
    /// them. Of the same row it gives the same value always: no clock, no setting of a session, no chance.
    pub expr: Option<At<String>>,
    /// Whether a change of it makes a version of a dimension's row; it does unless said otherwise.
    pub tracked: Option<At<bool>>,
    /// Of a dimension: what it tells of the change that made the row's state, in place of a field of the row. It is
    /// never tracked.
    pub change: Option<At<Change>>,
    /// Which of a version's changes `change` means; the opening one unless said otherwise.
    pub which: Option<At<Which>>,
    /// What it was called before: the next migration renames it, with all that it holds.
    pub renamed_from: Option<At<String>>,
    /// Where its past comes from when it is added to a relation that holds rows already; nowhere unless said:
    /// it is NULL in what was applied before.
    pub backfill: Option<At<Backfill>>,
    /// The dimension that its value is a key of.
    pub references: Option<At<String>>,
}

/// Where a new column's past comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Backfill {
    /// From everything that has landed: the relation's history is computed anew, as if it had always had the
    /// column.
    Bronze,
}

/// A relation that the rows of another look up.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LookedUp {
    /// The name that columns refer to it by, `alias.column`.
    #[schemars(required)]
    pub name: Option<At<String>>,
    /// A lookup, a dimension or a fact.
    #[schemars(required)]
    pub relation: Option<At<String>>,
    /// The columns here whose values are the key there, in the order of that key.
    #[schemars(required)]
    pub on: Option<At<Vec<At<String>>>>,
    /// The column here that says which version is meant: the one of its time. Before the first version the first
    /// counts, and in a gap the last earlier one. Without it the version of the same system time is meant, and none
    /// where there is none.
    pub at: Option<At<String>>,
}

/// A join over time, as a view in the silver schema. From a dimension or a lookup: a row for each stretch of
/// time in which no row of either side changes. From a fact: each event with the versions of its own time;
/// where that is older than the first version, the first reaches back, and in a gap the last earlier one
/// counts.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TemporalJoin {
    /// Its name, in the silver schema.
    #[schemars(required)]
    pub name: Option<At<String>>,
    /// The dimension, lookup or fact that others are joined to.
    #[schemars(required)]
    pub from: Option<At<String>>,
    /// The dimensions and lookups that are joined to it. To a fact each one needs `at`.
    #[schemars(required)]
    pub joins: Option<At<Vec<At<LookedUp>>>>,
    /// Its columns, in their order; among them the key of `from`. The period is added, unless `from` is a
    /// fact.
    #[schemars(required)]
    pub columns: Option<At<Vec<At<JoinedColumn>>>>,
    /// Becomes a COMMENT.
    pub description: Option<At<String>>,
}

/// A column of a join over time.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinedColumn {
    /// Its name.
    #[schemars(required)]
    pub name: Option<At<String>>,
    /// The column that it shows: one of `from`'s, or `alias.column` of what is joined; the one of the same
    /// name unless said otherwise.
    pub from: Option<At<String>>,
    /// Becomes a COMMENT; that of the column that it shows, unless said otherwise.
    pub description: Option<At<String>>,
}
