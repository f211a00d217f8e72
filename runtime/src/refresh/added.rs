//! Refreshes a declared mart that is a table by adding: what came to its groups and what went from them, where all measures
//! follow from that. Sums are added; whether a group has a value that it had not, or has it no longer, is looked up. Knows
//! no mart that has to be recomputed.

use sqlx::{PgConnection, Row as _};

use super::grouped::{as_named, joined, publish, staged};
use super::incremental::{Stored, is_null, not_distinct};
use super::{Changes, Reads};
use crate::descriptor::{Distinct, Groups, MartSource, Sums};
use crate::error::Result;
use crate::quote;
use crate::statement::{self, Bound};

/// Looking up a value costs about as much as reading so many rows.
const READ_RATHER_THAN_LOOKED_UP: i64 = 10;

/// The values of so few rows are looked up in any case.
const FEW: i64 = 100;

/// Whether a group has rows, in a table of differences.
const THERE: &str = "m$there";

/// What can be added: the only source has changed and nothing that is joined to it, and its rows can be counted.
pub fn added<'a>(groups: &'a Groups, reads: &Reads<'a>) -> Option<(&'a Sums, &'a MartSource, &'a str)> {
    let (Some(sums), [source]) = (&groups.sums, groups.sources.as_slice()) else { return None };
    let mut changed = reads.iter();
    let (Some((relation, Changes { rows: Some(rows), counted: true })), None) =
        (changed.next(), changed.next())
    else {
        return None;
    };
    let joined = source.joins.iter().any(|join| join.stored == **relation);
    (source.stored == **relation && !joined).then_some((sums, source, *rows))
}

/// Refreshes it by adding; returns how many rows went or came, or nothing where no sum can be had that way: what is not
/// a number swallows all others, and does not give them back.
pub async fn add(
    stored: &Stored<'_>,
    groups: &Groups,
    (sums, source, changes): (&Sums, &MartSource, &str),
    connection: &mut PgConnection,
) -> Result<Option<u64>> {
    let looks_up = sums.rows.is_none() || !sums.distinct.is_empty();
    if looks_up && !looked_up(source, changes, connection).await? {
        return Ok(None);
    }
    let sql = difference(stored, sums, source, changes);
    let touched = stored.fill("delta", &sql, connection).await?;
    if touched == 0 {
        return Ok(Some(0));
    }
    let lost = sums.differences.iter().map(|(name, _)| format!("{}::text = 'NaN'", quote::identifier(name)));
    let lost = ["false".to_owned()].into_iter().chain(lost);
    let unit: Vec<&String> = stored.mart.grain.iter().collect();
    let sql = format!(
        "SELECT count(*) FILTER (WHERE {}), count(*) FILTER (WHERE {})\nFROM {}",
        lost.collect::<Vec<_>>().join(" OR "),
        is_null("", &unit),
        stored.table("delta"),
    );
    let rows = statement::rows_as(connection, stored.staging.plan(), &sql, &Bound::default()).await?;
    let count = |at: usize| rows.first().map_or(0, |row| row.get::<i64, _>(at));
    let (lost, with_null) = (count(0), count(1));
    if lost > 0 {
        return Ok(None);
    }
    let group = staged(stored, groups);
    if group != "fresh" {
        let rows = stored.fill(group, &summed(stored, groups, sums), connection).await?;
        return publish(stored, groups, "delta", rows, connection).await.map(Some);
    }
    let known = format!("NOT ({})", is_null("delta.", &unit));
    let same = statement::equal("stored.", "delta.", &unit, &unit);
    let mut changed = stored.execute(&merged(stored, groups, sums, &known, &same), connection).await?;
    if with_null > 0 {
        let null = is_null("delta.", &unit);
        let same = not_distinct("stored.", "delta.", &unit);
        changed += stored.execute(&merged(stored, groups, sums, &null, &same), connection).await?;
    }
    statement::analyze(connection, &quote::name(&stored.mart.table), changed).await?;
    Ok(Some(changed))
}

/// By how much each group differs, and whether it has rows, where no measure tells.
fn difference(stored: &Stored<'_>, sums: &Sums, source: &MartSource, changes: &str) -> String {
    let differences = differences(stored, sums, source, changes);
    if sums.rows.is_some() {
        return differences;
    }
    let grain: Vec<&String> = stored.mart.grain.iter().collect();
    let has_rows = |equal: &str| {
        let filter = source.filter.as_ref().map(|filter| format!(" AND ({filter})")).unwrap_or_default();
        format!(
            "EXISTS (\nSELECT\nFROM {} AS {}\nWHERE {}{filter}\n)",
            quote::name(&source.relation),
            quote::identifier(&source.alias),
            of_group(source, &grain, equal, "m$group"),
        )
    };
    format!(
        "SELECT m$group.*, CASE WHEN {} THEN {} ELSE {} END AS {THERE}\nFROM (\n{differences}\n) AS m$group",
        is_null("m$group.", &grain),
        has_rows("IS NOT DISTINCT FROM"),
        has_rows("="),
    )
}

/// What a row of a source that is in a group is known by.
fn of_group(source: &MartSource, grain: &[&String], equal: &str, group: &str) -> String {
    let values = source.grain.iter().zip(grain);
    let same = values.map(|(value, name)| format!("{value} {equal} {group}.{}", quote::identifier(name)));
    same.collect::<Vec<_>>().join(" AND ")
}

/// Whether a group has rows, when a difference is added to what is stored of it.
fn has_rows(sums: &Sums, added: impl Fn(&str) -> String) -> String {
    match &sums.rows {
        Some(rows) => format!("{} > 0", added(rows)),
        None => format!("delta.{THERE}"),
    }
}

/// By how much each group differs: its sums by what came and went, its counts of distinct values by those of them that it
/// has now, or had.
fn differences(stored: &Stored<'_>, sums: &Sums, source: &MartSource, changes: &str) -> String {
    let grain = &stored.mart.grain;
    let values = source.grain.iter().zip(grain).map(|(value, name)| as_named(value, name));
    let mut differences: Vec<String> =
        sums.differences.iter().map(|(name, value)| as_named(value, name)).collect();
    differences.extend(sums.distinct.iter().map(|counted| as_named("0", &counted.name)));
    let joins: String =
        source.joins.iter().map(|join| joined(join, &quote::name(&join.relation), "")).collect();
    let filter = source.filter.as_ref().map(|filter| format!("\nWHERE {filter}")).unwrap_or_default();
    let by_grain: Vec<String> = (1..=grain.len()).map(|position| position.to_string()).collect();
    let by_grain = by_grain.join(", ");
    let summed = format!(
        "SELECT {}\nFROM {changes} AS {}{joins}{filter}\nGROUP BY {by_grain}",
        values.chain(differences).collect::<Vec<_>>().join(",\n"),
        quote::identifier(&source.alias),
    );
    if sums.distinct.is_empty() {
        return summed;
    }
    let names: Vec<&String> = sums.added().collect();
    let mut parts = vec![summed];
    for counted in &sums.distinct {
        let is_it = |name: &&String| if **name == counted.name { "m$differs" } else { "0" };
        let differences: Vec<String> = names.iter().map(|name| as_named(is_it(name), name)).collect();
        parts.push(format!(
            "SELECT {}, {}\nFROM (\n{}\n) AS m$value",
            quote::list("", grain),
            differences.join(", "),
            counted_values(stored, source, counted, changes),
        ));
    }
    let names: Vec<String> =
        names.into_iter().map(|name| as_named(&format!("sum({})", quote::identifier(name)), name)).collect();
    format!(
        "SELECT {}, {}\nFROM (\n{}\n) AS m$part\nGROUP BY {by_grain}",
        quote::list("", grain),
        names.join(", "),
        parts.join("\nUNION ALL\n"),
    )
}

/// For each value of which a group has more rows, or fewer, than it had: 1 where it is new, -1 where it is gone. Whether the
/// group has rows of it, and had some, is seen from no more rows than came: other rows, or fewer now than before.
fn counted_values(stored: &Stored<'_>, source: &MartSource, counted: &Distinct, changes: &str) -> String {
    let grain: Vec<&String> = stored.mart.grain.iter().collect();
    let alias = quote::identifier(&source.alias);
    let conditions: Vec<String> = [Some(format!("{} IS NOT NULL", counted.value))]
        .into_iter()
        .chain([counted.condition.clone(), source.filter.clone()])
        .flatten()
        .map(|condition| format!("({condition})"))
        .collect();
    let conditions = conditions.join(" AND ");
    let positions: Vec<String> = (1..=grain.len() + 1).map(|position| position.to_string()).collect();
    let values = source.grain.iter().zip(&grain).map(|(value, name)| as_named(value, name));
    let pairs = format!(
        "SELECT {}, {} AS m$of, sum(m$sign) AS m$rows\nFROM {changes} AS {alias}\nWHERE {conditions}\nGROUP BY {}\n\
         HAVING sum(m$sign) <> 0",
        values.collect::<Vec<_>>().join(", "),
        counted.value,
        positions.join(", "),
    );
    let branch = |which: &str, equal: &str| {
        format!(
            "SELECT {}, (m$found.m$rows > 0)::integer - (m$found.m$rows > m$pair.m$rows)::integer AS m$differs\n\
             FROM m$pair\nCROSS JOIN LATERAL (\nSELECT count(*) AS m$rows\nFROM (\nSELECT\nFROM {} AS {alias}\n\
             WHERE {} AND {} = m$pair.m$of AND {conditions}\nLIMIT greatest(m$pair.m$rows, 0) + 1\n) AS m$some\n\
             ) AS m$found\nWHERE {which}",
            quote::list("m$pair.", &grain),
            quote::name(&source.relation),
            of_group(source, &grain, equal, "m$pair"),
            counted.value,
        )
    };
    let is_null = is_null("m$pair.", &grain);
    format!(
        "WITH m$pair AS MATERIALIZED (\n{pairs}\n)\n{}\nUNION ALL\n{}",
        branch(&format!("NOT ({is_null})"), "="),
        branch(&format!("({is_null})"), "IS NOT DISTINCT FROM"),
    )
}

/// Whether so few rows changed that looking up the values of each costs less than reading all of them.
async fn looked_up(source: &MartSource, changes: &str, connection: &mut PgConnection) -> Result<bool> {
    let sql = format!("SELECT count(*) FROM {changes}");
    let changed = statement::scalar(connection, &sql, &[]).await?;
    if changed <= FEW {
        return Ok(true);
    }
    let enough = changed.saturating_mul(READ_RATHER_THAN_LOOKED_UP);
    let relation = quote::name(&source.relation);
    let sql = format!("SELECT count(*) FROM (SELECT FROM {relation} LIMIT {enough}) AS one");
    Ok(statement::scalar(connection, &sql, &[]).await? >= enough)
}

/// Adds to the groups as they are stored.
fn merged(stored: &Stored<'_>, groups: &Groups, sums: &Sums, which: &str, same: &str) -> String {
    let (mut set, mut columns, mut values) = (Vec::new(), Vec::new(), Vec::new());
    let new = |name: &str| format!("delta.{}", quote::identifier(name));
    let added = |name: &str| format!("(coalesce(stored.{0}, 0) + delta.{0})", quote::identifier(name));
    for name in &groups.columns {
        let column = quote::identifier(name);
        match sums.averages.iter().find(|average| average.name == *name) {
            Some(average) => {
                set.push(format!("{column} = {}", average.of(added)));
                values.push(average.of(new));
            }
            None => {
                if !stored.mart.grain.contains(name) {
                    set.push(format!("{column} = {}", added(name)));
                }
                values.push(new(name));
            }
        }
        columns.push(column);
    }
    let differs = sums.added().map(|name| format!("{} <> 0", new(name)));
    format!(
        "MERGE INTO {mart} AS stored\nUSING (\nSELECT *\nFROM {delta} AS delta\nWHERE {which}\n) AS delta\nON {same}\n\
         WHEN MATCHED AND NOT ({left}) THEN DELETE\n\
         WHEN MATCHED AND ({differs}) THEN UPDATE SET {set}\n\
         WHEN NOT MATCHED AND {came} THEN INSERT ({columns}) VALUES ({values})",
        mart = quote::name(&stored.mart.table),
        delta = stored.table("delta"),
        left = has_rows(sums, added),
        differs = differs.collect::<Vec<_>>().join(" OR "),
        set = set.join(", "),
        came = has_rows(sums, new),
        columns = columns.join(", "),
        values = values.join(", "),
    )
}

/// The groups with what was added to them, but for those of which nothing is left. Those without NULL in the grain are
/// found by its index.
fn summed(stored: &Stored<'_>, groups: &Groups, sums: &Sums) -> String {
    let grain: Vec<&String> = stored.mart.grain.iter().collect();
    let sum = |name: &str| {
        let name = quote::identifier(name);
        format!("coalesce(stored.{name}, 0) + delta.{name}")
    };
    let is_average = |name: &String| sums.averages.iter().any(|average| average.name == *name);
    let columns: Vec<String> = groups
        .columns
        .iter()
        .filter(|name| !is_average(name))
        .map(|name| match grain.contains(&name) {
            true => format!("delta.{}", quote::identifier(name)),
            false => as_named(&sum(name), name),
        })
        .collect();
    let is_null = is_null("delta.", &grain);
    let some = format!("(SELECT count(*) FROM {} AS delta WHERE {is_null}) > 0", stored.table("delta"));
    let branch = |which: String, same: String| {
        format!(
            "SELECT {}\nFROM {} AS delta\nLEFT JOIN {} AS stored ON {same}\nWHERE {which} AND {}",
            columns.join(", "),
            stored.table("delta"),
            quote::name(&stored.mart.table),
            has_rows(sums, sum),
        )
    };
    let summed = format!(
        "{}\nUNION ALL\n{}",
        branch(format!("NOT ({is_null})"), statement::equal("stored.", "delta.", &grain, &grain)),
        branch(format!("({is_null}) AND {some}"), not_distinct("stored.", "delta.", &grain)),
    );
    if sums.averages.is_empty() {
        return summed;
    }
    let columns: Vec<String> = groups
        .columns
        .iter()
        .map(|name| match sums.averages.iter().find(|average| average.name == *name) {
            Some(average) => as_named(&average.of(quote::identifier), name),
            None => quote::identifier(name),
        })
        .collect();
    format!("SELECT {}\nFROM (\n{summed}\n) AS summed", columns.join(", "))
}
