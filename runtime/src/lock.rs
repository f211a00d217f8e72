//! One writer at a time: a session-level advisory lock on the warehouse that `run` and `migrate` share.
//! The server frees it when the session ends, however it ends.

use std::time::{Duration, Instant};

use sqlx::{PgConnection, Row as _};

use crate::error::{During as _, Error, Result};

/// The lock's key: `medallio` in ASCII. One warehouse a database, so one key.
const KEY: i64 = 0x6d65_6461_6c6c_696f;

/// How long a predecessor that was just killed may take until its session ends.
const PATIENCE: Duration = Duration::from_secs(10);

/// Takes the lock for the rest of the connection's session; refuses when another keeps it.
pub async fn take(connection: &mut PgConnection) -> Result<()> {
    let started = Instant::now();
    loop {
        let taken: bool = sqlx::query("SELECT pg_try_advisory_lock($1)")
            .bind(KEY)
            .fetch_one(&mut *connection)
            .await
            .during(|| "cannot take the warehouse's lock".to_owned())?
            .get(0);
        if taken {
            return Ok(());
        }
        if started.elapsed() > PATIENCE {
            return Err(held(connection).await);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn held(connection: &mut PgConnection) -> Error {
    let holder = sqlx::query(
        "SELECT activity.pid, to_char(activity.backend_start, 'YYYY-MM-DD HH24:MI:SS TZ') \
         FROM pg_locks AS lock \
         JOIN pg_stat_activity AS activity ON activity.pid = lock.pid \
         WHERE lock.locktype = 'advisory' AND lock.granted \
         AND lock.classid::bigint = $1 >> 32 AND lock.objid::bigint = $1 & 4294967295 \
         AND lock.database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    )
    .bind(KEY)
    .fetch_optional(connection)
    .await;
    let who = match holder {
        Ok(Some(row)) => {
            format!(" (server process {}, since {})", row.get::<i32, _>(0), row.get::<String, _>(1))
        }
        _ => String::new(),
    };
    Error::new(format!("another run or migration is at work on this warehouse{who}"))
        .remedy("wait for it to end, then try again: nothing was changed")
}
