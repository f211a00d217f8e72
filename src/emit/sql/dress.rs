//! The SQL of what a dimension wears: its surrogate key, and the view of its versions under other names.

use super::definition::Binding;
use super::quote::{identifier, literal};
use super::script::comment_column;
use crate::model::data_type::BuiltIn;
use crate::model::{
    CurrentEnd, DataType, Dimension, Made, Name, Part, Shown, ShownColumn, Silver, Surrogate,
};

/// What stands for NULL in a hash, and what between its parts: those of `dbt_utils.generate_surrogate_key`.
const NULL: &str = "_dbt_utils_surrogate_key_null_";
const BETWEEN: &str = "-";

/// The surrogate key, where the table has it.
pub(super) fn stored(dimension: &Dimension) -> Option<&Surrogate> {
    dimension.surrogate.as_ref().filter(|surrogate| surrogate.made == Made::Identity)
}

/// Its definition in the table.
pub(super) fn definition(dimension: &Dimension) -> Option<String> {
    stored(dimension)
        .map(|surrogate| format!("{} bigint GENERATED ALWAYS AS IDENTITY", identifier(&surrogate.name)))
}

/// The columns of the table, those of the period and the hash apart.
pub(super) fn names<'a>(silver: &'a Silver, dimension: &'a Dimension) -> impl Iterator<Item = String> + 'a {
    let stored = stored(dimension).map(|surrogate| identifier(&surrogate.name));
    stored.into_iter().chain(silver.columns.iter().map(|column| identifier(&column.name)))
}

/// The same with the surrogate key, however it is made.
pub(super) fn shown<'a>(silver: &'a Silver, dimension: &'a Dimension) -> impl Iterator<Item = String> + 'a {
    let made = dimension.surrogate.as_ref().and_then(|surrogate| match &surrogate.made {
        Made::Identity => None,
        Made::Hash(parts) => {
            let hash = hash(parts, identifier, &identifier(&dimension.start));
            Some(format!("{hash} AS {}", identifier(&surrogate.name)))
        }
    });
    made.into_iter().chain(names(silver, dimension))
}

/// What is said of it.
pub(in crate::emit) fn says(surrogate: &Surrogate) -> String {
    surrogate.description.clone().unwrap_or_else(|| "Tells the versions apart by itself.".to_owned())
}

pub(super) fn comments(table: &Name, dimension: &Dimension) -> Vec<String> {
    let view = &dimension.current_view;
    let shown = dimension.surrogate.iter().map(|one| comment_column(view, &one.name, &says(one)));
    let stored = stored(dimension).map(|one| comment_column(table, &one.name, &says(one)));
    stored.into_iter().chain(shown).collect()
}

/// The query of the view that shows a dimension's versions.
pub(super) fn query(shown: &Shown, time_zone: &str, binding: Binding) -> String {
    let (start, end) = (identifier(&shown.start), identifier(&shown.end));
    let columns: Vec<String> = shown
        .columns
        .iter()
        .map(|(name, of)| {
            let name = identifier(name);
            let value = match of {
                ShownColumn::Stored(column) => identifier(column),
                ShownColumn::Hash(parts) => hash(parts, identifier, &start),
                ShownColumn::Start => start.clone(),
                ShownColumn::End(CurrentEnd::Infinity) => end.clone(),
                ShownColumn::End(CurrentEnd::Null) => format!("NULLIF({end}, 'infinity'::timestamptz)"),
                ShownColumn::End(CurrentEnd::LastDay) => format!(
                    "CASE\n        WHEN {end} < 'infinity' THEN {end}\n        \
                     ELSE '9999-12-31'::timestamp AT TIME ZONE {}\n    END",
                    literal(time_zone)
                ),
                ShownColumn::IsCurrent => format!("({end} = 'infinity')"),
            };
            if value == name { name } else { format!("{value} AS {name}") }
        })
        .collect();
    format!("SELECT\n    {}\nFROM {}", columns.join(",\n    "), binding.relation(&shown.relation))
}

/// The hash of a version that is looked up, over `{row}` and `{start}`: a row's alias, and its period's start.
pub fn looked_up_hash(dimension: &Dimension) -> Option<String> {
    let Made::Hash(parts) = &dimension.surrogate.as_ref()?.made else { return None };
    Some(hash(parts, |name| format!("{{row}}.{}", identifier(name)), "{start}"))
}

/// The MD5 of the parts' text.
fn hash(parts: &[Part], column: impl Fn(&str) -> String, start: &str) -> String {
    let parts: Vec<String> = parts
        .iter()
        .map(|part| match part {
            Part::Column(name, data_type) => {
                format!("COALESCE({}, {})", text(&column(name), data_type), literal(NULL))
            }
            Part::Start => text(start, &DataType::BuiltIn(BuiltIn::TimestampTz)),
        })
        .collect();
    format!("md5({})", parts.join(&format!(" || {} || ", literal(BETWEEN))))
}

/// A value as text, whatever the session's settings are: as a session in UTC with ISO dates has it.
fn text(value: &str, of: &DataType) -> String {
    match of {
        DataType::BuiltIn(BuiltIn::Text) => value.to_owned(),
        DataType::BuiltIn(BuiltIn::Date) => format!("(to_jsonb({value}) #>> '{{}}')"),
        DataType::BuiltIn(BuiltIn::Timestamp) => format!("replace(to_jsonb({value}) #>> '{{}}', 'T', ' ')"),
        DataType::BuiltIn(BuiltIn::TimestampTz) => format!(
            "regexp_replace(replace(to_jsonb({value} AT TIME ZONE 'UTC') #>> '{{}}', 'T', ' '), \
             '^([^ ]+ [^ ]+)( BC)?$', '\\1+00\\2')"
        ),
        _ => format!("{value}::text"),
    }
}
