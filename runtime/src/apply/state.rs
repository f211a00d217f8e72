//! Resolves a relation's lookups: cuts its own states where a looked-up version begins or ends, and fills
//! in what the lookups say at each. The outcome is every state that a key went through, by system time.

use sqlx::PgConnection;

use super::hash::hash;
use super::{LookupSource, Purpose, Repair, Step, composed};
use crate::descriptor::{ColumnFrom, LookupTime, Silver, SilverKind};
use crate::error::Result;
use crate::quote;
use crate::statement;

/// Stages `state_<n>`: the relation's columns, `m$present`, `m$base`, `m$repair`, `m$hash` and `m$since`.
/// Returns what to read it from: where nothing is looked up, the own states themselves.
pub async fn stage(
    step: &Step<'_>,
    lookups: &[LookupSource<'_>],
    connection: &mut PgConnection,
) -> Result<String> {
    if lookups.is_empty() {
        return Ok(unlooked(step, &step.table("own")));
    }
    step.fill("state", &states(step, lookups), connection).await?;
    Ok(step.table("state"))
}

/// The states of a relation that looks up nothing, as a source: own states with a barrier, so that each hash is
/// computed once.
pub fn unlooked(step: &Step<'_>, own: &str) -> String {
    format!("(\n{}\nOFFSET 0\n) AS state", hashed(step, own))
}

fn states(step: &Step<'_>, lookups: &[LookupSource<'_>]) -> String {
    let mut with = vec![format!("segment_0 AS (\nSELECT *\nFROM {}\n)", step.table("own"))];
    for (number, source) in (1..).zip(lookups) {
        with.push(cut(step, source, number));
        with.push(fill(step, source, number));
    }
    format!(
        "WITH {with}\n{hashed}",
        with = with.join(", "),
        hashed = hashed(step, &format!("segment_{}", lookups.len())),
    )
}

fn hashed(step: &Step<'_>, segments: &str) -> String {
    let silver = step.silver;
    let composed = silver.is_composed().then(|| composed::rows(step, segments));
    let segments = composed.as_deref().unwrap_or(segments);
    format!(
        "SELECT {columns}, m$present, m$base, m$repair,\n\
         CASE WHEN m$base THEN m$hash WHEN m$present THEN {hash} END AS m$hash,\nm$since\nFROM {segments}",
        columns = quote::list("", silver.columns.iter().map(|column| &column.name)),
        hash = hash(silver, ""),
    )
}

/// The segments cut where they may change because of one lookup: at their own start, and wherever a
/// version of the looked-up row begins or ends within. Where one ends as the next begins, a segment stands
/// twice; equal neighbours are joined later anyway.
fn cut(step: &Step<'_>, source: &LookupSource<'_>, number: usize) -> String {
    let silver = step.silver;
    let key = quote::list("", &silver.key);
    let (mine, theirs): (Vec<_>, Vec<_>) = source.lookup.on.iter().cloned().unzip();
    format!(
        "stretch_{number} AS (\n\
         SELECT *, lead(m$since, 1, 'infinity') OVER (PARTITION BY {key} ORDER BY m$since) AS m$until\n\
         FROM segment_{previous}\n), cut_{number} AS (\n\
         SELECT *, m$since AS m$at\nFROM stretch_{number}\n\
         UNION ALL\n\
         SELECT segment.*, bound.m$at\nFROM stretch_{number} AS segment\n\
         JOIN {versions} AS looked ON {same}\n\
         CROSS JOIN LATERAL (VALUES (looked.m$known_from), (looked.m$known_to)) AS bound (m$at)\n\
         WHERE segment.m$present AND bound.m$at > segment.m$since AND bound.m$at < segment.m$until\n\
         {after}\n)",
        previous = number - 1,
        versions = versions(step, source),
        same = statement::equal("segment.", "looked.", &mine, &theirs),
        after = after(step),
    )
}

/// The cut segments with the lookup's columns filled in. What was given stays until the lookup changes.
fn fill(step: &Step<'_>, source: &LookupSource<'_>, number: usize) -> String {
    let silver = step.silver;
    let (mine, theirs): (Vec<_>, Vec<_>) = source.lookup.on.iter().cloned().unzip();
    let same = statement::equal("looked.", "segment.", &theirs, &mine);
    let fresh = "NOT (segment.m$given AND segment.m$at = segment.m$since)";
    let columns: Vec<String> = silver
        .columns
        .iter()
        .map(|column| {
            let name = quote::identifier(&column.name);
            match &column.from {
                ColumnFrom::Lookup { lookup, column: there } if lookup == &source.lookup.alias => format!(
                    "CASE WHEN {fresh} THEN looked.{}::{} ELSE segment.{name} END AS {name}",
                    quote::identifier(there),
                    column.sql_type
                ),
                ColumnFrom::LookedUpHash { lookup, sql } if lookup == &source.lookup.alias => format!(
                    "CASE WHEN NOT ({fresh}) THEN segment.{name}\n\
                     WHEN looked.m$known_from IS NOT NULL THEN ({})::{} END AS {name}",
                    sql.replace("{row}", "looked").replace("{start}", "looked.m$known_from"),
                    column.sql_type
                ),
                _ => format!("segment.{name}"),
            }
        })
        .collect();
    let join = match &source.lookup.at {
        LookupTime::SystemTime => format!(
            "LEFT JOIN {versions} AS looked\nON {fresh} AND segment.m$present AND {same}\n\
             AND looked.m$known_from <= segment.m$at AND looked.m$known_to > segment.m$at",
            versions = versions(step, source),
        ),
        LookupTime::OwnTime(column) => {
            let own_time = own_time(step, column);
            format!(
                "LEFT JOIN LATERAL (\nSELECT looked.*\nFROM {versions} AS looked\n\
                 WHERE {fresh} AND segment.m$present AND {same} AND looked.m$known_from <= segment.m$at\n\
                 AND {own_time} IS NOT NULL\nORDER BY looked.m$known_from <= {own_time} DESC,\n\
                 CASE WHEN looked.m$known_from <= {own_time} THEN looked.m$known_from END DESC NULLS LAST,\n\
                 looked.m$known_from\nLIMIT 1\n) AS looked ON true",
                versions = versions(step, source),
            )
        }
    };
    format!(
        "segment_{number} AS (\nSELECT {columns}, segment.m$present,\n\
         segment.m$base AND segment.m$at = segment.m$since AS m$base,\n\
         segment.m$given AND segment.m$at = segment.m$since AS m$given, segment.m$repair, segment.m$hash,\n\
         segment.m$at AS m$since\n\
         FROM cut_{number} AS segment\n{join}\n)",
        columns = columns.join(", "),
    )
}

/// What a lookup reads.
fn versions(step: &Step<'_>, source: &LookupSource<'_>) -> String {
    match step.purpose {
        Purpose::Apply => stored_versions(source.relation),
        Purpose::Verify => format!("(SELECT * FROM pg_temp.version_{} WHERE m$present)", source.number),
    }
}

/// A relation's versions by system time, as a source to join: its columns, `m$known_from`, `m$known_to`.
pub fn stored_versions(relation: &Silver) -> String {
    let columns = quote::list("", relation.columns.iter().map(|column| &column.name));
    let table = quote::name(&relation.table);
    match &relation.kind {
        SilverKind::Dimension { start, end, .. } => format!(
            "(\nSELECT {columns}, {} AS m$known_from, {} AS m$known_to\nFROM {table}\n)",
            quote::identifier(start),
            quote::identifier(end)
        ),
        SilverKind::Fact { snapshot, archive, .. } => format!(
            "(\nSELECT {columns}, {} AS m$known_from, 'infinity'::timestamptz AS m$known_to\nFROM {table}\n\
             UNION ALL\nSELECT {columns}, sys_start, sys_end\nFROM {}\n)",
            quote::identifier(snapshot),
            quote::name(archive)
        ),
    }
}

/// A row's own time as an instant: what has no zone is in the warehouse's.
fn own_time(step: &Step<'_>, column: &str) -> String {
    let sql_type = step
        .silver
        .columns
        .iter()
        .find(|candidate| candidate.name == column)
        .map_or("timestamptz", |column| column.sql_type.as_str());
    let name = format!("segment.{}", quote::identifier(column));
    match sql_type {
        "timestamptz" => name,
        _ => format!("({name}::timestamp AT TIME ZONE {})", quote::literal(step.time_zone)),
    }
}

/// Nothing that a lookup did before the window can cut anything anew, but in what is repaired.
fn after(step: &Step<'_>) -> String {
    let after = step.after_time();
    match step.repair {
        Repair::Nothing => format!("AND bound.m$at > {after}"),
        Repair::Keys => format!("AND (segment.m$repair OR bound.m$at > {after})"),
        Repair::Everything => String::new(),
    }
}
