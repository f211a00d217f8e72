//! Functions by what they do to a mart: those whose value changes by itself, those that make rows of their
//! arguments and of nothing else. Knows names only.

use sqlparser::ast::{Expr, ObjectName};
use sqlparser::tokenizer::Span;

use super::sql;
use crate::finding::{Code, Finding, Span as Place};

/// Functions that give another value at another call, or in another session.
const VOLATILE: &[&str] = &[
    "current_catalog",
    "current_database",
    "current_query",
    "current_role",
    "current_schema",
    "current_schemas",
    "current_setting",
    "current_user",
    "currval",
    "gen_random_bytes",
    "gen_random_uuid",
    "lastval",
    "nextval",
    "pg_backend_pid",
    "pg_export_snapshot",
    "pg_is_in_recovery",
    "pg_notify",
    "pg_postmaster_start_time",
    "random",
    "random_normal",
    "session_user",
    "set_config",
    "setseed",
    "setval",
    "user",
    "uuidv4",
    "uuidv7",
];

/// How the names of such families begin.
const VOLATILE_FAMILIES: &[&str] =
    &["pg_advisory_", "pg_current_", "pg_sleep", "pg_try_advisory_", "txid_", "uuid_generate_v"];

/// Functions that make rows of their arguments.
const ROW_MAKERS: &[&str] = &["generate_series", "generate_subscripts", "string_to_table", "unnest"];

/// How the names of such families begin.
const ROW_MAKER_FAMILIES: &[&str] = &["json_", "jsonb_", "regexp_"];

/// The function of an expression whose value changes by itself.
pub(super) fn called(expression: &Expr) -> Option<(Span, String)> {
    let Expr::Function(function) = expression else { return None };
    let name = sql::built_in(function)?;
    let is_volatile = VOLATILE.contains(&name.as_str()) || starts_as(&name, VOLATILE_FAMILIES);
    let last = *sql::parts(&function.name)?.last()?;
    is_volatile.then_some((last.span, name))
}

/// What is said of it where rows are kept.
pub(super) fn refused(name: &str, place: Place) -> Finding {
    Finding::new(Code::VolatileInMart, format!("`{name}` gives another value another time"), place)
        .label("the rows that are kept would never agree with it")
        .help("make it `storage = \"view\"`, or leave it out")
}

/// Whether a function in FROM reads nothing but its arguments.
pub(super) fn makes_rows(name: &ObjectName) -> bool {
    let Some(parts) = sql::parts(name) else { return false };
    let [schema @ .., last] = parts.as_slice() else { return false };
    let name = sql::meant(last);
    let built_in = match schema {
        [] => true,
        [schema] => sql::meant(schema) == "pg_catalog",
        _ => false,
    };
    built_in && (ROW_MAKERS.contains(&name.as_str()) || starts_as(&name, ROW_MAKER_FAMILIES))
}

fn starts_as(name: &str, families: &[&str]) -> bool {
    families.iter().any(|family| name.starts_with(family))
}
