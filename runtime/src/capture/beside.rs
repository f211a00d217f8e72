//! Positions for what lands beside the source's changes: above all that has landed, and below what the source still
//! sends, which moves up where there is no room. Knows neither files nor messages.

use sqlx::postgres::PgConnection;

use super::position::{self, Lock, Lsn, State};
use crate::descriptor::Warehouse;
use crate::error::{During as _, Result};

/// Takes the next position, within the transaction that lands something at it; nobody else lands until it ends.
pub async fn take(warehouse: &Warehouse, target: &mut PgConnection) -> Result<i64> {
    let slot = warehouse.source.slot.as_str();
    let known = position::read(target, slot, Lock::ForUpdate).await?;
    let (last, _) = position::landed(target, &warehouse.landings).await?;
    let taken = Lsn(last.0.max(0) + 1);
    let Some(known) = known.filter(|known| known.state == State::Streaming) else { return Ok(taken.0) };
    let epoch = match known.landed_to {
        // A source that is polled has no positions of its own.
        Lsn(0) => known.epoch,
        landed_to => known.epoch.above(taken, landed_to),
    };
    sqlx::query(
        "UPDATE medallion.source_position SET last_lsn = $2, lsn_offset = $3, epoch_lsn = $4 WHERE slot = $1",
    )
    .bind(slot)
    .bind(taken.0)
    .bind(epoch.offset)
    .bind(epoch.begins.0)
    .execute(target)
    .await
    .during(|| "cannot write `medallion.source_position` of the warehouse".to_owned())?;
    Ok(taken.0)
}
