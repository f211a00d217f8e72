//! Writes versions into their relation: ends what ended, adds what began; and keeps the rows before and
//! after for the marts.

use sqlx::PgConnection;

use super::{Step, own};
use crate::descriptor::SilverKind;
use crate::error::Result;
use crate::quote;
use crate::statement;

/// Stages `change_<n>`: the relation's columns, for each current row that goes, comes or is changed:
/// as it was and as it will be.
pub async fn stage_changes(step: &Step<'_>, connection: &mut PgConnection) -> Result<u64> {
    let silver = step.silver;
    let version = step.table("version");
    let sql = format!(
        "CREATE TEMPORARY TABLE change_{number} ON COMMIT DROP AS\n\
         SELECT {before}\nFROM {table} AS stored\nJOIN {version} AS version ON {same}\n\
         WHERE {current} AND version.m$base AND (version.m$known_to < 'infinity' OR version.m$touched_in_place)\n\
         UNION ALL\n\
         SELECT {after}\nFROM {version} AS version\n\
         WHERE version.m$present AND version.m$known_to = 'infinity'\n\
         AND (NOT version.m$base OR version.m$touched_in_place)",
        number = step.number,
        before = quote::list("stored.", silver.columns.iter().map(|column| &column.name)),
        after = quote::list("version.", silver.columns.iter().map(|column| &column.name)),
        table = quote::name(&silver.table),
        same = statement::equal("stored.", "version.", &silver.key, &silver.key),
        current = own::is_current(silver, "stored"),
    );
    let rows = statement::execute(connection, &sql).await?;
    statement::analyze(connection, &step.table("change"), rows).await?;
    Ok(rows)
}

/// Ends and adds versions of a dimension; returns how many ended, began or were updated in place.
pub async fn dimension(step: &Step<'_>, connection: &mut PgConnection) -> Result<u64> {
    let silver = step.silver;
    let SilverKind::Dimension { row_hash, start, end, .. } = &silver.kind else {
        return Ok(0);
    };
    let table = quote::name(&silver.table);
    let version = step.table("version");
    let end = quote::identifier(end);
    let mut set = vec![format!("{end} = version.m$known_to")];
    for column in own::untracked(silver) {
        let name = quote::identifier(&column.name);
        set.push(format!("{name} = version.{name}"));
    }
    let ended = statement::execute(
        connection,
        &format!(
            "UPDATE {table} AS stored\nSET {}\nFROM {version} AS version\n\
             WHERE version.m$base AND (version.m$known_to < 'infinity' OR version.m$touched_in_place)\n\
             AND {}\nAND stored.{end} = 'infinity'",
            set.join(",\n"),
            statement::equal("stored.", "version.", &silver.key, &silver.key),
        ),
    )
    .await?;
    let columns = quote::list("", silver.columns.iter().map(|column| &column.name));
    let began = statement::execute(
        connection,
        &format!(
            "INSERT INTO {table} ({columns}, {}, {}, {end})\n\
             SELECT {columns}, m$hash, m$known_from, m$known_to\nFROM {version}\nWHERE m$present AND NOT m$base",
            quote::identifier(row_hash),
            quote::identifier(start),
        ),
    )
    .await?;
    statement::analyze(connection, &table, ended + began).await?;
    Ok(ended + began)
}

/// Replaces the states of a fact and archives the earlier ones; returns how many states came or went.
pub async fn fact(step: &Step<'_>, connection: &mut PgConnection) -> Result<u64> {
    let silver = step.silver;
    let SilverKind::Fact { snapshot, archive, .. } = &silver.kind else {
        return Ok(0);
    };
    let table = quote::name(&silver.table);
    let version = step.table("version");
    let snapshot = quote::identifier(snapshot);
    let columns = quote::list("", silver.columns.iter().map(|column| &column.name));
    let stored = quote::list("stored.", silver.columns.iter().map(|column| &column.name));
    let same = statement::equal("stored.", "version.", &silver.key, &silver.key);
    let gone = statement::execute(
        connection,
        &format!(
            "WITH gone AS (\nDELETE FROM {table} AS stored\nUSING {version} AS version\n\
             WHERE version.m$base AND version.m$known_to < 'infinity' AND {same}\n\
             RETURNING {stored}, stored.{snapshot} AS m$known_from, version.m$known_to\n)\n\
             INSERT INTO {archive} ({columns}, sys_start, sys_end)\n\
             SELECT {columns}, m$known_from, m$known_to FROM gone\nUNION ALL\n\
             SELECT {columns}, m$known_from, m$known_to FROM {version}\n\
             WHERE m$present AND NOT m$base AND m$known_to < 'infinity'",
            archive = quote::name(archive),
        ),
    )
    .await?;
    let came = statement::execute(
        connection,
        &format!(
            "INSERT INTO {table} ({columns}, {snapshot})\nSELECT {columns}, m$known_from\nFROM {version}\n\
             WHERE m$present AND NOT m$base AND m$known_to = 'infinity'"
        ),
    )
    .await?;
    statement::analyze(connection, &table, came).await?;
    Ok(gone + came)
}
