//! Whether the stream can go on from what has landed, for who only looks: the source is the one that was captured and
//! has come as far, and its slot has all that follows. Says what a run would refuse, and changes nothing.

use sqlx::postgres::PgConnection;

use super::position::{self, Lock, State};
use super::preflight::{self, Problems};
use super::slot::{self, Slot};
use super::{ASKED, switchover};
use crate::descriptor::Warehouse;
use crate::error::{Error, Result};

/// Why a run would refuse to go on, with the way out; none where it would not, or where nothing has begun.
pub async fn refusal(
    warehouse: &Warehouse,
    source: &mut PgConnection,
    target: &mut PgConnection,
) -> Result<Option<Error>> {
    let name = &warehouse.source.slot;
    // Before the position, which another process may move meanwhile: what is confirmed has landed.
    let found = slot::find(source, name).await?;
    let position = position::read(target, name, Lock::None).await?;
    let Some(position) = position else { return Ok(None) };
    if position.state != State::Streaming || position.site.timeline == ASKED {
        return Ok(None);
    }
    let position = switchover::look(source, target, name, &position).await?.unwrap_or(position);
    let mut problems = Problems::default();
    preflight::check_site(source, &position.site, &mut problems).await?;
    if let Err(error) = problems.refuse() {
        return Ok(Some(error));
    }
    let Some(found) = found else { return Ok(Some(slot::gone(name))) };
    let reached = Slot::check_reached(slot::flushed(source).await?, &position);
    let checked = reached.and_then(|()| found.check(name, &position, warehouse.source.plugin));
    Ok(checked.err())
}
