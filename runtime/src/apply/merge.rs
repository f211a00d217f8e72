//! Writes versions into their relation: ends what ended, adds what began; of repaired keys, takes out what
//! should not be there and puts in what is missing.

use sqlx::PgConnection;

use super::{Repair, Step, own};
use crate::descriptor::{Name, SilverKind};
use crate::error::Result;
use crate::quote;
use crate::statement;

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
    let ended = step
        .execute(
            &format!(
                "UPDATE {table} AS stored\nSET {}\nFROM {version} AS version\n\
             WHERE version.m$base AND (version.m$known_to < 'infinity' OR version.m$touched_in_place)\n\
             AND {}\nAND stored.{end} = 'infinity'",
                set.join(",\n"),
                statement::equal("stored.", "version.", &silver.key, &silver.key),
            ),
            connection,
        )
        .await?;
    let columns = quote::list("", silver.columns.iter().map(|column| &column.name));
    let began = step.execute(
        &format!(
            "INSERT INTO {table} ({columns}, {}, {}, {end})\n\
             SELECT {columns}, m$hash, m$known_from, m$known_to\nFROM {version}\nWHERE m$present AND NOT m$base AND NOT m$repair",
            quote::identifier(row_hash),
            quote::identifier(start),
        ),
        connection,
    )
    .await?;
    let mut repaired = 0;
    if step.repair != Repair::Nothing {
        repaired += take_out(step, &silver.table, connection).await?;
        let sql = format!(
            "INSERT INTO {table} ({columns}, {}, {}, {end})\n\
             SELECT {columns}, m$hash, m$known_from, m$known_to\nFROM {}\nWHERE m$is",
            quote::identifier(row_hash),
            quote::identifier(start),
            step.table("differ"),
        );
        repaired += statement::execute(connection, &sql).await?;
    }
    statement::analyze(connection, &table, ended + began + repaired).await?;
    Ok(ended + began + repaired)
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
    let gone = step
        .execute(
            &format!(
                "WITH gone AS (\nDELETE FROM {table} AS stored\nUSING {version} AS version\n\
             WHERE version.m$base AND version.m$known_to < 'infinity' AND {same}\n\
             RETURNING {stored}, stored.{snapshot} AS m$known_from, version.m$known_to\n)\n\
             INSERT INTO {archive} ({columns}, sys_start, sys_end)\n\
             SELECT {columns}, m$known_from, m$known_to FROM gone\nUNION ALL\n\
             SELECT {columns}, m$known_from, m$known_to FROM {version}\n\
             WHERE m$present AND NOT m$base AND NOT m$repair AND m$known_to < 'infinity'",
                archive = quote::name(archive),
            ),
            connection,
        )
        .await?;
    let came = step.execute(
        &format!(
            "INSERT INTO {table} ({columns}, {snapshot})\nSELECT {columns}, m$known_from\nFROM {version}\n\
             WHERE m$present AND NOT m$base AND NOT m$repair AND m$known_to = 'infinity'"
        ),
        connection,
    )
    .await?;
    let mut repaired = 0;
    if step.repair != Repair::Nothing {
        for stored in [&silver.table, archive] {
            repaired += take_out(step, stored, connection).await?;
        }
        let differ = step.table("differ");
        for sql in [
            format!(
                "INSERT INTO {table} ({columns}, {snapshot})\nSELECT {columns}, m$known_from\nFROM {differ}\n\
                 WHERE m$is AND m$known_to = 'infinity'"
            ),
            format!(
                "INSERT INTO {} ({columns}, sys_start, sys_end)\nSELECT {columns}, m$known_from, m$known_to\n\
                 FROM {differ}\nWHERE m$is AND m$known_to < 'infinity'",
                quote::name(archive)
            ),
        ] {
            repaired += statement::execute(connection, &sql).await?;
        }
    }
    statement::analyze(connection, &table, came + repaired).await?;
    Ok(gone + came + repaired)
}

/// Deletes the versions of repaired keys that should not be, by where they stand: nobody else writes now.
async fn take_out(step: &Step<'_>, table: &Name, connection: &mut PgConnection) -> Result<u64> {
    let sql = format!(
        "DELETE FROM {} AS stored\nUSING {} AS differ\n\
         WHERE stored.ctid = differ.m$row AND stored.tableoid = differ.m$table",
        quote::name(table),
        step.table("differ"),
    );
    statement::execute(connection, &sql).await
}
