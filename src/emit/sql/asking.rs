//! The SQL by which a dimension is asked about the past by functions: one key at a time, the versions of a
//! stretch of time or of a key, and what changed. Each is inlined where it is called. Knows the dimension
//! only; its plain as-of function stands with it, for lookups have that one too.

use askama::Template;

use super::dress;
use super::lines::Lines;
use super::quote::{data_type, derived, identifier, literal, relation};
use super::script::comment_function;
use crate::model::{Closed, Column, Dimension, Name, Silver, TRAVEL_SCHEMA};

#[derive(Template)]
#[template(path = "generated/sql/warehouse/20_silver/asking.sql", escape = "none")]
struct AskingSql {
    table: String,
    current_view: String,
    travel_history: String,
    names: Lines,
    shown: Lines,
    row_hash: String,
    start: String,
    end: String,

    as_of: String,
    as_of_parameters: String,
    as_of_key: String,
    as_of_one: OneVersion,

    between: String,

    history: String,
    history_parameters: String,
    history_key: String,

    changes: String,
    changes_parameters: String,
    changes_columns: Lines,
    either_key: Lines,
    same_key: String,
    attributes: Lines,
}

/// By which index one version is found: the key's with the start of each, or with the end.
struct OneVersion {
    says: &'static str,
    bound: String,
    order: String,
    rest: String,
}

pub(super) fn definition(silver: &Silver, dimension: &Dimension) -> String {
    let names = Names::of(dimension);
    let travel_history = Name::new(TRAVEL_SCHEMA, &silver.name.name);
    let [at] = free(silver, ["at"]);
    let [from, to, changed_at, op, column, old, new] =
        free(silver, ["from", "to", "at", "op", "column", "old", "new"]);
    let key_parameters = typed(key(silver));
    let text = [&op, &column, &old, &new].map(|name| format!("{} text", identifier(name)));
    super::render(&AskingSql {
        table: relation(&silver.name),
        current_view: relation(&dimension.current_view),
        travel_history: relation(&travel_history),
        names: dress::names(silver, dimension).collect(),
        shown: dress::shown(silver, dimension).collect(),
        row_hash: identifier(&dimension.row_hash),
        start: identifier(&dimension.start),
        end: identifier(&dimension.end),

        as_of: relation(&names.as_of),
        as_of_parameters: format!("{} timestamptz, {}", identifier(&at), key_parameters.join(", ")),
        as_of_key: given(silver, 2).join("\n        AND "),
        as_of_one: one_version(dimension),

        between: relation(&names.between),

        history: relation(&names.history),
        history_parameters: key_parameters.join(", "),
        history_key: given(silver, 1).join("\n    AND "),

        changes: relation(&names.changes),
        changes_parameters: format!("{} timestamptz, {} timestamptz", identifier(&from), identifier(&to)),
        changes_columns: key_parameters
            .into_iter()
            .chain([format!("{} timestamptz", identifier(&changed_at))])
            .chain(text)
            .collect(),
        either_key: key(silver)
            .map(|column| {
                let name = identifier(&column.name);
                format!("COALESCE(\"before\".{name}, \"after\".{name})")
            })
            .collect(),
        same_key: key(silver)
            .map(|column| {
                let name = identifier(&column.name);
                format!("\"before\".{name} = \"after\".{name}")
            })
            .collect::<Vec<_>>()
            .join("\n        AND "),
        attributes: attributes(silver),
    })
}

fn one_version(dimension: &Dimension) -> OneVersion {
    let (start, end) = (identifier(&dimension.start), identifier(&dimension.end));
    let begun = format!("{start} <= $1");
    let not_ended = format!("{end} > LEAST($1, '294276-12-31 23:59:59.999999+00'::timestamptz)");
    match dimension.closed {
        Closed::Together => OneVersion {
            says: "the last that had begun, unless it had ended",
            bound: begun,
            order: format!("{start} DESC"),
            rest: not_ended,
        },
        Closed::Apart { .. } => OneVersion {
            says: "the first that had not ended, if it had begun",
            bound: not_ended,
            order: end,
            rest: begun,
        },
    }
}

pub(super) fn comments(silver: &Silver, dimension: &Dimension) -> Vec<String> {
    let names = Names::of(dimension);
    let (view, table) = (&dimension.current_view.name, &silver.name.name);
    let key = key_types(silver);
    vec![
        comment_function(
            &names.as_of,
            &format!("timestamptz, {key}"),
            &format!("One key of `{view}` as it was at a time; infinity means now."),
        ),
        comment_function(
            &names.between,
            "timestamptz, timestamptz",
            &format!(
                "The versions of `{table}` that were valid at some moment from one time to another, both \
                 included, as SQL:2011 has it for BETWEEN; infinity means now."
            ),
        ),
        comment_function(&names.history, &key, &format!("Every version of a key of `{table}`, in order.")),
        comment_function(
            &names.changes,
            "timestamptz, timestamptz",
            &format!(
                "What changed in `{view}` after one time, up to and including another: a row a column that an \
                 update changed, and a row each column of what was inserted or deleted. On top of \
                 `{view}` as of the one time it makes that of the other."
            ),
        ),
    ]
}

pub(super) fn drops(silver: &Silver, dimension: &Dimension) -> Vec<String> {
    let functions = functions(silver, dimension);
    functions.iter().rev().map(|function| format!("DROP FUNCTION {function};")).collect()
}

/// The functions, each with the types of its parameters.
pub(super) fn functions(silver: &Silver, dimension: &Dimension) -> [String; 4] {
    let names = Names::of(dimension);
    let key = key_types(silver);
    [
        format!("{}(timestamptz, {key})", relation(&names.as_of)),
        format!("{}(timestamptz, timestamptz)", relation(&names.between)),
        format!("{}({key})", relation(&names.history)),
        format!("{}(timestamptz, timestamptz)", relation(&names.changes)),
    ]
}

struct Names {
    as_of: Name,
    between: Name,
    history: Name,
    changes: Name,
}

impl Names {
    fn of(dimension: &Dimension) -> Self {
        let view = &dimension.current_view;
        let name = |suffix: &str| Name::new(&view.schema, derived(&view.name, suffix));
        Self {
            as_of: name("as_of"),
            between: name("between"),
            history: name("history"),
            changes: name("changes"),
        }
    }
}

/// The columns of the key, in its order.
fn key(silver: &Silver) -> impl Iterator<Item = &Column> {
    silver.key.iter().filter_map(|name| silver.columns.iter().find(|column| column.name == *name))
}

fn typed<'a>(columns: impl Iterator<Item = &'a Column>) -> Vec<String> {
    columns.map(|column| format!("{} {}", identifier(&column.name), data_type(&column.data_type))).collect()
}

fn key_types(silver: &Silver) -> String {
    let types: Vec<String> = key(silver).map(|column| data_type(&column.data_type)).collect();
    types.join(", ")
}

/// `"key" = $1`: a column's name goes before that of a parameter.
fn given(silver: &Silver, first: usize) -> Vec<String> {
    key(silver)
        .zip(first..)
        .map(|(column, number)| format!("{} = ${number}", identifier(&column.name)))
        .collect()
}

/// One line an attribute: its name, its value before and after as text, and whether the two differ. Between
/// two rows the operator `*<>` would compare column by column, and a dump would lose what says otherwise.
fn attributes(silver: &Silver) -> Lines {
    let attributes = silver.columns.iter().filter(|column| !silver.key.contains(&column.name));
    let mut lines: Vec<String> = attributes
        .map(|column| {
            let (name, said) = (identifier(&column.name), literal(&column.name));
            format!(
                "({said}, \"before\".{name}::text, \"after\".{name}::text, \
                 record_image_ne(ROW(\"before\".{name}), ROW(\"after\".{name})))"
            )
        })
        .collect();
    if lines.is_empty() {
        // A key without attributes comes and goes all the same.
        lines.push("(NULL, NULL, NULL, false)".to_owned());
    }
    lines.into_iter().collect()
}

/// Names for what stands beside a key's columns, which keep theirs.
fn free<const N: usize>(silver: &Silver, wanted: [&str; N]) -> [String; N] {
    wanted.map(|wanted| {
        let mut name = wanted.to_owned();
        while silver.key.contains(&name) {
            name.push('_');
        }
        name
    })
}
