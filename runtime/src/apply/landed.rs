//! What landed rows say, as SQL: fields read as their columns' types, and what is computed of them. The same wherever
//! it is asked: when changes are applied, repaired, rebuilt or verified.

use super::{Step, misfit};
use crate::descriptor::{Change, Column, ColumnFrom, Input, Name};
use crate::quote;

/// The changes of single rows: when, whether the row is there afterwards, and the columns that are fields.
pub fn single(step: &Step<'_>, condition: &str) -> String {
    landed(step, step.silver.columns.iter(), condition)
}

/// The keys of such changes.
pub fn single_keys(step: &Step<'_>, condition: &str) -> String {
    let silver = step.silver;
    landed(step, silver.columns.iter().filter(|column| silver.key.contains(&column.name)), condition)
}

fn landed<'s>(step: &Step<'s>, columns: impl Iterator<Item = &'s Column>, condition: &str) -> String {
    let mut records = Records::default();
    let mut computed: Vec<String> = Vec::new();
    let mut inputs: Vec<&Input> = Vec::new();
    let mut select = String::new();
    for column in columns {
        let name = quote::identifier(&column.name);
        let value = match &column.from {
            ColumnFrom::Lookup { .. } | ColumnFrom::LookedUpHash { .. } | ColumnFrom::Composed { .. } => {
                select += &format!(",\nNULL::{} AS {name}", column.sql_type);
                continue;
            }
            ColumnFrom::Field(field) => called_now(column, records.value(field, said_as(column))),
            ColumnFrom::Change(change) => told(*change, column, &step.silver.feed),
            ColumnFrom::Computed { inputs: own, sql } => {
                // Of a row that went, only the key counts.
                let value = format!("CASE WHEN change.op <> 'D' THEN CAST({sql} AS {}) END", column.sql_type);
                computed.push(format!("{value} AS {name}"));
                for input in own {
                    if inputs.iter().all(|known| known.name != input.name) {
                        inputs.push(input);
                    }
                }
                format!("computed.{name}")
            }
        };
        select += &match step.since.get(&column.name) {
            // It came later, and did not take its past along.
            Some(since) => format!(",\nCASE WHEN change.lsn > {since} THEN {value} END AS {name}"),
            None => format!(",\n{value} AS {name}"),
        };
    }
    let given: Vec<String> = inputs
        .iter()
        .map(|input| {
            let value = records.value(&input.field, &input.sql_type);
            format!("{value} AS {}", quote::identifier(&input.name))
        })
        .collect();
    let is_computed = step.silver.is_computed();
    let mut from = records.from(if is_computed { "change.m$row" } else { "change.full_row" });
    if !computed.is_empty() {
        from += &format!(
            "\nCROSS JOIN LATERAL (\nSELECT {}\nFROM (SELECT {}) AS given\n) AS computed",
            computed.join(",\n"),
            given.join(", ")
        );
    }
    let feed = quote::name(&step.silver.feed);
    let (source, filter) = match is_computed {
        false => (feed, format!("\nWHERE {condition} AND change.op <> 'T'")),
        true => (misfit::fitting(step.silver, condition), String::new()),
    };
    format!(
        "SELECT change.lsn AS m$lsn, change.seq AS m$seq, change.commit_ts AS m$time, false AS m$given,\n\
         change.op <> 'D' AS m$present{select}\nFROM {source} AS change{from}{filter}",
    )
}

/// Records that landed rows are read as. One names a field once; a value that takes a field that is read as another
/// type already reads a record of its own.
#[derive(Default)]
pub struct Records<'s>(Vec<Vec<(&'s str, &'s str)>>);

impl<'s> Records<'s> {
    /// A field's value, read as a type.
    pub fn value(&mut self, field: &'s str, sql_type: &'s str) -> String {
        let serves =
            |record: &Vec<(&str, &str)>| record.iter().all(|(taken, of)| *taken != field || *of == sql_type);
        let number = self.0.iter().position(serves).unwrap_or_else(|| {
            self.0.push(Vec::new());
            self.0.len() - 1
        });
        if !self.0[number].contains(&(field, sql_type)) {
            self.0[number].push((field, sql_type));
        }
        format!("landed_{number}.{}", quote::identifier(field))
    }

    /// The records of a row, each joined to it.
    pub fn from(&self, row: &str) -> String {
        let joined = self.0.iter().enumerate().map(|(number, record)| {
            let definitions: Vec<String> =
                record.iter().map(|(field, of)| format!("{} {of}", quote::identifier(field))).collect();
            format!(
                "\nCROSS JOIN LATERAL jsonb_to_record({row}) AS landed_{number} ({})",
                definitions.join(", ")
            )
        });
        joined.collect()
    }
}

/// What a column tells of the change. All that lands in one transaction has the same time: by it, to the microsecond,
/// the batch is known.
fn told(change: Change, column: &Column, feed: &Name) -> String {
    const LANDED_WITH: &str = "to_char(change.load_ts AT TIME ZONE 'UTC', 'YYYYMMDD\"T\"HH24MISS.US\"Z\"')";
    let value = match change {
        Change::Operation => {
            "(CASE change.op WHEN 'I' THEN 'INSERT' WHEN 'U' THEN 'UPDATE' ELSE 'DELETE' END)".to_owned()
        }
        Change::Letter => "change.op".to_owned(),
        Change::Time => "change.commit_ts".to_owned(),
        Change::Position => "change.lsn".to_owned(),
        Change::Landed => "change.load_ts".to_owned(),
        Change::Batch => LANDED_WITH.to_owned(),
        // Each of these files lands at a position of its own. What landed by another way says nothing.
        Change::BatchId => format!(
            "coalesce((SELECT max(file.batch_id) FROM medallion.landed_file AS file \
             WHERE file.landing = {} AND file.first_lsn = change.lsn), {LANDED_WITH})",
            quote::literal(&feed.to_string())
        ),
    };
    format!("{value}::{}", column.sql_type)
}

/// The type that a landed value is read as: one that may be called otherwise by now, as its text.
pub fn said_as(column: &Column) -> &str {
    match (column.renamed.is_empty(), column.sql_type.ends_with("[]")) {
        (true, _) => &column.sql_type,
        (false, true) => "text[]",
        (false, false) => "text",
    }
}

/// A landed value by the name that it has now.
pub fn called_now(column: &Column, value: String) -> String {
    if column.renamed.is_empty() {
        return value;
    }
    let renamed = column.renamed.iter().map(|(before, now)| (quote::literal(before), quote::literal(now)));
    let text = if column.sql_type.ends_with("[]") {
        renamed.fold(value, |text, (before, now)| format!("array_replace({text}, {before}, {now})"))
    } else {
        let cases: String = renamed.map(|(before, now)| format!(" WHEN {before} THEN {now}")).collect();
        format!("(CASE {value}{cases} ELSE {value} END)")
    };
    format!("{text}::{}", column.sql_type)
}
