//! Joins equal neighbours among a key's states into versions with a period: what stands, what ends, what
//! comes to be.

use sqlx::PgConnection;

use super::{Repair, Step, own};
use crate::descriptor::Silver;
use crate::error::Result;
use crate::quote;

/// Stages `version_<n>`: the relation's columns, `m$present`, `m$base`, `m$repair`, `m$hash`,
/// `m$touched_in_place`, `m$known_from`, `m$known_to`. A base row is the version that stands already, with the
/// end and the untracked values that it shall have; of a repaired key every version is here.
pub async fn stage(step: &Step<'_>, states: &str, connection: &mut PgConnection) -> Result<()> {
    step.fill("version", &versions(step, states), connection).await.map(drop)
}

/// Whether any version begins, ends or is updated in place, repaired keys apart.
pub async fn is_any_windowed(step: &Step<'_>, connection: &mut PgConnection) -> Result<bool> {
    if step.repair == Repair::Everything {
        return Ok(false);
    }
    let changes = format!(
        "SELECT count(*) FROM (\nSELECT FROM {}\n\
         WHERE NOT m$repair AND (NOT m$base OR m$known_to < 'infinity' OR m$touched_in_place)\nLIMIT 1\n) AS one",
        step.table("version")
    );
    Ok(step.scalar(&changes, connection).await? > 0)
}

/// The query of what would be staged.
pub fn versions(step: &Step<'_>, states: &str) -> String {
    let silver = step.silver;
    let key = quote::list("", &silver.key);
    let untracked = own::untracked(silver);
    if untracked.is_empty() {
        return tracked_versions(silver, states);
    }
    let columns: Vec<String> = silver
        .columns
        .iter()
        .map(|column| {
            let name = quote::identifier(&column.name);
            if untracked.iter().any(|untracked| untracked.name == column.name) {
                format!("last_value({name}) OVER island AS {name}")
            } else {
                name
            }
        })
        .collect();
    let names: Vec<&String> = untracked.iter().map(|column| &column.name).collect();
    let last: Vec<String> =
        names.iter().map(|name| format!("last_value({}) OVER island", quote::identifier(name))).collect();
    // Row images are compared: a change that the type's own equality would miss counts too.
    let in_place =
        format!("m$base AND ROW({})::record *<> ROW({})::record", quote::list("", &names), last.join(", "));
    format!(
        "WITH compared AS (\n\
         {compared}\n), numbered AS (\n\
         SELECT *, count(*) FILTER (WHERE m$begins) OVER (PARTITION BY {key} ORDER BY m$since) AS m$island\n\
         FROM compared\n), latest AS (\n\
         SELECT {columns}, m$present, m$base, m$repair, m$hash, m$since, m$begins, {in_place} AS m$touched_in_place\n\
         FROM numbered\nWINDOW island AS (PARTITION BY {key}, m$island ORDER BY m$since\n\
         ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)\n)\n\
         SELECT {names}, m$present, m$base, m$repair, m$hash, m$touched_in_place, m$since AS m$known_from,\n\
         lead(m$since, 1, 'infinity') OVER (PARTITION BY {key} ORDER BY m$since) AS m$known_to\n\
         FROM latest\nWHERE m$begins",
        compared = compared(silver, states),
        columns = columns.join(", "),
        names = quote::list("", silver.columns.iter().map(|column| &column.name)),
    )
}

/// Where nothing is updated in place; one sort does for all.
fn tracked_versions(silver: &Silver, states: &str) -> String {
    format!(
        "SELECT {names}, m$present, m$base, m$repair, m$hash, false AS m$touched_in_place, m$since AS m$known_from,\n\
         lead(m$since, 1, 'infinity') OVER (PARTITION BY {key} ORDER BY m$since) AS m$known_to\n\
         FROM (\n{compared}\n) AS compared\nWHERE m$begins",
        names = quote::list("", silver.columns.iter().map(|column| &column.name)),
        key = quote::list("", &silver.key),
        compared = compared(silver, states),
    )
}

/// The states, and whether each begins a version. What is not there has no hash.
fn compared(silver: &Silver, states: &str) -> String {
    format!(
        "SELECT *,\nm$hash IS DISTINCT FROM lag(m$hash) OVER history AS m$begins\n\
         FROM {states}\nWINDOW history AS (PARTITION BY {key} ORDER BY m$since)",
        key = quote::list("", &silver.key),
    )
}
