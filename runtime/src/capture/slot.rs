//! The replication slot at the source: created, looked at, moved on, dropped. Knows no message and no row.

use std::time::Duration;

use sqlx::Row as _;
use sqlx::postgres::PgConnection;

use super::position::{Fence, Former, Lsn, SourcePosition};
use super::preflight::Site;
use super::{Progress, RESNAPSHOT};
use crate::descriptor::Plugin;
use crate::error::{During as _, Error, Result};

/// A slot as the source shows it.
#[derive(Debug)]
pub struct Slot {
    plugin: String,
    database: String,
    wal_status: String,
    /// Changes that commit below it are no longer given out.
    pub confirmed: Lsn,
    /// Whether standbys of the source keep it too; before PostgreSQL 17 none does.
    pub failover: bool,
    /// Whether a standby, as which the server began, took it over from its primary; before PostgreSQL 17 none does.
    pub is_synced: bool,
}

/// A moment in a query as a `bigint`.
const FROM_ZERO: &str = "- '0/0'::pg_lsn)::bigint";

/// Looks a slot up.
pub async fn find(source: &mut PgConnection, name: &str) -> Result<Option<Slot>> {
    let unasked = || format!("cannot ask the source for replication slot `{name}`");
    let sql = format!(
        "SELECT
            coalesce(plugin::text, slot_type) AS plugin,
            coalesce(database::text, '') AS database,
            coalesce(wal_status, 'lost') AS wal_status,
            coalesce((confirmed_flush_lsn {FROM_ZERO}, 0) AS confirmed,
            coalesce((to_jsonb(slots) ->> 'failover')::boolean, false) AS failover,
            coalesce((to_jsonb(slots) ->> 'synced')::boolean, false) AS synced
        FROM pg_replication_slots AS slots
        WHERE slot_name = $1"
    );
    let row =
        sqlx::query(sqlx::AssertSqlSafe(sql)).bind(name).fetch_optional(source).await.during(unasked)?;
    let Some(row) = row else {
        return Ok(None);
    };
    Ok(Some(Slot {
        plugin: row.try_get("plugin").during(unasked)?,
        database: row.try_get("database").during(unasked)?,
        wal_status: row.try_get("wal_status").during(unasked)?,
        confirmed: Lsn(row.try_get("confirmed").during(unasked)?),
        failover: row.try_get("failover").during(unasked)?,
        is_synced: row.try_get("synced").during(unasked)?,
    }))
}

impl Slot {
    /// Refuses a slot that is not the one that has been read so far, or that has lost changes.
    pub fn check(&self, name: &str, position: &SourcePosition, plugin: Plugin) -> Result<()> {
        self.check_owner(name, &position.site)?;
        if self.plugin != plugin.name() {
            return Err(Error::new(format!(
                "replication slot `{name}` is one of plugin `{}`, and the spec says `{}`",
                self.plugin,
                plugin.name()
            ))
            .remedy(format!("say so in the spec as before; or {RESNAPSHOT}, from a new slot")));
        }
        if self.is_lost() {
            return Err(Error::new(format!(
                "replication slot `{name}` has been invalidated: the source has removed log that was not read"
            ))
            .remedy(format!("raise `max_slot_wal_keep_size` at the source, then {RESNAPSHOT}")));
        }
        if self.confirmed > position.landed_to {
            return Err(Error::new(format!(
                "replication slot `{name}` is confirmed to {}, but only changes up to {} have landed: those \
                 between are gone",
                self.confirmed, position.landed_to
            ))
            .remedy(format!("see that nothing else reads or advances the slot, then {RESNAPSHOT}")));
        }
        Ok(())
    }

    /// Refuses a source that has not come to where it had been: it was restored, and will give positions again.
    pub fn check_reached(flushed: Lsn, position: &SourcePosition) -> Result<()> {
        if flushed >= position.landed_to {
            return Ok(());
        }
        Err(Error::new(format!(
            "the source stands at {flushed}, and changes up to {} have landed: it was restored from before",
            position.landed_to
        ))
        .remedy(RESNAPSHOT))
    }

    /// Whether the source has removed log that it needs.
    pub fn is_lost(&self) -> bool {
        self.wal_status == "lost"
    }

    /// Whether it keeps more log than it may: the next checkpoint can take it away.
    pub fn is_short_of_log(&self) -> bool {
        self.wal_status == "unreserved"
    }

    /// Whether it stands as this warehouse left it when it went over to another source. One that others have made
    /// since begins beyond that, and so does one that they have read on.
    pub fn is_left_by(&self, former: &Former, site: &Site) -> bool {
        self.is_known()
            && (&former.system_identifier, former.timeline) == (&site.system_identifier, site.timeline)
            && self.database == former.database
            && self.confirmed > Lsn::default()
            && self.confirmed <= former.landed_to()
    }

    /// Whether it gives what can be read here.
    fn is_known(&self) -> bool {
        [Plugin::Pgoutput, Plugin::Wal2json].iter().any(|plugin| plugin.name() == self.plugin)
    }

    /// Refuses a slot that somebody else has made.
    pub fn check_owner(&self, name: &str, site: &Site) -> Result<()> {
        if self.is_known() && self.database == site.database {
            return Ok(());
        }
        Err(Error::new(format!(
            "replication slot `{name}` belongs to somebody else: plugin `{}`, database `{}`",
            self.plugin, self.database
        ))
        .remedy(
            "name another slot in the spec; then, where bronze has changes, `medallion source resnapshot`",
        ))
    }
}

/// The refusal of a slot that has gone.
pub fn gone(name: &str) -> Error {
    Error::new(format!("replication slot `{name}` is gone from the source, and with it the changes since"))
        .remedy(RESNAPSHOT)
}

/// After this time it is said what a slot waits for.
const PATIENCE: Duration = Duration::from_secs(2);

/// Creates a slot; gives the position from which it tells every commit. Waits for the transactions that
/// are writing at the source.
pub async fn create(
    source: &mut PgConnection,
    name: &str,
    plugin: Plugin,
    failover: bool,
    progress: &mut dyn Progress,
) -> Result<Lsn> {
    // Servers before 17 do not know the word.
    let failover = if failover { ", failover => true" } else { "" };
    let sql = format!("SELECT (lsn {FROM_ZERO} FROM pg_create_logical_replication_slot($1, $2{failover})");
    let creation =
        sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).bind(name).bind(plugin.name()).fetch_one(source);
    let mut creation = std::pin::pin!(creation);
    let created: Result<i64, sqlx::Error> = tokio::select! {
        created = &mut creation => created,
        () = tokio::time::sleep(PATIENCE) => {
            progress.note("waiting for transactions at the source to end, so that the slot can start");
            creation.await
        }
    };
    created.map(Lsn).map_err(|cause| {
        let state = cause.as_database_error().and_then(|error| error.code().map(|code| code.into_owned()));
        let remedy = match state.as_deref() {
            Some(NONE_LEFT) => "raise `max_replication_slots` at the source, or drop a slot that is not used",
            Some("42501") => "let the role replicate: ALTER ROLE … REPLICATION",
            _ if plugin != Plugin::Pgoutput => {
                "install the plugin at the source, and where the server has `output_plugin_libraries`, name it there; \
                 or leave `plugin` out of the spec: PostgreSQL's own is always there"
            }
            _ => "set right what it names, then run again",
        };
        Error::new(format!("cannot create replication slot `{name}`")).because(cause).remedy(remedy)
    })
}

/// Waits until the transactions that were writing have ended, for the snapshot that comes next: one whose
/// commit record lies below the slot's start, but which still counts as running, would be in neither.
pub async fn settle(source: &mut PgConnection, progress: &mut dyn Progress) -> Result<()> {
    let mut waited_for = snapshot(source).await?.running().to_vec();
    let mut pause = Duration::from_millis(2);
    let mut waited = Duration::ZERO;
    loop {
        let now = snapshot(source).await?;
        waited_for.retain(|xid| now.running().contains(xid));
        if waited_for.is_empty() {
            return Ok(());
        }
        if waited < PATIENCE && waited + pause >= PATIENCE {
            progress.note("waiting for transactions at the source to end, so that the snapshot can start");
        }
        tokio::time::sleep(pause).await;
        waited += pause;
        pause = (pause * 2).min(Duration::from_millis(200));
    }
}

/// What a query of the source sees now.
pub async fn snapshot(source: &mut PgConnection) -> Result<Fence> {
    let unasked = || "cannot ask the source for its running transactions".to_owned();
    let text: String =
        sqlx::query_scalar("SELECT pg_current_snapshot()::text").fetch_one(source).await.during(unasked)?;
    Fence::read(&text).ok_or_else(|| Error::new(unasked()))
}

/// Up to here the source's log is safe on its disk.
pub async fn flushed(source: &mut PgConnection) -> Result<Lsn> {
    position(source, "pg_current_wal_flush_lsn()").await
}

/// Up to here the source's log has been written by anybody.
pub async fn inserted(source: &mut PgConnection) -> Result<Lsn> {
    position(source, "pg_current_wal_insert_lsn()").await
}

async fn position(source: &mut PgConnection, function: &str) -> Result<Lsn> {
    let sql = format!("SELECT ({function} {FROM_ZERO}");
    let position = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
        .fetch_one(source)
        .await
        .during(|| "cannot ask the source for its position".to_owned())?;
    Ok(Lsn(position))
}

/// Lets the source forget what commits below a position.
pub async fn advance(source: &mut PgConnection, name: &str, to: Lsn) -> Result<()> {
    sqlx::query("SELECT pg_replication_slot_advance($1, $2::pg_lsn)")
        .bind(name)
        .bind(to.to_string())
        .execute(source)
        .await
        .during(|| format!("cannot advance replication slot `{name}` to {to}"))?;
    Ok(())
}

/// Has a slot give nothing of what commits below a position.
pub async fn pass_over(source: &mut PgConnection, name: &str, to: Lsn) -> Result<()> {
    sqlx::query(
        "SELECT pg_replication_slot_advance(slot_name, $2::pg_lsn)
        FROM pg_replication_slots
        WHERE slot_name = $1 AND confirmed_flush_lsn < $2::pg_lsn",
    )
    .bind(name)
    .bind(to.to_string())
    .execute(source)
    .await
    .during(|| format!("cannot advance replication slot `{name}` to {to}"))?;
    Ok(())
}

/// Makes a slot that stands where another one does.
pub async fn copy(source: &mut PgConnection, name: &str, to: &str) -> Result<()> {
    sqlx::query("SELECT pg_copy_logical_replication_slot($1, $2)")
        .bind(name)
        .bind(to)
        .execute(source)
        .await
        .during(|| format!("cannot copy replication slot `{name}` to `{to}`"))?;
    Ok(())
}

/// Drops a slot.
pub async fn drop(source: &mut PgConnection, name: &str) -> Result<()> {
    sqlx::query("SELECT pg_drop_replication_slot($1)")
        .bind(name)
        .execute(source)
        .await
        .during(|| format!("cannot drop replication slot `{name}`"))?;
    Ok(())
}

/// SQLSTATE of a slot that another process reads.
pub const IN_USE: &str = "55006";

/// SQLSTATE of a server that has no slot left.
pub const NONE_LEFT: &str = "53400";

/// How long a slot may stay in use: a killed loader's process at the source ends only when it next writes.
const BUSY: Duration = Duration::from_secs(60);

/// Waits for a slot that another process reads.
#[derive(Debug)]
pub struct Busy {
    waited: Duration,
    pause: Duration,
}

impl Default for Busy {
    fn default() -> Self {
        Self { waited: Duration::ZERO, pause: Duration::from_millis(20) }
    }
}

impl Busy {
    /// Waits if the error says that the slot is in use and patience is left; gives any other error back.
    pub async fn wait(&mut self, error: Error, progress: &mut dyn Progress) -> Result<()> {
        if error.sqlstate().as_deref() != Some(IN_USE) {
            return Err(error);
        }
        if self.waited >= BUSY {
            return Err(error.remedy("see who reads the slot: SELECT active_pid FROM pg_replication_slots"));
        }
        if self.waited.is_zero() {
            progress.note("waiting for the replication slot, which another process reads");
        }
        tokio::time::sleep(self.pause).await;
        self.waited += self.pause;
        self.pause = (self.pause * 2).min(Duration::from_secs(1));
        Ok(())
    }
}
