//! Tells those who read a relation what has changed in it: marts by current rows before and after, lookups by
//! keys and since when.

use sqlx::PgConnection;

use super::own::{is_current, key_list, untracked};
use super::{Repair, Step, Versions, difference};
use crate::descriptor::SilverKind;
use crate::error::Result;
use crate::quote;
use crate::statement;

/// Whether the rows before and after can be told. What a writer did to a column that is updated in place
/// cannot: its value before is nowhere.
pub fn tells_rows(step: &Step<'_>, uncounted: bool) -> bool {
    !uncounted || untracked(step.silver).is_empty()
}

/// Stages `change_<n>`: the relation's columns, for each current row that goes, comes or is changed: as it
/// was and as it will be, and which of these it is (`m$sign`: -1 and 1). Of a row that others wrote: as it was when it
/// was last counted.
pub async fn stage(
    step: &Step<'_>,
    versions: &Versions,
    uncounted: bool,
    connection: &mut PgConnection,
) -> Result<u64> {
    let silver = step.silver;
    let version = step.table("version");
    let before = quote::list("stored.", silver.columns.iter().map(|column| &column.name));
    let after = quote::list("version.", silver.columns.iter().map(|column| &column.name));
    let mut queries = Vec::new();
    if let Versions::Staged = versions {
        queries.push(format!(
            "SELECT {before}, -1::smallint AS m$sign\nFROM {table} AS stored\nJOIN {version} AS version ON {same}\n\
         WHERE {current} AND version.m$base AND (version.m$known_to < 'infinity' OR version.m$touched_in_place)\n\
         UNION ALL\n\
         SELECT {after}, 1::smallint\nFROM {version} AS version\n\
         WHERE version.m$present AND version.m$known_to = 'infinity' AND NOT version.m$repair\n\
         AND (NOT version.m$base OR version.m$touched_in_place)",
        table = quote::name(&silver.table),
        same = statement::equal("stored.", "version.", &silver.key, &silver.key),
        current = is_current(silver, "stored"),
    ));
    }
    if step.repair != Repair::Nothing {
        let differ = step.table("differ");
        let was: Vec<String> = silver
            .columns
            .iter()
            .enumerate()
            .map(|(place, column)| {
                format!("{} AS {}", difference::was(place), quote::identifier(&column.name))
            })
            .collect();
        queries.push(format!(
            "SELECT {}, -1::smallint AS m$sign\nFROM {differ}\nWHERE m$was_to = 'infinity'",
            was.join(", ")
        ));
        let is = quote::list("", silver.columns.iter().map(|column| &column.name));
        queries
            .push(format!("SELECT {is}, 1::smallint\nFROM {differ}\nWHERE m$is AND m$known_to = 'infinity'"));
    }
    if uncounted && let SilverKind::Dimension { start, end, .. } = &silver.kind {
        queries.push(format!(
            "SELECT {before}, -1::smallint AS m$sign\nFROM {table} AS stored\nJOIN {uncounted} AS written ON {same}\n\
             WHERE stored.{start} < written.m$stamp AND stored.{end} >= written.m$stamp",
            table = quote::name(&silver.table),
            uncounted = step.table("uncounted"),
            same = statement::equal("stored.", "written.", &silver.key, &silver.key),
            start = quote::identifier(start),
            end = quote::identifier(end),
        ));
    }
    step.fill("change", &queries.join("\nUNION ALL\n"), connection).await
}

/// Adds the rows that others wrote as they are now, everything being merged.
pub async fn add_written(step: &Step<'_>, connection: &mut PgConnection) -> Result<()> {
    let silver = step.silver;
    let sql = format!(
        "INSERT INTO {}\nSELECT {}, 1::smallint\nFROM {} AS stored\nJOIN {} AS written ON {}\nWHERE {}",
        step.table("change"),
        quote::list("stored.", silver.columns.iter().map(|column| &column.name)),
        quote::name(&silver.table),
        step.table("uncounted"),
        statement::equal("stored.", "written.", &silver.key, &silver.key),
        is_current(silver, "stored"),
    );
    statement::execute(connection, &sql).await.map(drop)
}

/// Stages `changed_<n>`: the keys that changed, and from which time on anything of theirs did (`m$from`).
pub async fn stage_keys(
    step: &Step<'_>,
    versions: &Versions,
    uncounted: bool,
    connection: &mut PgConnection,
) -> Result<()> {
    let key = key_list(step.silver, "");
    let mut queries = Vec::new();
    if let Versions::Staged = versions {
        queries.push(format!(
            "SELECT {key}, CASE WHEN m$base THEN m$known_to ELSE m$known_from END AS m$from\nFROM {}\n\
         WHERE NOT m$repair AND (NOT m$base OR m$known_to < 'infinity')",
            step.table("version")
        ));
    }
    if step.repair != Repair::Nothing {
        let differ = step.table("differ");
        let was: Vec<String> = step
            .silver
            .key
            .iter()
            .filter_map(|key| {
                let place = step.silver.columns.iter().position(|column| column.name == *key)?;
                Some(format!("{} AS {}", difference::was(place), quote::identifier(key)))
            })
            .collect();
        queries.push(format!(
            "SELECT {}, m$was_from AS m$from\nFROM {differ}\nWHERE m$was_from IS NOT NULL",
            was.join(", ")
        ));
        queries.push(format!("SELECT {key}, m$known_from\nFROM {differ}\nWHERE m$is"));
    }
    if uncounted {
        queries.push(format!("SELECT {key}, m$stamp\nFROM {}", step.table("uncounted")));
    }
    let query = format!(
        "SELECT {key}, min(m$from) AS m$from\nFROM (\n{}\n) AS changed\nGROUP BY {key}",
        queries.join("\nUNION ALL\n")
    );
    step.fill("changed", &query, connection).await.map(drop)
}

/// The same of a dimension's first versions, which are all that stands: `change_<n>`.
pub async fn stage_standing(step: &Step<'_>, connection: &mut PgConnection) -> Result<()> {
    let silver = step.silver;
    let query = format!(
        "SELECT {}, 1::smallint AS m$sign\nFROM {} AS stored\nWHERE {}",
        quote::list("stored.", silver.columns.iter().map(|column| &column.name)),
        quote::name(&silver.table),
        is_current(silver, "stored"),
    );
    step.fill("change", &query, connection).await.map(drop)
}

/// And `changed_<n>`.
pub async fn stage_standing_keys(step: &Step<'_>, connection: &mut PgConnection) -> Result<()> {
    let SilverKind::Dimension { start, .. } = &step.silver.kind else { return Ok(()) };
    let key = key_list(step.silver, "");
    let query = format!(
        "SELECT {key}, min({}) AS m$from\nFROM {}\nGROUP BY {key}",
        quote::identifier(start),
        quote::name(&step.silver.table),
    );
    step.fill("changed", &query, connection).await.map(drop)
}
