//! Refreshes a mart that is a table: recomputes the units that changed rows touch, or the whole when that
//! is cheaper or when it cannot be told which are touched; then writes only the rows that differ.

use std::collections::BTreeMap;

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};

use crate::descriptor::{Mart, Name, UnitColumn};
use crate::error::Result;
use crate::quote;
use crate::staging::Staging;
use crate::statement::{self, Bound, Plan, row_text};

/// Recomputing more than this part of a mart's units costs more than recomputing the whole.
const WHOLE_IS_CHEAPER_FROM: f64 = 0.3;

/// Up to so many units are recomputed one by one: what is said of a constant goes down through all of a
/// definition's joins and windows, what is said of a column of another table does not.
const FEW: u64 = 8;

/// How much of a mart is recomputed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Extent {
    /// All of it.
    Whole,
    /// The units in the table of units.
    Many,
    /// These units.
    Few(Vec<Unit>),
}

/// A unit's values, as text, and their types.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Unit {
    values: Vec<Option<String>>,
    types: Vec<String>,
}

/// A mart that is a table.
pub struct Stored<'a> {
    pub mart: &'a Mart,
    pub number: usize,
    pub definition: &'a Name,
    pub unit: &'a [UnitColumn],
    pub staging: &'a Staging,
}

impl Stored<'_> {
    async fn fill(&self, what: &str, query: &str, connection: &mut PgConnection) -> Result<u64> {
        let table = format!("{what}_{}", self.number);
        self.staging.fill(&table, query, self.staging.plan(), &Bound::default(), connection).await
    }

    async fn execute(&self, sql: &str, connection: &mut PgConnection) -> Result<u64> {
        statement::execute_as(connection, self.staging.plan(), sql, &Bound::default()).await
    }
}

/// Refreshes it; returns how many rows went or came.
pub async fn refresh(
    stored: &Stored<'_>,
    reads: &BTreeMap<&Name, Option<&str>>,
    connection: &mut PgConnection,
) -> Result<u64> {
    let extent = match touched(stored, reads) {
        Some(sql) => {
            let units = stored.fill("unit", &sql, connection).await?;
            if units == 0 {
                return Ok(0);
            }
            if whole_is_cheaper(stored, units, connection).await? {
                Extent::Whole
            } else if units <= FEW {
                Extent::Few(units_of(stored, connection).await?)
            } else {
                Extent::Many
            }
        }
        None => Extent::Whole,
    };
    let partly = extent != Extent::Whole;
    let fresh = recompute(stored, &extent, connection).await?;
    statement::analyze(connection, &fresh_table(stored), fresh).await?;
    let gone = stored.execute(&delete(stored, partly), connection).await?;
    let came = stored.execute(&insert(stored, partly), connection).await?;
    statement::analyze(connection, &quote::name(&stored.mart.table), came).await?;
    Ok(gone + came)
}

/// The units that the changed rows touch, before and after; none when some changed relation's rows do
/// not tell.
fn touched(stored: &Stored<'_>, reads: &BTreeMap<&Name, Option<&str>>) -> Option<String> {
    if stored.unit.is_empty() {
        return None;
    }
    let mut queries = Vec::new();
    for (relation, changes) in reads {
        let changes = (*changes)?;
        let mut values = Vec::new();
        for column in stored.unit {
            let (_, value) = column.of.iter().find(|(name, _)| name == *relation)?;
            values.push(format!("{value} AS {}", quote::identifier(&column.column)));
        }
        queries.push(format!("SELECT {}\nFROM {changes}", values.join(", ")));
    }
    // A single query of a UNION would keep its doubles.
    Some(if queries.len() == 1 {
        queries.remove(0).replacen("SELECT", "SELECT DISTINCT", 1)
    } else {
        queries.join("\nUNION\n")
    })
}

async fn whole_is_cheaper(stored: &Stored<'_>, units: u64, connection: &mut PgConnection) -> Result<bool> {
    let columns = quote::list("", stored.unit.iter().map(|column| &column.column));
    let sql = format!(
        "SELECT count(*) FROM (SELECT DISTINCT {columns} FROM {}) AS unit",
        quote::name(&stored.mart.table)
    );
    let all = statement::scalar_as(connection, stored.staging.plan(), &sql, &Bound::default()).await?;
    #[expect(clippy::cast_precision_loss, reason = "a ratio of counts needs no more")]
    let part = units as f64 / all.max(1) as f64;
    Ok(part > WHOLE_IS_CHEAPER_FROM)
}

async fn units_of(stored: &Stored<'_>, connection: &mut PgConnection) -> Result<Vec<Unit>> {
    let columns: Vec<String> = stored.unit.iter().map(|column| quote::identifier(&column.column)).collect();
    let values: Vec<String> = columns.iter().map(|name| format!("{name}::text")).collect();
    let types: Vec<String> = columns.iter().map(|name| format!("pg_typeof({name})::text")).collect();
    let sql = format!("SELECT {}, {} FROM {}", values.join(", "), types.join(", "), unit_table(stored));
    let rows = statement::rows_as(connection, stored.staging.plan(), &sql, &Bound::default()).await?;
    let width = columns.len();
    let unit = |row: &PgRow| Unit {
        values: (0..width).map(|at| row.get(at)).collect(),
        types: (width..2 * width).map(|at| row.get(at)).collect(),
    };
    Ok(rows.iter().map(unit).collect())
}

/// Stages `fresh_<n>`: the rows as they shall be; returns how many.
async fn recompute(stored: &Stored<'_>, extent: &Extent, connection: &mut PgConnection) -> Result<u64> {
    let all = format!(
        "SELECT {}\nFROM {} AS fresh",
        quote::list("fresh.", &stored.mart.columns),
        quote::name(stored.definition)
    );
    match extent {
        Extent::Whole => stored.fill("fresh", &all, connection).await,
        Extent::Many => stored.fill("fresh", &of_many(stored), connection).await,
        Extent::Few(units) => {
            let mut rows = stored.fill("fresh", &format!("{all}\nWHERE false"), connection).await?;
            for unit in units {
                rows += of_one(stored, &all, unit, connection).await?;
            }
            Ok(rows)
        }
    }
}

/// Adds the rows of one unit.
async fn of_one(stored: &Stored<'_>, all: &str, unit: &Unit, connection: &mut PgConnection) -> Result<u64> {
    let plan = stored.staging.plan();
    let conditions: Vec<String> = (1..)
        .zip(stored.unit)
        .zip(unit.values.iter().zip(&unit.types))
        .map(|((number, column), (value, of_type))| {
            let name = format!("fresh.{}", quote::identifier(&column.column));
            match (value, plan) {
                (None, _) => format!("{name} IS NULL"),
                (Some(_), Plan::Kept) => format!("{name} = ${number}::{of_type}"),
                (Some(value), Plan::Anew) => format!("{name} = {}::{of_type}", quote::literal(value)),
            }
        })
        .collect();
    let sql = format!("INSERT INTO {}\n{all}\nWHERE {}", fresh_table(stored), conditions.join(" AND "));
    statement::execute_with(connection, plan, &sql, &unit.values).await
}

/// The rows of many units. Those without NULL are looked up by equality, which goes down into the definition's
/// grouping and can use an index; those with NULL apart.
fn of_many(stored: &Stored<'_>) -> String {
    let columns = quote::list("fresh.", &stored.mart.columns);
    let definition = quote::name(stored.definition);
    let unit: Vec<&String> = stored.unit.iter().map(|column| &column.column).collect();
    let is_null = is_null("unit.", &unit);
    let branch = |which: String, matches: String| {
        format!(
            "SELECT {columns}\nFROM {units} AS unit\nCROSS JOIN LATERAL (\nSELECT *\nFROM {definition} AS fresh\n\
             WHERE {matches}\n) AS fresh\nWHERE {which}",
            units = unit_table(stored),
        )
    };
    format!(
        "{}\nUNION ALL\n{}",
        branch(format!("NOT ({is_null})"), statement::equal("fresh.", "unit.", &unit, &unit)),
        branch(format!("({is_null})"), not_distinct("fresh.", "unit.", &unit)),
    )
}

fn delete(stored: &Stored<'_>, partly: bool) -> String {
    format!(
        "DELETE FROM {mart} AS stored\nWHERE NOT EXISTS (\nSELECT FROM {fresh} AS fresh\nWHERE {theirs} = {mine}\n){scope}",
        mart = quote::name(&stored.mart.table),
        fresh = fresh_table(stored),
        theirs = row_text("fresh.", &stored.mart.columns),
        mine = row_text("stored.", &stored.mart.columns),
        scope = scope(stored, partly),
    )
}

fn insert(stored: &Stored<'_>, partly: bool) -> String {
    let columns = quote::list("", &stored.mart.columns);
    format!(
        "INSERT INTO {mart} ({columns})\nSELECT {columns}\nFROM {fresh} AS fresh\nWHERE NOT EXISTS (\n\
         SELECT FROM {mart} AS stored\nWHERE {mine} = {theirs}{scope}\n)",
        mart = quote::name(&stored.mart.table),
        fresh = fresh_table(stored),
        mine = row_text("stored.", &stored.mart.columns),
        theirs = row_text("fresh.", &stored.mart.columns),
        scope = scope(stored, partly),
    )
}

/// Keeps a statement over the stored rows to the touched units: by the types' own equality (1.0 is 1.00),
/// which can be hashed where there is no NULL.
fn scope(stored: &Stored<'_>, partly: bool) -> String {
    if !partly {
        return String::new();
    }
    let unit: Vec<&String> = stored.unit.iter().map(|column| &column.column).collect();
    format!(
        "\nAND (\n({mine}) IN (SELECT {theirs} FROM {units} AS unit)\n\
         OR (({is_null}) AND EXISTS (SELECT FROM {units} AS unit WHERE {same}))\n)",
        mine = quote::list("stored.", &unit),
        theirs = quote::list("unit.", &unit),
        units = unit_table(stored),
        is_null = is_null("stored.", &unit),
        same = not_distinct("stored.", "unit.", &unit),
    )
}

/// Whether one of the columns is NULL.
fn is_null(prefix: &str, columns: &[&String]) -> String {
    let parts: Vec<String> =
        columns.iter().map(|column| format!("{prefix}{} IS NULL", quote::identifier(column))).collect();
    parts.join(" OR ")
}

/// Whether the columns are the same on both sides, NULL equal to NULL.
fn not_distinct(left: &str, right: &str, columns: &[&String]) -> String {
    let parts: Vec<String> = columns
        .iter()
        .map(|column| {
            let name = quote::identifier(column);
            format!("{left}{name} IS NOT DISTINCT FROM {right}{name}")
        })
        .collect();
    parts.join(" AND ")
}

fn unit_table(stored: &Stored<'_>) -> String {
    format!("pg_temp.unit_{}", stored.number)
}

fn fresh_table(stored: &Stored<'_>) -> String {
    format!("pg_temp.fresh_{}", stored.number)
}
