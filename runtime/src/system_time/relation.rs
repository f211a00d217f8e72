//! What has versions in a warehouse, and the SQL that reads those of a period: plain subqueries, which the
//! planner pulls up, so that every index serves.

use super::clause::{Period, Time};
use crate::descriptor::{Name, Silver, SilverKind, Warehouse};
use crate::quote;

/// The last finite time: whatever is current lasts beyond it.
const PRESENT: &str = "'294276-12-31 23:59:59.999999+00'::timestamptz";

/// The period's columns of a fact's archive.
const ARCHIVE: [&str; 2] = ["sys_start", "sys_end"];

/// A relation with versions, under one of its names.
pub(super) enum Versioned<'a> {
    /// A dimension's or a lookup's history.
    History { silver: &'a Silver, start: &'a str, end: &'a str },
    /// The view of its current versions.
    Current { silver: &'a Silver, start: &'a str, end: &'a str },
    /// A fact.
    Fact { silver: &'a Silver, snapshot: &'a str, archive: &'a Name },
}

/// All relations with versions, by name.
pub(super) fn versioned(warehouse: &Warehouse) -> Vec<(&Name, Versioned<'_>)> {
    warehouse.silver.iter().flat_map(names).collect()
}

fn names(silver: &Silver) -> Vec<(&Name, Versioned<'_>)> {
    match &silver.kind {
        SilverKind::Dimension { current, start, end, .. } => vec![
            (&silver.table, Versioned::History { silver, start, end }),
            (current, Versioned::Current { silver, start, end }),
        ],
        SilverKind::Fact { snapshot, archive, .. } => {
            vec![(&silver.table, Versioned::Fact { silver, snapshot, archive })]
        }
    }
}

impl Versioned<'_> {
    /// What FROM reads in place of the relation and its clause.
    pub fn table(&self, period: &Period) -> String {
        match self {
            Self::History { silver, .. } if *period == Period::All => quote::name(&silver.table),
            Self::History { silver, start, end } => {
                subquery(&select(&["*".to_owned()], &silver.table, &versions(start, end, period), period))
            }
            Self::Current { silver, start, end } => {
                let columns = columns(silver, quote::identifier(start));
                subquery(&select(&columns, &silver.table, &versions(start, end, period), period))
            }
            Self::Fact { silver, snapshot, archive } => {
                let latest = quote::identifier(snapshot);
                let [start, end] = ARCHIVE;
                let earlier = format!("{} AS {latest}", quote::identifier(start));
                subquery(&format!(
                    "{}\n    UNION ALL\n    {}",
                    select(&columns(silver, latest.clone()), &silver.table, &states(&latest, period), period),
                    select(&columns(silver, earlier), archive, &versions(start, end, period), period),
                ))
            }
        }
    }
}

fn columns(silver: &Silver, time: String) -> Vec<String> {
    silver.columns.iter().map(|column| quote::identifier(&column.name)).chain([time]).collect()
}

fn select(columns: &[String], table: &Name, conditions: &[String], period: &Period) -> String {
    let mut sql = match columns {
        [one] => format!("SELECT {one}"),
        many => format!("SELECT\n        {}", many.join(",\n        ")),
    };
    sql.push_str(&format!("\n    FROM {}", quote::name(table)));
    if period.is_of_rows() {
        // A name that the question does not use: its times mean other tables, maybe one of the same name.
        let name = quote::identifier(&format!("versions of {}", table.table));
        sql.push_str(&format!(" AS {name}"));
    }
    for (index, condition) in conditions.iter().enumerate() {
        let word = if index == 0 { "WHERE" } else { "AND" };
        sql.push_str(&format!("\n    {word} {condition}"));
    }
    sql
}

fn subquery(select: &str) -> String {
    format!("(\n    {select}\n)")
}

/// Which versions, by the columns of their period.
fn versions(start: &str, end: &str, period: &Period) -> Vec<String> {
    let (start, end) = (quote::identifier(start), quote::identifier(end));
    match period {
        Period::AsOf(time) => vec![format!("{start} <= {}", time.sql), format!("{end} > {}", within(time))],
        Period::From(first, second) => vec![
            format!("{start} < {}", second.sql),
            format!("{end} > {}", within(first)),
            format!("{} < {}", first.sql, second.sql),
        ],
        Period::Between(first, second) => vec![
            format!("{start} <= {}", second.sql),
            format!("{end} > {}", within(first)),
            format!("{} <= {}", first.sql, second.sql),
        ],
        Period::Symmetric(first, second) => vec![
            format!("{start} <= GREATEST({}, {})", first.sql, second.sql),
            format!("{end} > LEAST({}, {}, {PRESENT})", first.sql, second.sql),
        ],
        Period::ContainedIn(first, second) => {
            vec![format!("{start} >= {}", first.sql), format!("{end} <= {}", second.sql)]
        }
        Period::All => Vec::new(),
    }
}

/// Which of a fact's latest states: they last for ever.
fn states(start: &str, period: &Period) -> Vec<String> {
    match period {
        Period::AsOf(time) => vec![format!("{start} <= {}", time.sql)],
        Period::From(first, second) => {
            vec![format!("{start} < {}", second.sql), format!("{} < {}", first.sql, second.sql)]
        }
        Period::Between(first, second) => {
            vec![format!("{start} <= {}", second.sql), format!("{} <= {}", first.sql, second.sql)]
        }
        Period::Symmetric(first, second) => {
            vec![format!("{start} <= GREATEST({}, {})", first.sql, second.sql)]
        }
        Period::ContainedIn(first, second) => {
            vec![format!("{start} >= {}", first.sql), format!("'infinity'::timestamptz <= {}", second.sql)]
        }
        Period::All => Vec::new(),
    }
}

/// A time, infinity meaning now: the last finite one lies within the current versions.
fn within(time: &Time) -> String {
    if time.finite { time.sql.clone() } else { format!("LEAST({}, {PRESENT})", time.sql) }
}
