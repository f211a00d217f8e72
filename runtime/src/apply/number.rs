//! Numbers that a table gives its versions as they come: a repair takes a version out and puts it in again, and what
//! has landed does not say its number. So a version keeps the number of the one that began when it does. Knows of the
//! column what the catalog says.

use sqlx::{PgConnection, Row as _};

use super::Step;
use super::difference::kept;
use super::merge::{AS_PLANNED, WHERE_IT_STANDS};
use super::own::key_list;
use crate::descriptor::SilverKind;
use crate::error::{During as _, Result};
use crate::quote;
use crate::statement;

/// The numbers of the versions that a repair takes out, in `number_<n>`.
pub struct Numbers {
    /// The column, quoted.
    pub column: String,
    /// Whether a version that comes, `differ`, has the number of one that went, `number`.
    pub same: String,
}

/// Stages them, where the table numbers its versions.
pub async fn stage(step: &Step<'_>, connection: &mut PgConnection) -> Result<Option<Numbers>> {
    let silver = step.silver;
    let SilverKind::Dimension { start, .. } = &silver.kind else { return Ok(None) };
    let table = quote::name(&silver.table);
    let row = sqlx::query(
        "SELECT attname::text FROM pg_attribute WHERE attrelid = $1::regclass AND attidentity <> '' AND NOT attisdropped",
    )
    .bind(&table)
    .fetch_optional(&mut *connection)
    .await
    .during(|| format!("cannot tell whether `{}` numbers its versions", silver.table))?;
    let Some(row) = row else { return Ok(None) };
    let column = quote::identifier(&row.get::<String, _>(0));
    let start = format!("stored.{}", quote::identifier(start));
    let query = format!(
        "SELECT {key}, {start} AS m$start, stored.{column} AS m$number\nFROM {differ} AS differ\n\
         JOIN {table} AS stored ON stored.ctid = differ.m$row AND stored.tableoid = differ.m$table",
        key = key_list(silver, "stored."),
        start = kept(step, &start, "infinity").0,
        differ = step.table("differ"),
    );
    statement::set(connection, WHERE_IT_STANDS).await?;
    step.fill("number", &query, connection).await?;
    statement::set(connection, AS_PLANNED).await?;
    let same = format!(
        "{} AND number.m$start = differ.m$known_from",
        statement::equal("number.", "differ.", &silver.key, &silver.key)
    );
    Ok(Some(Numbers { column, same }))
}
