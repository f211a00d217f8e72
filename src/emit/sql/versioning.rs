//! The SQL by which a dimension versions what is written to it: functions, triggers, and the journal of such
//! writes. Knows the dimension only; what all have in common is `bookkeeping`'s.

use askama::Template;

use super::apart;
use super::lines::Lines;
use super::quote::{data_type, derived, identifier, literal, relation};
use super::script::{comment, comment_column};
use crate::model::data_type::BuiltIn;
use crate::model::{Closed, Column, DataType, Dimension, Name, Silver, TOOL_SCHEMA, Tracking};

#[derive(Template)]
#[template(path = "generated/sql/warehouse/20_silver/versioning.sql", escape = "none")]
struct VersioningSql {
    table: String,
    table_literal: String,
    /// Whether closed versions stand in tables of their own.
    apart: bool,
    /// Where current versions stand, and where closed ones do.
    current: String,
    closed: String,
    /// The tables that a statement can name to write current versions.
    statements: Vec<String>,
    primary_key: String,
    row_hash: String,
    start: String,
    end: String,
    columns: String,
    nullable_definitions: Lines,

    journal: String,
    journal_primary_key: String,
    journal_start_index: String,

    hash_function: String,
    hash_parameters: Lines,
    hash_images: String,
    new_tracked: String,

    before_write: String,
    keep_closed: String,
    settle: String,
    after_insert: String,
    after_update: String,
    after_delete: String,

    key_types: String,
    key_stays: String,
    old_key: String,
    old_rows_key: String,
    new_rows_key: String,
    touched_key: String,
    old_columns: String,
    new_columns: String,
    reopening: Lines,
    version_is_parameter: String,
    version_is_new_row: String,
    version_is_old_row: String,
    new_row_is_old_row: String,
}

/// A function of a dimension's versioning, by the suffix that its name has.
const FUNCTIONS: [&str; 6] =
    ["before_write", "keep_closed", "settle", "after_insert", "after_update", "after_delete"];

/// The statements that make a dimension version what is written to it.
pub(super) fn definition(silver: &Silver, dimension: &Dimension) -> String {
    let keys: Vec<String> = silver.key.iter().map(|key| identifier(key)).collect();
    let columns: Vec<String> = silver.columns.iter().map(|column| identifier(&column.name)).collect();
    let tracked: Vec<&Column> = tracked(silver).collect();
    let untracked: Vec<String> = silver
        .columns
        .iter()
        .filter(|column| column.tracking == Tracking::Untracked)
        .map(|column| identifier(&column.name))
        .collect();
    let (row_hash, start, end) =
        (identifier(&dimension.row_hash), identifier(&dimension.start), identifier(&dimension.end));
    let journal = journal(silver);
    let table = relation(&silver.name);
    let apart = dimension.closed != Closed::Together;
    let (current, closed) = match dimension.closed {
        Closed::Together => (table.clone(), table.clone()),
        Closed::Apart { .. } => (relation(&apart::current(silver)), relation(&apart::closed(silver))),
    };
    let statements = [&table].into_iter().chain(apart.then_some(&current)).cloned().collect();
    let [before_write, keep_closed, settle, after_insert, after_update, after_delete] =
        FUNCTIONS.map(|suffix| relation(&function(silver, suffix)));
    let reopened = untracked.iter().map(|name| format!("{name} = opened.{name}"));
    super::render(&VersioningSql {
        table_literal: literal(&table),
        table,
        apart,
        current,
        closed,
        statements,
        primary_key: identifier(&derived(&silver.name.name, "pkey")),
        columns: columns.join(", "),
        nullable_definitions: silver
            .columns
            .iter()
            .map(|column| format!("{} {}", identifier(&column.name), data_type(&column.data_type)))
            .collect(),
        journal_primary_key: identifier(&derived(&journal.name, "pkey")),
        journal_start_index: identifier(&derived(&journal.name, &format!("{}_idx", dimension.start))),
        journal: relation(&journal),
        hash_function: relation(&hash_function(dimension)),
        hash_parameters: tracked
            .iter()
            .map(|column| format!("{} {}", identifier(&column.name), data_type(&column.data_type)))
            .collect(),
        hash_images: in_order(&tracked).into_iter().map(image).collect::<Vec<_>>().join(", "),
        new_tracked: tracked
            .iter()
            .map(|column| format!("NEW.{}", identifier(&column.name)))
            .collect::<Vec<_>>()
            .join(", "),
        before_write,
        keep_closed,
        settle,
        after_insert,
        after_update,
        after_delete,
        key_types: key_types(silver),
        key_stays: keys
            .iter()
            .map(|key| format!("NEW.{key} OPERATOR(pg_catalog.=) OLD.{key}"))
            .collect::<Vec<_>>()
            .join(" AND "),
        old_key: of("OLD", &keys),
        old_rows_key: of("old_rows", &keys),
        new_rows_key: of("new_rows", &keys),
        touched_key: of("touched", &keys),
        old_columns: of("old_rows", &columns),
        new_columns: of("new_rows", &columns),
        reopening: reopened.chain([format!("{end} = 'infinity'")]).collect(),
        version_is_parameter: same(&keys, |number, _| format!("${number}")),
        version_is_new_row: same(&keys, |_, key| format!("new_rows.{key}")),
        version_is_old_row: same(&keys, |_, key| format!("old_rows.{key}")),
        new_row_is_old_row: keys
            .iter()
            .map(|key| format!("new_rows.{key} = old_rows.{key}"))
            .collect::<Vec<_>>()
            .join(" AND "),
        row_hash,
        start,
        end,
    })
    .trim()
    .to_owned()
}

/// What is said of these objects.
pub(super) fn comments(silver: &Silver, dimension: &Dimension) -> Vec<String> {
    let table = &silver.name.name;
    let journal = journal(silver);
    let hash = format!("The `{}` of a row of `{table}` with these attributes.", dimension.row_hash);
    let kept = format!("Writes that reached `{table}` past its feed: what each key was after them.");
    vec![
        comment("TABLE", &journal, &kept),
        comment_column(&journal, "journal_id", "Counts them, in the order of their statements."),
        comment_column(&journal, "journal_op", "I, U, or D of a key that was gone then; its row before."),
        comment_column(&journal, "journal_by", "Who wrote."),
        comment_column(
            &journal,
            "journal_xid",
            "The transaction: what a snapshot saw of the journal is told by it.",
        ),
        comment_column(&journal, &dimension.start, "The system time of the transaction."),
        format!("COMMENT ON FUNCTION {} IS {};", relation(&hash_function(dimension)), literal(&hash)),
    ]
}

/// The way back, for when the dimension's table is gone.
pub(super) fn drops(silver: &Silver, dimension: &Dimension) -> Vec<String> {
    let mut drops = vec![format!("DROP TABLE {};", relation(&journal(silver)))];
    drops.extend(FUNCTIONS.iter().rev().map(|suffix| {
        let parameters = if *suffix == "settle" { key_types(silver) } else { String::new() };
        format!("DROP FUNCTION {}({parameters});", relation(&function(silver, suffix)))
    }));
    drops.push(format!("DROP FUNCTION {};", relation(&hash_function(dimension))));
    drops
}

/// The table of a versioned dimension's journal.
pub(in crate::emit) fn journal(silver: &Silver) -> Name {
    Name::new(TOOL_SCHEMA, derived(&silver.name.name, "journal"))
}

fn function(silver: &Silver, suffix: &str) -> Name {
    Name::new(TOOL_SCHEMA, derived(&silver.name.name, suffix))
}

fn hash_function(dimension: &Dimension) -> Name {
    let view = &dimension.current_view;
    Name::new(&view.schema, derived(&view.name, "row_hash"))
}

/// The function that hashes a row, with the types of its parameters.
pub(super) fn hash_signature(silver: &Silver, dimension: &Dimension) -> String {
    let types: Vec<String> = tracked(silver).map(|column| data_type(&column.data_type)).collect();
    format!("{}({})", relation(&hash_function(dimension)), types.join(", "))
}

/// The columns whose change makes a version.
fn tracked(silver: &Silver) -> impl Iterator<Item = &Column> {
    silver
        .columns
        .iter()
        .filter(|column| column.tracking == Tracking::Tracked && !silver.key.contains(&column.name))
}

fn key_types(silver: &Silver) -> String {
    let types = silver.key.iter().filter_map(|key| {
        silver.columns.iter().find(|column| &column.name == key).map(|column| data_type(&column.data_type))
    });
    types.collect::<Vec<_>>().join(", ")
}

fn of(alias: &str, names: &[String]) -> String {
    names.iter().map(|name| format!("{alias}.{name}")).collect::<Vec<_>>().join(", ")
}

/// A version's key compared, key column by key column (counted from 1).
fn same(keys: &[String], with: impl Fn(usize, &str) -> String) -> String {
    let equal = (1..).zip(keys).map(|(number, key)| format!("version.{key} = {}", with(number, key)));
    equal.collect::<Vec<_>>().join(" AND ")
}

/// In the order in which the relation came by them.
fn in_order<'c>(columns: &[&'c Column]) -> Vec<&'c Column> {
    let mut columns = columns.to_vec();
    columns.sort_by_key(|column| column.introduced);
    columns
}

/// A column as the hash takes it: the same in every session. The runtime hashes what it loads likewise.
fn image(column: &Column) -> String {
    let name = identifier(&column.name);
    match wire_format(&column.data_type) {
        Some("byteasend") => format!("encode({name}, 'hex')"),
        Some(send) => format!("encode({send}({name}), 'hex')"),
        None => name,
    }
}

/// The function that sends a type, where its text hangs on settings.
fn wire_format(data_type: &DataType) -> Option<&'static str> {
    match data_type {
        DataType::Enum(_) => None,
        DataType::Array(element) => wire_format(element).map(|_| "array_send"),
        DataType::BuiltIn(built_in) => match built_in {
            BuiltIn::Real => Some("float4send"),
            BuiltIn::DoublePrecision => Some("float8send"),
            BuiltIn::Date => Some("date_send"),
            BuiltIn::Timestamp => Some("timestamp_send"),
            BuiltIn::TimestampTz => Some("timestamptz_send"),
            BuiltIn::Bytea => Some("byteasend"),
            BuiltIn::Other(name) => match name.as_str() {
                "interval" => Some("interval_send"),
                "money" => Some("cash_send"),
                "point" => Some("point_send"),
                "lseg" => Some("lseg_send"),
                "path" => Some("path_send"),
                "box" => Some("box_send"),
                "polygon" => Some("poly_send"),
                "line" => Some("line_send"),
                "circle" => Some("circle_send"),
                "daterange" | "tsrange" | "tstzrange" => Some("range_send"),
                "datemultirange" | "tsmultirange" | "tstzmultirange" => Some("multirange_send"),
                _ => None,
            },
            BuiltIn::Boolean
            | BuiltIn::SmallInt
            | BuiltIn::Integer
            | BuiltIn::BigInt
            | BuiltIn::Numeric(_)
            | BuiltIn::Text
            | BuiltIn::Varchar(_)
            | BuiltIn::Char(_)
            | BuiltIn::Time
            | BuiltIn::Uuid
            | BuiltIn::Json
            | BuiltIn::Jsonb => None,
        },
    }
}
