//! Refreshes a mart that is a table: recomputes the units that changed rows touch, or the whole when that
//! is cheaper or when it cannot be told which are touched; then writes only the rows that differ.

use std::collections::BTreeMap;

use sqlx::{PgConnection, Row as _};

use super::Reads;
use crate::descriptor::{Mart, Name, Refresh, Storage, UnitColumn};
use crate::error::Result;
use crate::quote;
use crate::staging::Staging;
use crate::statement::{self, Bound, Plan, Text, row_text};

/// Recomputing more than so many in a hundred of a mart's units costs more than recomputing the whole.
const WHOLE_IS_CHEAPER_FROM: u64 = 30;

/// Up to so many units are looked at one by one.
const NAMED: u64 = 1_000;

/// Up to so many parts are recomputed one after the other: what is said of a constant goes down through all of a
/// definition's joins and windows, what is said of a column of another table does not, nor does a list of constants
/// through an outer join.
const FEW: usize = 8;

/// How much of a mart is recomputed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All of it.
    Whole,
    /// The units in the table of units.
    Many,
    /// The units in the table of units, part by part.
    Few(Vec<Part>),
}

/// Units that differ in one column at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// What each column is.
    values: Vec<Text>,
    /// Each column's type.
    types: Vec<String>,
}

/// A mart that is a table, and what is recomputed of it.
pub struct Stored<'a> {
    pub mart: &'a Mart,
    pub number: usize,
    /// The view that it is recomputed from.
    pub view: &'a Name,
    /// The columns of that view.
    pub columns: &'a [String],
    /// Those that tell one unit from another.
    pub unit: Vec<&'a String>,
    /// Whether an index finds the rows of a unit, so that many are looked up one by one.
    pub indexed: bool,
    pub staging: &'a Staging,
}

impl Stored<'_> {
    /// Fills a table of this mart's own with a query's rows; returns how many.
    pub async fn fill(&self, what: &str, query: &str, connection: &mut PgConnection) -> Result<u64> {
        let table = format!("{what}_{}", self.number);
        self.staging.fill(&table, query, self.staging.plan(), &Bound::default(), connection).await
    }

    /// The name of such a table.
    pub fn table(&self, what: &str) -> String {
        format!("pg_temp.{what}_{}", self.number)
    }

    /// Executes a statement of its refresh.
    pub async fn execute(&self, sql: &str, connection: &mut PgConnection) -> Result<u64> {
        statement::execute_as(connection, self.staging.plan(), sql, &Bound::default()).await
    }
}

/// Refreshes it by its units; returns how many rows went or came.
pub async fn refresh(
    stored: &Stored<'_>,
    unit: &[UnitColumn],
    reads: &Reads<'_>,
    connection: &mut PgConnection,
) -> Result<u64> {
    let extent = match touched(unit, reads) {
        Some(sql) => {
            let units = stored.fill("unit", &sql, connection).await?;
            if units == 0 {
                return Ok(0);
            }
            extent(stored, units, connection).await?
        }
        None => Extent::Whole,
    };
    let fresh = recompute(stored, &extent, "fresh", connection).await?;
    let scope = match extent {
        Extent::Whole => None,
        Extent::Few(_) | Extent::Many => Some(Scope { table: "unit", columns: stored.unit.clone() }),
    };
    replace(stored, fresh, scope.as_ref(), connection).await
}

/// How much is recomputed where so many units are touched.
pub async fn extent(stored: &Stored<'_>, units: u64, connection: &mut PgConnection) -> Result<Extent> {
    if whole_is_cheaper(stored, units, connection).await? {
        return Ok(Extent::Whole);
    }
    if units > NAMED {
        return Ok(Extent::Many);
    }
    let parts = parts(stored, connection).await?;
    Ok(if parts.len() <= FEW { Extent::Few(parts) } else { Extent::Many })
}

/// The rows of a stored mart that are looked at: those that agree with a table in some columns.
pub struct Scope<'a> {
    pub table: &'static str,
    pub columns: Vec<&'a String>,
}

/// Puts what is in `fresh_<n>` in the place of what stands within the scope, all of it without one; writes only the
/// rows that differ. Returns how many went or came.
pub async fn replace(
    stored: &Stored<'_>,
    fresh: u64,
    scope: Option<&Scope<'_>>,
    connection: &mut PgConnection,
) -> Result<u64> {
    statement::analyze(connection, &stored.table("fresh"), fresh).await?;
    let gone = stored.execute(&delete(stored, scope), connection).await?;
    let came = stored.execute(&insert(stored, scope), connection).await?;
    statement::analyze(connection, &quote::name(&stored.mart.table), came).await?;
    Ok(gone + came)
}

/// The units that the changed rows touch, before and after; none when some changed relation's rows do
/// not tell.
fn touched(unit: &[UnitColumn], reads: &Reads<'_>) -> Option<String> {
    if unit.is_empty() {
        return None;
    }
    let mut queries = Vec::new();
    for (relation, changes) in reads {
        let changes = changes.rows?;
        let mut values = Vec::new();
        for column in unit {
            let (_, value) = column.of.iter().find(|(name, _)| name == *relation)?;
            values.push(format!("{value} AS {}", quote::identifier(&column.column)));
        }
        queries.push(format!("SELECT {}\nFROM {changes}", values.join(", ")));
    }
    Some(distinct(queries))
}

/// The rows of all queries, each of them once.
pub fn distinct(mut queries: Vec<String>) -> String {
    // A single query of a UNION would keep its doubles.
    if queries.len() == 1 {
        queries.remove(0).replacen("SELECT", "SELECT DISTINCT", 1)
    } else {
        queries.join("\nUNION\n")
    }
}

/// Looks at no more of the mart than tells.
async fn whole_is_cheaper(stored: &Stored<'_>, units: u64, connection: &mut PgConnection) -> Result<bool> {
    let enough = units.saturating_mul(100) / WHOLE_IS_CHEAPER_FROM + 1;
    let sql = format!(
        "SELECT count(*) FROM (SELECT{} {} FROM {} LIMIT $1) AS unit",
        // Of the whole grain each row is one.
        if stored.unit.len() == stored.mart.grain.len() { "" } else { " DISTINCT" },
        quote::list("", &stored.unit),
        quote::name(&stored.mart.table)
    );
    let enough = i64::try_from(enough).unwrap_or(i64::MAX);
    let bound = Bound { positions: [enough, 0], ..Bound::default() };
    let known = statement::scalar_as(connection, stored.staging.plan(), &sql, &bound).await?;
    Ok(known < enough)
}

/// The units, in parts.
async fn parts(stored: &Stored<'_>, connection: &mut PgConnection) -> Result<Vec<Part>> {
    let columns: Vec<String> = stored.unit.iter().map(|column| quote::identifier(column)).collect();
    let values: Vec<String> = columns.iter().map(|name| format!("{name}::text")).collect();
    let types: Vec<String> =
        columns.iter().map(|name| format!("format_type(pg_typeof({name}), -1)")).collect();
    let sql = format!("SELECT {}, {} FROM {}", values.join(", "), types.join(", "), stored.table("unit"));
    let rows = statement::rows_as(connection, stored.staging.plan(), &sql, &Bound::default()).await?;
    let width = columns.len();
    let types: Vec<String> =
        rows.first().map(|row| (width..2 * width).map(|at| row.get(at)).collect()).unwrap_or_default();
    let units: Vec<Vec<Option<String>>> =
        rows.iter().map(|row| (0..width).map(|at| row.get(at)).collect()).collect();
    // A declared mart is grouped by what tells its units, right where it reads its relations.
    let is_grouped = matches!(&stored.mart.storage, Storage::Incremental { refresh: Refresh::Groups(_), .. });
    // Arrays are no elements of one.
    let spreads = (0..width).filter(|spread| !types[*spread].ends_with("[]"));
    let one_by_one = || units.iter().map(|unit| unit.iter().cloned().map(Text::One).collect()).collect();
    let fewest = spreads.map(|spread| along(&units, spread)).min_by_key(Vec::len);
    Ok(fewest
        .filter(|_| is_grouped || units.len() > FEW)
        .unwrap_or_else(one_by_one)
        .into_iter()
        .map(|values| Part { values, types: types.clone() })
        .collect())
}

/// Units put together where they differ in one column only. NULL is apart, for nothing equals it.
fn along(units: &[Vec<Option<String>>], spread: usize) -> Vec<Vec<Text>> {
    let mut parts: BTreeMap<Vec<Option<String>>, Vec<String>> = BTreeMap::new();
    let mut apart = Vec::new();
    for unit in units {
        let mut rest = unit.clone();
        match rest[spread].take() {
            Some(value) => parts.entry(rest).or_default().push(value),
            None => apart.push(unit.iter().cloned().map(Text::One).collect()),
        }
    }
    let parts = parts.into_iter().map(|(rest, mut values)| {
        let mut part: Vec<Text> = rest.into_iter().map(Text::One).collect();
        part[spread] = if values.len() == 1 { Text::One(values.pop()) } else { Text::Many(values) };
        part
    });
    parts.chain(apart).collect()
}

/// Stages `fresh_<n>`, or what it is called: the rows as they shall be; returns how many.
pub async fn recompute(
    stored: &Stored<'_>,
    extent: &Extent,
    what: &str,
    connection: &mut PgConnection,
) -> Result<u64> {
    let all = format!(
        "SELECT {}\nFROM {} AS fresh",
        quote::list("fresh.", stored.columns),
        quote::name(stored.view)
    );
    match extent {
        Extent::Whole => stored.fill(what, &all, connection).await,
        Extent::Many => stored.fill(what, &of_many(stored), connection).await,
        Extent::Few(parts) => {
            let mut rows = stored.fill(what, &format!("{all}\nWHERE false"), connection).await?;
            for part in parts {
                rows += of_part(stored, &all, what, part, connection).await?;
            }
            Ok(rows)
        }
    }
}

/// Adds the rows of one part.
async fn of_part(
    stored: &Stored<'_>,
    all: &str,
    what: &str,
    part: &Part,
    connection: &mut PgConnection,
) -> Result<u64> {
    let plan = stored.staging.plan();
    let conditions: Vec<String> = (1..)
        .zip(&stored.unit)
        .zip(part.values.iter().zip(&part.types))
        .map(|((number, column), (value, of_type))| {
            let name = format!("fresh.{}", quote::identifier(column));
            match (value, plan) {
                (Text::One(None), _) => format!("{name} IS NULL"),
                (Text::One(Some(_)), Plan::Kept) => format!("{name} = ${number}::{of_type}"),
                (Text::One(Some(value)), Plan::Anew) => {
                    format!("{name} = {}::{of_type}", quote::literal(value))
                }
                (Text::Many(_), Plan::Kept) => format!("{name} = ANY (${number}::{of_type}[])"),
                (Text::Many(values), Plan::Anew) => {
                    let values: Vec<String> = values.iter().map(|value| quote::literal(value)).collect();
                    format!("{name} = ANY (ARRAY[{}]::{of_type}[])", values.join(", "))
                }
            }
        })
        .collect();
    let sql = format!("INSERT INTO {}\n{all}\nWHERE {}", stored.table(what), conditions.join(" AND "));
    statement::execute_with(connection, plan, &sql, &part.values).await
}

/// The rows of many units. Those without NULL are found by equality; where an index finds the rows of each, one by one:
/// what would be joined to all groups is kept apart, so that it goes down into the grouping instead. Those with NULL are
/// looked for only if there are some.
fn of_many(stored: &Stored<'_>) -> String {
    let columns = quote::list("fresh.", stored.columns);
    let definition = quote::name(stored.view);
    let unit = &stored.unit;
    let is_null = is_null("unit.", unit);
    let branch = |which: String, matches: String, apart: &str| {
        format!(
            "SELECT {columns}\nFROM {units} AS unit\nCROSS JOIN LATERAL (\nSELECT *\nFROM {definition} AS fresh\n\
             WHERE {matches}{apart}\n) AS fresh\nWHERE {which}",
            units = stored.table("unit"),
        )
    };
    let apart = if stored.indexed { "\nOFFSET 0" } else { "" };
    let some = format!("(SELECT count(*) FROM {} AS unit WHERE {is_null}) > 0", stored.table("unit"));
    format!(
        "{}\nUNION ALL\n{}",
        branch(format!("NOT ({is_null})"), statement::equal("fresh.", "unit.", unit, unit), apart),
        branch(format!("({is_null}) AND {some}"), not_distinct("fresh.", "unit.", unit), ""),
    )
}

fn delete(stored: &Stored<'_>, scope: Option<&Scope<'_>>) -> String {
    let mart = quote::name(&stored.mart.table);
    let fresh = stored.table("fresh");
    let theirs = row_text("fresh.", &stored.mart.columns);
    let mine = row_text("stored.", &stored.mart.columns);
    let Some(scope) = scope else {
        return format!(
            "DELETE FROM {mart} AS stored\nWHERE NOT EXISTS (\nSELECT FROM {fresh} AS fresh\nWHERE {theirs} = {mine}\n)"
        );
    };
    let rows = standing(stored, scope, &format!("stored.ctid AS \"m$place\", {mine} AS \"m$text\""), "");
    format!(
        "DELETE FROM {mart}\nWHERE ctid IN (\nSELECT stands.\"m$place\"\nFROM (\n{rows}\n) AS stands\n\
         WHERE NOT EXISTS (\nSELECT FROM {fresh} AS fresh\nWHERE {theirs} = stands.\"m$text\"\n)\n)"
    )
}

fn insert(stored: &Stored<'_>, scope: Option<&Scope<'_>>) -> String {
    let columns = quote::list("", &stored.mart.columns);
    let mart = quote::name(&stored.mart.table);
    let mine = format!("{} AS \"m$text\"", row_text("stored.", &stored.mart.columns));
    let rows = match scope {
        Some(scope) => standing(stored, scope, &mine, ""),
        None => format!("SELECT {mine}\nFROM {mart} AS stored"),
    };
    format!(
        "INSERT INTO {mart} ({columns})\nSELECT {columns}\nFROM {fresh} AS fresh\nWHERE NOT EXISTS (\n\
         SELECT\nFROM (\n{rows}\n) AS stands\nWHERE stands.\"m$text\" = {theirs}\n)",
        fresh = stored.table("fresh"),
        theirs = row_text("fresh.", &stored.mart.columns),
    )
}

/// The stored rows of a scope, found from it, so that the others are not looked at: by the types' own equality
/// (1.0 is 1.00), which an index serves; those with NULL only where the scope has some.
pub fn standing(stored: &Stored<'_>, scope: &Scope<'_>, what: &str, and: &str) -> String {
    let units = stored.table(scope.table);
    let is_null = is_null("unit.", &scope.columns);
    let branch = |which: String, same: String| {
        format!(
            "SELECT {what}\nFROM {units} AS unit\nJOIN {mart} AS stored ON {same}\nWHERE {which}{and}",
            mart = quote::name(&stored.mart.table),
        )
    };
    let some = format!("(SELECT count(*) FROM {units} AS unit WHERE {is_null}) > 0");
    format!(
        "{}\nUNION ALL\n{}",
        branch(
            format!("NOT ({is_null})"),
            statement::equal("stored.", "unit.", &scope.columns, &scope.columns)
        ),
        branch(format!("({is_null}) AND {some}"), not_distinct("stored.", "unit.", &scope.columns)),
    )
}

/// Whether a stored row is of a scope.
pub fn within(stored: &Stored<'_>, scope: &Scope<'_>) -> String {
    format!(
        "(\n({mine}) IN (SELECT {theirs} FROM {units} AS unit)\n\
         OR (({is_null}) AND EXISTS (SELECT FROM {units} AS unit WHERE {same}))\n)",
        mine = quote::list("stored.", &scope.columns),
        theirs = quote::list("unit.", &scope.columns),
        units = stored.table(scope.table),
        is_null = is_null("stored.", &scope.columns),
        same = not_distinct("stored.", "unit.", &scope.columns),
    )
}

/// Whether one of the columns is NULL.
pub fn is_null(prefix: &str, columns: &[&String]) -> String {
    let parts: Vec<String> =
        columns.iter().map(|column| format!("{prefix}{} IS NULL", quote::identifier(column))).collect();
    parts.join(" OR ")
}

/// Whether the columns are the same on both sides, NULL equal to NULL.
pub fn not_distinct(left: &str, right: &str, columns: &[&String]) -> String {
    let parts: Vec<String> = columns
        .iter()
        .map(|column| {
            let name = quote::identifier(column);
            format!("{left}{name} IS NOT DISTINCT FROM {right}{name}")
        })
        .collect();
    parts.join(" AND ")
}
