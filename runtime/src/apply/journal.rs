//! What others than the loader wrote to a versioned dimension: their triggers have made the versions, and the
//! journal says what was written. Knows the journal's columns and nothing of how they come to be.

use sqlx::PgConnection;

use super::Step;
use super::own::key_list;
use crate::descriptor::SilverKind;
use crate::error::Result;
use crate::quote;
use crate::statement::{self, Bound, Plan};

/// Stages `uncounted_<n>`: the keys with entries that no apply has counted, and the time of the first of
/// them. Returns how many keys there are; without any there is no such table.
pub async fn stage_uncounted(step: &Step<'_>, connection: &mut PgConnection) -> Result<u64> {
    let SilverKind::Dimension { start, journal: Some(journal), .. } = &step.silver.kind else {
        return Ok(0);
    };
    let (journal, key) = (quote::name(journal), key_list(step.silver, ""));
    let last = format!("SELECT count(*) FROM {journal} WHERE journal_id > $1");
    if statement::scalar(connection, &last, &[step.counted]).await? == 0 {
        return Ok(0);
    }
    let query = format!(
        "SELECT {key}, min({}) AS m$stamp\nFROM {journal}\nWHERE journal_id > {}\nGROUP BY {key}",
        quote::identifier(start),
        step.counted,
    );
    // The last entry's number stands in it: there is no plan to keep.
    let table = format!("uncounted_{}", step.number);
    let rows = step.staging.fill(&table, &query, Plan::Anew, &Bound::default(), connection).await?;
    statement::analyze(connection, &step.table("uncounted"), rows).await?;
    Ok(rows)
}

/// A journal's entries as changes of keys, given with what their lookups said. A query without `WHERE`, its
/// table named `entry`; none where there is no journal.
pub fn entries(step: &Step<'_>) -> Option<String> {
    let SilverKind::Dimension { start, journal: Some(journal), .. } = &step.silver.kind else {
        return None;
    };
    Some(format!(
        "SELECT NULL::bigint AS m$lsn, entry.journal_id AS m$seq, entry.{} AS m$time, true AS m$given,\n\
         entry.journal_op <> 'D' AS m$present, {}\nFROM {} AS entry",
        quote::identifier(start),
        quote::list("entry.", step.silver.columns.iter().map(|column| &column.name)),
        quote::name(journal),
    ))
}
