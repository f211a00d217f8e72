//! Rows that are gone from a polled table, found by comparing keys: all that the source has against all that landed
//! and was not deleted. Its cost follows the table, not the changes. Knows no page.

use super::super::Way;
use super::super::position::SystemTime;
use super::super::standing;
use super::Open;
use super::table::Table;
use crate::error::Result;
use crate::land::{self, polled};
use crate::quote;

/// What a table's log told last: where rows were truncated, a delete lands for each. From now on it is polled.
pub async fn take_over(way: &mut Way<'_>, table: &Table) -> Result<()> {
    let landing = table.landing(way.warehouse)?;
    let mut open = Open::begin(way).await?;
    let time = super::table::now(open.source).await?.max(open.last_time.next());
    let landed = polled::delete_truncated(&mut open.target, landing, open.base.0, time.0).await?;
    standing::forget(&mut open.target, landing).await?;
    open.commit(table.at, &landed).await
}

/// Lands a delete for each row that is gone; they were there a comparison before, and are not at this time.
pub async fn land(way: &mut Way<'_>, table: &Table, time: SystemTime) -> Result<()> {
    let landing = table.landing(way.warehouse)?;
    let mut open = Open::begin(way).await?;
    let object: Vec<String> = table
        .key
        .iter()
        .map(|one| format!("{}, t.{}", quote::literal(&one.name), quote::identifier(&one.name)))
        .collect();
    let keys =
        format!("SELECT jsonb_build_object({}) FROM {} AS t", object.join(", "), quote::name(&table.name));
    let what = format!("the keys of `{}`", table.name);
    polled::prepare_keys(&mut open.target).await?;
    let (copy_out, copy_in) = (land::copy_out(&keys), polled::copy_keys_in());
    land::pipe(open.source, &copy_out, &mut open.target, &copy_in, &what).await?;
    let landed = polled::delete_missing(&mut open.target, landing, open.base.0, time.0).await?;
    standing::write_compared(&mut open.target, landing, table.oid, time).await?;
    open.commit(table.at, &landed).await
}
