//! Compares the versions that repaired keys should have with those that are stored. Row images are compared:
//! 1.0 and 1.00 differ, NULL and NULL do not.

use sqlx::PgConnection;

use super::own::is_repaired;
use super::{Repair, Step, Versions};
use crate::descriptor::{SilverKind, Tracking};
use crate::error::Result;
use crate::quote;
use crate::statement;

/// Stages `differ_<n>`: a row for each version that is stored and should not be (`m$table`, `m$row` say where
/// it stands, `m$was_from`, `m$was_to` its period, `m$was_1` … its columns), or should be and is not
/// (`m$is`, the relation's columns, `m$hash`, `m$known_from`, `m$known_to`), or both, of one period. Returns
/// the number of rows.
pub(crate) async fn stage(
    step: &Step<'_>,
    versions: &Versions,
    connection: &mut PgConnection,
) -> Result<u64> {
    let silver = step.silver;
    let key = |left: &str, right: &str| statement::equal(left, right, &silver.key, &silver.key);
    let was: Vec<String> = silver
        .columns
        .iter()
        .enumerate()
        .map(|(place, column)| format!("stored.{} AS {}", quote::identifier(&column.name), was(place)))
        .collect();
    let query = format!(
        "SELECT computed.m$known_from IS NOT NULL AS m$is, {columns}, computed.m$hash, computed.m$known_from,\n\
         computed.m$known_to, stored.m$table, stored.m$row, stored.m$hash AS m$was_hash,\n\
         stored.m$known_from AS m$was_from, stored.m$known_to AS m$was_to, {was}\n\
         FROM (\n{computed}\n) AS computed\nFULL JOIN (\n{stored}\n) AS stored\n\
         ON {same} AND stored.m$compared_from = computed.m$known_from AND stored.m$known_to = computed.m$known_to\n\
         WHERE computed.m$known_from IS NULL OR stored.m$known_from IS NULL\n\
         OR ROW({computed_image})::record *<> ROW({stored_image})::record",
        columns = quote::list("computed.", silver.columns.iter().map(|column| &column.name)),
        was = was.join(", "),
        computed = computed(step, versions),
        stored = stored(step),
        same = key("stored.", "computed."),
        computed_image = image(step, "computed."),
        stored_image = image(step, "stored."),
    );
    step.fill("differ", &query, connection).await
}

/// The name of a stored version's column in `differ_<n>`, by its place.
pub(crate) fn was(place: usize) -> String {
    format!("m$was_{}", place + 1)
}

/// The versions that repaired keys should have. Before the horizon nothing is kept.
fn computed(step: &Step<'_>, versions: &Versions) -> String {
    let columns = quote::list("", step.silver.columns.iter().map(|column| &column.name));
    let (from, kept) = kept(step, "m$known_from", "m$known_to");
    format!(
        "SELECT {columns}, m$hash, {from} AS m$known_from, m$known_to\nFROM {versions}\n\
         WHERE m$repair AND m$present{kept}",
        versions = match versions {
            Versions::Staged => step.table("version"),
            Versions::Repaired(query) => format!("(\n{query}\n) AS version"),
        }
    )
}

/// The versions that they have.
fn stored(step: &Step<'_>) -> String {
    let silver = step.silver;
    let columns = quote::list("stored.", silver.columns.iter().map(|column| &column.name));
    let repaired = match step.repair {
        Repair::Keys => is_repaired(step, "stored"),
        Repair::Nothing | Repair::Everything => "true".to_owned(),
    };
    let one = |table: &str, hash: &str, start: &str, end: &str| {
        let (from, kept) = kept(step, start, end);
        format!(
            "SELECT stored.tableoid AS m$table, stored.ctid AS m$row, {columns}, {hash} AS m$hash,\n\
             {start} AS m$known_from, {from} AS m$compared_from, {end} AS m$known_to\n\
             FROM {table} AS stored\nWHERE {repaired}{kept}"
        )
    };
    match &silver.kind {
        SilverKind::Dimension { row_hash, start, end, .. } => one(
            &quote::name(&silver.table),
            &format!("stored.{}", quote::identifier(row_hash)),
            &format!("stored.{}", quote::identifier(start)),
            &format!("stored.{}", quote::identifier(end)),
        ),
        SilverKind::Fact { snapshot, archive, .. } => format!(
            "{}\nUNION ALL\n{}",
            one(
                &quote::name(&silver.table),
                "NULL::bytea",
                &format!("stored.{}", quote::identifier(snapshot)),
                "'infinity'::timestamptz"
            ),
            one(&quote::name(archive), "NULL::bytea", "stored.sys_start", "stored.sys_end"),
        ),
    }
}

/// A period's start as far as it is kept, and the condition that it is.
pub(super) fn kept(step: &Step<'_>, start: &str, end: &str) -> (String, String) {
    match step.horizon {
        None => (start.to_owned(), String::new()),
        Some(horizon) => {
            let horizon = format!("{}::timestamptz", quote::literal(horizon));
            (format!("greatest({start}, {horizon})"), format!(" AND {end} > {horizon}"))
        }
    }
}

/// What is compared, the key apart: a numeric key may look like 1.0 here and like 1.00 there, and is one key by
/// its own equality, of which either look is right. What is updated in place counts as long as the version is current: a writer's transaction
/// may have done so before it ended the version, and no journal says which of the values was the last.
fn image(step: &Step<'_>, prefix: &str) -> String {
    let silver = step.silver;
    let mut values: Vec<String> = silver
        .columns
        .iter()
        .filter(|column| !silver.key.contains(&column.name))
        .map(|column| {
            let name = format!("{prefix}{}", quote::identifier(&column.name));
            match column.tracking {
                Tracking::Tracked => name,
                Tracking::Untracked => format!("CASE WHEN {prefix}m$known_to = 'infinity' THEN {name} END"),
                // What opened a version that is folded is not known any more.
                Tracking::Opening => match step.horizon {
                    None => name,
                    Some(horizon) => format!(
                        "CASE WHEN {prefix}m$known_from > {}::timestamptz THEN {name} END",
                        quote::literal(horizon)
                    ),
                },
            }
        })
        .collect();
    if let SilverKind::Dimension { .. } = &silver.kind {
        values.push(format!("{prefix}m$hash"));
    }
    values.join(", ")
}
