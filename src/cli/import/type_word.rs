//! The word by which a spec calls the type of a source's column, and what is lost on the way.

use super::source::Column;
use crate::model;

/// How a column's type is written.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// By this word, and perhaps a remark.
    Written(String, Option<String>),
    /// As an enumerated type of the spec's: its schema, its name, its labels; and whether as an array of it.
    Enum { schema: String, name: String, labels: Vec<String>, is_array: bool },
    /// Not at all, and why.
    Unwritable(String),
}

/// The word for a column's type.
pub(super) fn word(column: &Column) -> Word {
    let shown = &column.shown;
    match column.type_kind {
        'e' if !column.labels.is_empty() && column.labels.iter().all(|label| !label.is_empty()) => {
            return Word::Enum {
                schema: column.type_schema.clone(),
                name: column.data_type.clone(),
                labels: column.labels.clone(),
                is_array: column.is_array,
            };
        }
        'e' => return text(column, format!("`{shown}` has no values, or an empty one")),
        // An array of rows is one document.
        'c' => return Word::Written("jsonb".to_owned(), Some(format!("rows of `{shown}`, as JSON"))),
        _ => {}
    }
    if let Some(function) = &column.becomes_json_by {
        return match function.rsplit('.').next() {
            Some("hstore_to_json") => {
                Word::Written("jsonb".to_owned(), Some("pairs of `hstore`, as JSON".to_owned()))
            }
            _ => Word::Unwritable(format!(
                "values of `{shown}` become JSON by `{function}`, which the stream of changes cannot follow: \
                 leave the column out of the publication"
            )),
        };
    }
    if column.type_schema != "pg_catalog" {
        return match column.data_type.as_str() {
            "citext" => text(column, "`citext`: capitals count here".to_owned()),
            _ => text(column, format!("as `{shown}` writes it")),
        };
    }
    let own = match column.data_type.as_str() {
        "int2" => "smallint",
        "int4" => "integer",
        "int8" => "bigint",
        "float4" => "real",
        "float8" => "double precision",
        "bool" => "boolean",
        // Whatever its length: a spec has none for bits.
        "bit" => "varbit",
        "numeric" => shown,
        "varchar" => return plain(column, &shown.replacen("character varying", "varchar", 1)),
        "bpchar" if shown.contains('(') => return plain(column, &shown.replacen("character", "char", 1)),
        "bpchar" | "char" => return text(column, format!("as `{shown}` writes it")),
        other => other,
    };
    if model::is_type(own) { plain(column, own) } else { text(column, format!("as `{shown}` writes it")) }
}

fn plain(column: &Column, word: &str) -> Word {
    Word::Written(dimensioned(column, word), None)
}

fn text(column: &Column, remark: String) -> Word {
    Word::Written(dimensioned(column, "text"), Some(remark))
}

fn dimensioned(column: &Column, word: &str) -> String {
    format!("{word}{}", if column.is_array { "[]" } else { "" })
}
