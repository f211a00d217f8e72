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

/// The query of what would be staged; one sort does for all of it.
pub fn versions(step: &Step<'_>, states: &str) -> String {
    let silver = step.silver;
    let key = quote::list("", &silver.key);
    let untracked = own::untracked(silver);
    if untracked.is_empty() {
        return tracked_versions(silver, states);
    }
    // A version is one row, which begins and ends it, or two neighbours, of which the second ends it.
    let last = |name: &str| {
        let name = quote::identifier(name);
        format!("CASE WHEN m$ends THEN {name} ELSE lead({name}) OVER history END")
    };
    let columns: Vec<String> = silver
        .columns
        .iter()
        .map(|column| {
            let name = quote::identifier(&column.name);
            if untracked.iter().any(|untracked| untracked.name == column.name) {
                format!("{} AS {name}", last(&column.name))
            } else {
                name
            }
        })
        .collect();
    let names: Vec<&String> = untracked.iter().map(|column| &column.name).collect();
    let lasts: Vec<String> = names.iter().map(|name| last(name)).collect();
    // Row images are compared: a change that the type's own equality would miss counts too.
    let in_place =
        format!("m$base AND ROW({})::record *<> ROW({})::record", quote::list("", &names), lasts.join(", "));
    let history = format!("WINDOW history AS (PARTITION BY {key} ORDER BY m$since)");
    format!(
        "WITH compared AS (\n\
         {compared}\n), bounded AS (\n\
         SELECT *, lead(m$begins, 1, true) OVER history AS m$ends\n\
         FROM compared\n{history}\n), version AS (\n\
         SELECT {columns}, m$present, m$base, m$repair, m$hash, {in_place} AS m$touched_in_place, m$since AS m$known_from,\n\
         lead(m$since, CASE WHEN m$ends THEN 1 ELSE 2 END, 'infinity') OVER history AS m$known_to, m$begins\n\
         FROM bounded\nWHERE m$begins OR m$ends\n{history}\n)\n\
         SELECT {names}, m$present, m$base, m$repair, m$hash, m$touched_in_place, m$known_from, m$known_to\n\
         FROM version\nWHERE m$begins",
        compared = compared(silver, states),
        columns = columns.join(", "),
        names = quote::list("", silver.columns.iter().map(|column| &column.name)),
    )
}

/// Where nothing is updated in place.
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
