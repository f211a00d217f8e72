//! What the loader lands below the watermark: others may have landed later positions by hand, and those were
//! applied. The next apply repairs the keys. Others' rows are noted by a trigger, which would cost the loader
//! much: it says so, and notes its own.

use sqlx::postgres::PgConnection;

use super::Place;
use crate::descriptor::Landing;
use crate::error::Result;
use crate::quote;
use crate::statement;

/// Says for the rest of the transaction that the loader is landing.
pub async fn begin(target: &mut PgConnection) -> Result<()> {
    statement::execute(target, "SELECT set_config('medallion.landing', 'on', true)").await.map(drop)
}

/// Notes what has landed above one place, if anything has been applied beyond it: of what was noted, the next
/// apply sees what it has passed by.
pub async fn note(target: &mut PgConnection, landings: &[Landing], after: Place) -> Result<()> {
    let beyond = "SELECT count(*) FROM medallion.watermark \
                  WHERE lsn > $1 OR system_time > '2000-01-01 00:00:00+00'::timestamptz + $2 * interval '1 microsecond'";
    // Before anything has landed there is no time.
    if statement::scalar(target, beyond, &[after.lsn, after.time.max(0)]).await? == 0 {
        return Ok(());
    }
    for landing in landings {
        let sql = format!(
            "INSERT INTO medallion.late_change (relation, lsn, seq)\n\
             SELECT {}, lsn, seq\nFROM {}\nWHERE lsn > {}\nON CONFLICT DO NOTHING",
            quote::literal(&landing.table.to_string()),
            quote::name(&landing.table),
            after.lsn,
        );
        statement::execute(target, &sql).await?;
    }
    Ok(())
}
