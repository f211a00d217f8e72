//! Columns that are computed of their relation's other columns: once all that a row looks up is filled in, of each of its
//! states. The same wherever it is asked: when changes are applied, repaired, rebuilt or verified.

use super::Step;
use crate::descriptor::ColumnFrom;
use crate::quote;

/// States with those columns computed, as a source: each once, whoever reads it how often. What stands already stands as
/// it was computed.
pub fn rows(step: &Step<'_>, states: &str) -> String {
    let columns: Vec<String> = step
        .silver
        .columns
        .iter()
        .map(|column| {
            let name = quote::identifier(&column.name);
            match &column.from {
                ColumnFrom::Composed { sql, .. } => format!(
                    "CASE WHEN m$base THEN {name} WHEN m$present THEN CAST({sql} AS {}) END AS {name}",
                    column.sql_type
                ),
                _ => name,
            }
        })
        .collect();
    format!(
        "(\nSELECT {}, m$present, m$base, m$repair, m$hash, m$since\nFROM {states}\nOFFSET 0\n) AS composed",
        columns.join(",\n"),
    )
}
