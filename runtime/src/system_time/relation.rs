//! What has versions in a warehouse, and the SQL that reads those of a period: plain subqueries, which the
//! planner pulls up, so that every index serves.

use super::Guard;
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
    pub fn table(&self, period: &Period, guard: Guard) -> String {
        match self {
            Self::History { silver, .. } if *period == Period::All => quote::name(&silver.table),
            Self::History { silver, start, end } => {
                let versions = versions(start, end, period, guard);
                subquery(&select(&["*".to_owned()], &silver.table, &versions, period))
            }
            Self::Current { silver, start, end } => {
                let mut columns = columns(silver, quote::identifier(start));
                columns.splice(0..0, told_apart(silver, period));
                subquery(&select(&columns, &silver.table, &versions(start, end, period, guard), period))
            }
            Self::Fact { silver, snapshot, archive } => {
                let latest = quote::identifier(snapshot);
                let [start, end] = ARCHIVE;
                let earlier = format!("{} AS {latest}", quote::identifier(start));
                subquery(&format!(
                    "{}\n    UNION ALL\n    {}",
                    select(
                        &columns(silver, latest.clone()),
                        &silver.table,
                        &states(&latest, period, guard),
                        period
                    ),
                    select(&columns(silver, earlier), archive, &versions(start, end, period, guard), period),
                ))
            }
        }
    }
}

fn columns(silver: &Silver, time: String) -> Vec<String> {
    silver.columns.iter().map(|column| quote::identifier(&column.name)).chain([time]).collect()
}

/// The surrogate key as the current view shows it.
fn told_apart(silver: &Silver, period: &Period) -> Option<String> {
    let SilverKind::Dimension { start, surrogate: Some(surrogate), .. } = &silver.kind else { return None };
    let name = quote::identifier(&surrogate.name);
    let Some(hash) = &surrogate.hash else { return Some(name) };
    let row = quote::identifier(&alias(&silver.table, period));
    let start = format!("{row}.{}", quote::identifier(start));
    Some(format!("{} AS {name}", hash.replace("{row}", &row).replace("{start}", &start)))
}

/// How a subquery calls the table that it reads: by a name that the question does not use, where its times mean other
/// tables, maybe one of the same name.
fn alias(table: &Name, period: &Period) -> String {
    if period.is_of_rows() { format!("versions of {}", table.table) } else { table.table.clone() }
}

fn select(columns: &[String], table: &Name, conditions: &[String], period: &Period) -> String {
    let mut sql = match columns {
        [one] => format!("SELECT {one}"),
        many => format!("SELECT\n        {}", many.join(",\n        ")),
    };
    sql.push_str(&format!("\n    FROM {}", quote::name(table)));
    if period.is_of_rows() {
        sql.push_str(&format!(" AS {}", quote::identifier(&alias(table, period))));
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
fn versions(start: &str, end: &str, period: &Period, guard: Guard) -> Vec<String> {
    let (start, end) = (quote::identifier(start), quote::identifier(end));
    let begins = begins(&start, period, guard);
    match period {
        Period::AsOf(time) => vec![begins, format!("{end} > {}", within(time))],
        Period::From(first, second) => {
            vec![begins, format!("{end} > {}", within(first)), format!("{} < {}", first.sql, second.sql)]
        }
        Period::Between(first, second) => {
            vec![begins, format!("{end} > {}", within(first)), format!("{} <= {}", first.sql, second.sql)]
        }
        Period::Symmetric(first, second) => {
            vec![begins, format!("{end} > LEAST({}, {}, {PRESENT})", first.sql, second.sql)]
        }
        // Whichever of the two is asked first says what is not kept.
        Period::ContainedIn(first, second) => {
            vec![begins, format!("{end} <= {}", guarded(&second.sql, &first.sql, period, guard))]
        }
        Period::All => Vec::new(),
    }
}

/// Which of a fact's latest states: they last for ever.
fn states(start: &str, period: &Period, guard: Guard) -> Vec<String> {
    let begins = begins(start, period, guard);
    match period {
        Period::AsOf(_) | Period::Symmetric(..) => vec![begins],
        Period::From(first, second) => vec![begins, format!("{} < {}", first.sql, second.sql)],
        Period::Between(first, second) => vec![begins, format!("{} <= {}", first.sql, second.sql)],
        Period::ContainedIn(_, second) => {
            vec![begins, format!("'infinity'::timestamptz <= {}", second.sql)]
        }
        Period::All => Vec::new(),
    }
}

/// When versions begin; nothing where all are meant. The guard stands here and not beside it: an outer join asks
/// what depends on one side alone only where the other has a match, and an index is asked with this first.
fn begins(start: &str, period: &Period, guard: Guard) -> String {
    let (comparison, time, earliest) = match period {
        Period::AsOf(time) => ("<=", time.sql.clone(), time.sql.clone()),
        Period::From(first, second) => ("<", second.sql.clone(), first.sql.clone()),
        Period::Between(first, second) => ("<=", second.sql.clone(), first.sql.clone()),
        Period::Symmetric(first, second) => (
            "<=",
            format!("GREATEST({}, {})", first.sql, second.sql),
            format!("LEAST({}, {})", first.sql, second.sql),
        ),
        Period::ContainedIn(first, _) => (">=", first.sql.clone(), first.sql.clone()),
        Period::All => return String::new(),
    };
    format!("{start} {comparison} {}", guarded(&time, &earliest, period, guard))
}

/// A time, or an error where the earliest of the period's lies before the past that is kept.
fn guarded(time: &str, earliest: &str, period: &Period, guard: Guard) -> String {
    match guard {
        Guard::Each if period.is_of_rows() => {
            format!("CASE WHEN \"medallion\".\"since_horizon\"({earliest}) THEN {time} END")
        }
        Guard::Each | Guard::Nothing => time.to_owned(),
    }
}

/// A time, infinity meaning now: the last finite one lies within the current versions.
fn within(time: &Time) -> String {
    if time.finite { time.sql.clone() } else { format!("LEAST({}, {PRESENT})", time.sql) }
}
