//! How long something took, how much memory this process had meanwhile, and how much write-ahead log a server wrote.
//! Knows no benchmark.

use std::time::Instant;

use sqlx::{Executor as _, PgConnection, Row as _};

/// What is being measured.
#[derive(Debug)]
pub struct Running {
    began: Instant,
    log: Option<i64>,
}

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    pub seconds: f64,
    /// Bytes of write-ahead log.
    pub log: Option<u64>,
}

/// Starts the clock alone.
#[must_use]
pub fn start() -> Running {
    Running { began: Instant::now(), log: None }
}

/// Starts the clock, and notes how far the log of a server is, of which nobody else makes use.
pub async fn start_on(session: &mut PgConnection) -> Result<Running, sqlx::Error> {
    let log = Some(position(session).await?);
    Ok(Running { began: Instant::now(), log })
}

impl Running {
    /// Stops the clock.
    #[must_use]
    pub fn stop(self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// Stops the clock, then sees how far the log has come.
    pub async fn stop_on(self, session: &mut PgConnection) -> Result<Measured, sqlx::Error> {
        let seconds = self.began.elapsed().as_secs_f64();
        let now = position(session).await?;
        Ok(Measured { seconds, log: self.log.and_then(|before| u64::try_from(now - before).ok()) })
    }
}

async fn position(session: &mut PgConnection) -> Result<i64, sqlx::Error> {
    let sql = "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint";
    session.fetch_one(sql).await?.try_get(0)
}

/// The most memory that this process has had, in bytes, where the system tells (proc(5): `VmHWM`).
#[must_use]
pub fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// Lets the peak begin anew at what the process has now, where the system does that (proc(5): `clear_refs`).
pub fn forget_peak_memory() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}
