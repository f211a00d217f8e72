//! A source that is switched over to its standby goes on with a later timeline, and may lack what its primary wrote
//! last. Where the slot came along (PostgreSQL 17), it tells: a standby takes a slot's position over once it has the log
//! up to there, so what lies below is part of either history. Reads nothing but the slot.

use sqlx::postgres::PgConnection;

use super::ASKED;
use super::position::{self, Fence, Lsn, SourcePosition, State};
use super::preflight::{self, Site};
use super::slot::{self, Slot};
use super::standing::{self, KnownTables};
use crate::error::Result;

/// Where the stream goes on from, where the source has been switched over and has all that landed; none where it has
/// not, or cannot be told to have.
pub async fn look(
    source: &mut PgConnection,
    target: &mut PgConnection,
    name: &str,
    position: &SourcePosition,
) -> Result<Option<SourcePosition>> {
    if position.state != State::Streaming || position.site.timeline == ASKED {
        return Ok(None);
    }
    let site = preflight::site(source).await?;
    if !is_promoted(&position.site, &site) {
        return Ok(None);
    }
    let Some(found) = slot::find(source, name).await? else { return Ok(None) };
    Ok(goes_on(position, &standing::known(target).await?, &found, &site))
}

/// The same; what is found is written down.
pub async fn go_over(
    source: &mut PgConnection,
    target: &mut PgConnection,
    name: &str,
    position: &SourcePosition,
) -> Result<Option<SourcePosition>> {
    let Some(after) = look(source, target, name, position).await? else { return Ok(None) };
    position::switch(target, name, position, &after).await?;
    Ok(Some(after))
}

fn is_promoted(known: &Site, now: &Site) -> bool {
    known.is_same_database(now) && now.timeline > known.timeline
}

/// What commits from the slot's position on lands from the new history, and whatever is below it has landed. A
/// transaction or a snapshot that saw beyond it may have seen what is in the old one alone.
fn goes_on(
    position: &SourcePosition,
    known: &KnownTables,
    found: &Slot,
    site: &Site,
) -> Option<SourcePosition> {
    let shared = found.confirmed;
    let last = Lsn(position.last_lsn.0 - position.epoch.offset);
    let fences = known.values().filter_map(|table| table.fence.as_ref()).chain(&position.fence);
    let saw_no_more = |(_, until): &(Fence, Lsn)| *until <= shared;
    let is_safe = found.is_synced
        && shared <= position.landed_to
        && last < shared
        && fences.into_iter().all(saw_no_more);
    is_safe.then(|| SourcePosition { site: site.clone(), landed_to: shared, ..position.clone() })
}
