//! Refreshes a declared mart that is a table, by its groups: adds what came and takes off what went where that can be,
//! else recomputes the groups that changed rows touch; then makes of the groups what is made of them, for the
//! rows that this reaches. What is stored has the groups, so that windows over them need no fact.

use std::collections::BTreeSet;

use sqlx::PgConnection;

use super::Reads;
use super::added::{add, added};
use super::incremental::{self, Extent, Scope, Stored, distinct, extent, recompute, replace};
use crate::descriptor::{Groups, MartJoin, MartSource, Name};
use crate::error::Result;
use crate::quote;
use crate::statement;

/// Joined relations of one source that change in one run: with more of them there are too many ways in which a row could
/// have been joined before.
const JOINS_AT_ONCE: usize = 2;

/// Refreshes it; returns how many rows went or came.
pub async fn refresh(
    stored: &Stored<'_>,
    definition: &Name,
    groups: &Groups,
    reads: &Reads<'_>,
    connection: &mut PgConnection,
) -> Result<u64> {
    if let Some((sums, source, changes)) = added(groups, reads)
        && let Some(rows) = add(stored, groups, (sums, source, changes), connection).await?
    {
        return Ok(rows);
    }
    for driver in drivers(groups, reads) {
        statement::analyze(connection, driver, u64::MAX).await?;
    }
    let extent = match touched(stored, groups, reads) {
        Some(sql) => match stored.fill("unit", &sql, connection).await? {
            0 => return Ok(0),
            units => extent(stored, units, connection).await?,
        },
        None => Extent::Whole,
    };
    if extent == Extent::Whole {
        let all = Stored { view: definition, columns: &stored.mart.columns, unit: Vec::new(), ..*stored };
        let fresh = recompute(&all, &extent, "fresh", connection).await?;
        return replace(&all, fresh, None, connection).await;
    }
    let rows = recompute(stored, &extent, staged(stored, groups), connection).await?;
    publish(stored, groups, "unit", rows, connection).await
}

/// The changes of what is joined: how few they are decides how the rows are found that join them.
fn drivers<'a>(groups: &Groups, reads: &Reads<'a>) -> BTreeSet<&'a str> {
    let joins = groups.sources.iter().flat_map(|source| &source.joins);
    joins.filter_map(|join| reads.get(&join.stored)?.rows).collect()
}

/// Where groups are staged: where nothing is made of them they are the mart's rows.
pub fn staged(stored: &Stored<'_>, groups: &Groups) -> &'static str {
    let are_rows =
        groups.derived.is_empty() && groups.reach.is_none() && groups.columns == stored.mart.columns;
    if are_rows { "fresh" } else { "group" }
}

/// From the groups as they shall be, so many of those in `<touched>_<n>`, to the mart's rows.
pub async fn publish(
    stored: &Stored<'_>,
    groups: &Groups,
    touched: &'static str,
    rows: u64,
    connection: &mut PgConnection,
) -> Result<u64> {
    let touched = Scope { table: touched, columns: stored.unit.clone() };
    let group = staged(stored, groups);
    if group == "fresh" {
        return replace(stored, rows, Some(&touched), connection).await;
    }
    let known = quote::list("", &groups.columns);
    let changed = format!("SELECT {known}\nFROM {}", stored.table(group));
    // The others that a window takes together with them; where there is NULL, IN is neither true nor false.
    let others = format!("{} IS NOT TRUE", incremental::within(stored, &touched));
    let (rows, scope) = match &groups.reach {
        None => (changed, Some(touched)),
        Some(columns) if columns.is_empty() => {
            let mart = quote::name(&stored.mart.table);
            let all = format!("SELECT {known}\nFROM {mart} AS stored\nWHERE {others}");
            (format!("{changed}\nUNION ALL\n{all}"), None)
        }
        Some(columns) => {
            let columns: Vec<&String> = columns.iter().collect();
            let units = format!(
                "SELECT DISTINCT {}\nFROM {}",
                quote::list("", &columns),
                stored.table(touched.table)
            );
            stored.fill("reach", &units, connection).await?;
            let reached = Scope { table: "reach", columns };
            let columns = quote::list("stored.", &groups.columns);
            let rows = incremental::standing(stored, &reached, &columns, &format!("\nAND {others}"));
            (format!("{changed}\nUNION ALL\n{rows}"), Some(reached))
        }
    };
    let fresh = stored.fill("fresh", &made(groups, &rows), connection).await?;
    replace(stored, fresh, scope.as_ref(), connection).await
}

/// What is made of groups, over a query for them.
fn made(groups: &Groups, rows: &str) -> String {
    let mut query = rows.to_owned();
    for layer in &groups.derived {
        let values: Vec<String> = layer.iter().map(|(name, value)| as_named(value, name)).collect();
        query = format!("SELECT made.*, {}\nFROM (\n{query}\n) AS made", values.join(", "));
    }
    query
}

/// The groups that the changed rows touch, before and after, and perhaps others; none when some change does not tell.
fn touched(stored: &Stored<'_>, groups: &Groups, reads: &Reads<'_>) -> Option<String> {
    for (relation, changes) in reads {
        changes.rows?;
        let mut all = groups.sources.iter().flat_map(|source| {
            let joined = source.joins.iter().map(|join| &join.stored);
            std::iter::once(&source.stored).chain(joined)
        });
        if !all.any(|known| known == *relation) {
            return None;
        }
    }
    let mut queries = Vec::new();
    for source in &groups.sources {
        let changes = |name: &Name| reads.get(name).and_then(|changes| changes.rows);
        let changed: Vec<usize> =
            (0..source.joins.len()).filter(|join| changes(&source.joins[*join].stored).is_some()).collect();
        let base = changes(&source.stored);
        if base.is_none() && changed.is_empty() {
            continue;
        }
        if !source.told || changed.len() > JOINS_AT_ONCE {
            return None;
        }
        let ways = ways(&changed);
        if let Some(rows) = base {
            queries.extend(ways.iter().map(|way| branch(stored, source, rows, way, None, reads)));
        }
        for driver in changed {
            let rows = quote::name(&source.relation);
            // Who is joined to none of what changed is not touched by it.
            let ways = ways.iter().filter(|way| !way.contains(&(driver, Joined::Now)));
            queries.extend(ways.map(|way| branch(stored, source, &rows, way, Some(driver), reads)));
        }
    }
    Some(distinct(queries))
}

/// What a changed relation gives to join.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Joined {
    /// Its rows as they are.
    Now,
    /// Those that came or went.
    Changed,
    /// Nothing.
    Nothing,
}

/// All ways in which rows may be, or have been, joined to what changed.
fn ways(changed: &[usize]) -> Vec<Vec<(usize, Joined)>> {
    let mut ways = vec![Vec::new()];
    for join in changed {
        ways = ways
            .into_iter()
            .flat_map(|way| {
                [Joined::Now, Joined::Changed, Joined::Nothing].map(|how| {
                    let mut way = way.clone();
                    way.push((*join, how));
                    way
                })
            })
            .collect();
    }
    ways
}

/// The groups of rows that are joined in one way: of all rows, or of those that find a row that changed.
fn branch(
    stored: &Stored<'_>,
    source: &MartSource,
    rows: &str,
    way: &[(usize, Joined)],
    driver: Option<usize>,
    reads: &Reads<'_>,
) -> String {
    let changes =
        |join: &MartJoin| reads.get(&join.stored).and_then(|changes| changes.rows).unwrap_or_default();
    let joins: String = source
        .joins
        .iter()
        .enumerate()
        .map(|(number, join)| {
            let how = way.iter().find(|(changed, _)| *changed == number).map(|(_, how)| how);
            match how {
                None | Some(Joined::Now) => joined(join, &quote::name(&join.relation), "LEFT "),
                Some(Joined::Changed) => joined(join, changes(join), "LEFT "),
                Some(Joined::Nothing) => {
                    let alias = quote::identifier(&join.alias);
                    format!("\nLEFT JOIN {} AS {alias} ON false", changes(join))
                }
            }
        })
        .collect();
    let driven = driver.map(|driver| {
        let join = &source.joins[driver];
        let (theirs, mine): (Vec<&str>, Vec<&str>) =
            join.on.iter().map(|(theirs, mine)| (theirs.as_str(), mine.as_str())).unzip();
        format!(
            "\nWHERE ({}) IN (SELECT {} FROM {})",
            mine.join(", "),
            quote::list("", &theirs),
            changes(join)
        )
    });
    let values = source.grain.iter().zip(&stored.mart.grain).map(|(value, name)| as_named(value, name));
    format!(
        "SELECT {}\nFROM {rows} AS {}{joins}{}",
        values.collect::<Vec<_>>().join(", "),
        quote::identifier(&source.alias),
        driven.unwrap_or_default(),
    )
}

/// A join by the key; inner ones without a word before, where that counts.
pub fn joined(join: &MartJoin, relation: &str, outer: &str) -> String {
    let alias = quote::identifier(&join.alias);
    let on: Vec<String> = join
        .on
        .iter()
        .map(|(theirs, mine)| format!("{alias}.{} = {mine}", quote::identifier(theirs)))
        .collect();
    let kind = if outer.is_empty() && !join.required { "LEFT " } else { outer };
    format!("\n{kind}JOIN {relation} AS {alias} ON {}", on.join(" AND "))
}

pub fn as_named(value: &str, name: &str) -> String {
    format!("{value} AS {}", quote::identifier(name))
}
