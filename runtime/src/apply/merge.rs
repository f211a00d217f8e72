//! Writes versions into their relation: ends what ended, adds what began; of repaired keys, takes out what
//! should not be there and puts in what is missing.

use sqlx::PgConnection;

use super::number::{self, Numbers};
use super::{Repair, Step, Versions, own};
use crate::descriptor::{Name, Silver, SilverKind};
use crate::error::Result;
use crate::quote;
use crate::statement;

/// Ends and adds versions of a dimension; returns how many ended, began or were updated in place.
pub async fn dimension(step: &Step<'_>, versions: &Versions, connection: &mut PgConnection) -> Result<u64> {
    let silver = step.silver;
    let SilverKind::Dimension { end, .. } = &silver.kind else {
        return Ok(0);
    };
    let table = quote::name(&silver.table);
    let end = quote::identifier(end);
    let (mut ended, mut began) = (0, 0);
    if let Versions::Staged = versions {
        let version = step.table("version");
        let mut set = vec![format!("{end} = version.m$known_to")];
        for column in own::untracked(silver) {
            let name = quote::identifier(&column.name);
            set.push(format!("{name} = version.{name}"));
        }
        let sql = format!(
            "UPDATE {table} AS stored\nSET {}\nFROM {version} AS version\n\
             WHERE version.m$base AND (version.m$known_to < 'infinity' OR version.m$touched_in_place)\n\
             AND {}\nAND stored.{end} = 'infinity'",
            set.join(",\n"),
            statement::equal("stored.", "version.", &silver.key, &silver.key),
        );
        ended = step.execute(&sql, connection).await?;
        let source = format!("{version}\nWHERE m$present AND NOT m$base AND NOT m$repair");
        began = step.execute(&into_dimension(silver, &source), connection).await?;
    }
    if step.repair != Repair::Nothing {
        let numbers = number::stage(step, connection).await?;
        ended += take_out(step, &silver.table, connection).await?;
        began += put_in(step, numbers.as_ref(), connection).await?;
    }
    statement::analyze(connection, &table, began).await?;
    Ok(ended + began)
}

/// Adds the first versions of a dimension, of which nothing stands; returns how many.
pub async fn first(step: &Step<'_>, versions: &str, connection: &mut PgConnection) -> Result<u64> {
    let source = format!("(\n{versions}\n) AS version\nWHERE m$present");
    let began = step.execute(&into_dimension(step.silver, &source), connection).await?;
    statement::analyze(connection, &quote::name(&step.silver.table), began).await?;
    Ok(began)
}

/// Adds the versions of repaired keys that are missing. One that began when another did that went has its number.
async fn put_in(step: &Step<'_>, numbers: Option<&Numbers>, connection: &mut PgConnection) -> Result<u64> {
    let differ = step.table("differ");
    let Some(numbers) = numbers else {
        let source = format!("{differ}\nWHERE m$is");
        return statement::execute(connection, &into_dimension(step.silver, &source)).await;
    };
    let number = step.table("number");
    let known = format!("EXISTS (SELECT FROM {number} AS number WHERE {})", numbers.same);
    let source = format!("{differ} AS differ\nWHERE m$is AND NOT {known}");
    let new = statement::execute(connection, &into_dimension(step.silver, &source)).await?;
    let source =
        format!("{differ} AS differ\nJOIN {number} AS number ON {}\nWHERE differ.m$is", numbers.same);
    let again = into_numbered(step.silver, "differ.", Some(&numbers.column), &source);
    Ok(new + statement::execute(connection, &again).await?)
}

fn into_dimension(silver: &Silver, source: &str) -> String {
    into_numbered(silver, "", None, source)
}

/// The same of what has a number already, `m$number`.
fn into_numbered(silver: &Silver, prefix: &str, number: Option<&str>, source: &str) -> String {
    let SilverKind::Dimension { row_hash, start, end, .. } = &silver.kind else {
        unreachable!("only dimensions have versions with a hash");
    };
    let names = || silver.columns.iter().map(|column| &column.name);
    let (column, overriding, value) = match number {
        Some(column) => (format!("{column}, "), "OVERRIDING SYSTEM VALUE\n", "m$number, "),
        None => (String::new(), "", ""),
    };
    format!(
        "INSERT INTO {} ({column}{}, {}, {}, {})\n{overriding}\
         SELECT {value}{}, m$hash, m$known_from, m$known_to\nFROM {source}",
        quote::name(&silver.table),
        quote::list("", names()),
        quote::identifier(row_hash),
        quote::identifier(start),
        quote::identifier(end),
        quote::list(prefix, names()),
    )
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

/// Has what follows be found where it stands, row by row: to read all of a large table takes longer.
pub(super) const WHERE_IT_STANDS: &str = "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off";
/// And no longer.
pub(super) const AS_PLANNED: &str =
    "SET LOCAL enable_hashjoin TO DEFAULT; SET LOCAL enable_mergejoin TO DEFAULT";

/// Deletes the versions of repaired keys that should not be, by where they stand: nobody else writes now.
async fn take_out(step: &Step<'_>, table: &Name, connection: &mut PgConnection) -> Result<u64> {
    let sql = format!(
        "DELETE FROM {} AS stored\nUSING {} AS differ\n\
         WHERE stored.ctid = differ.m$row AND stored.tableoid = differ.m$table",
        quote::name(table),
        step.table("differ"),
    );
    // Of partitions each would be looked into.
    if !step.is_in_one_table() {
        return statement::execute(connection, &sql).await;
    }
    statement::set(connection, WHERE_IT_STANDS).await?;
    let gone = statement::execute(connection, &sql).await?;
    statement::set(connection, AS_PLANNED).await?;
    Ok(gone)
}
