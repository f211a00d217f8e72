//! One writer at a time: a session-level advisory lock on the warehouse that `run`, `watch` and `migrate`
//! share. The server frees it when the session ends, however it ends.

use std::time::{Duration, Instant};

use sqlx::{PgConnection, Row as _};

use crate::error::{During as _, Error, Result};

/// The lock's key: `medallio` in ASCII. One warehouse a database, so one key.
const KEY: i64 = 0x6d65_6461_6c6c_696f;

/// How long a predecessor that was just killed may take until its session ends.
const PATIENCE: Duration = Duration::from_secs(10);

/// The lock of the one who watches: it lets others have the warehouse in between, but not another watch.
const WATCH: i64 = KEY + 1;

/// The lock of the one who migrates: it lets others have the warehouse while indexes are built beside them, but not
/// another migration.
const MIGRATE: i64 = KEY + 2;

/// How long one may stay that was just asked to go on waiting.
const PAUSE: Duration = Duration::from_millis(100);

/// Takes the lock for the rest of the connection's session; refuses when another keeps it. Who waits stands in
/// a queue where a watch sees it, and makes way.
pub async fn take(connection: &mut PgConnection) -> Result<()> {
    const LOCK_NOT_AVAILABLE: &str = "55P03";
    let failed = || "cannot take the warehouse's lock".to_owned();
    let before: String = sqlx::query_scalar("SELECT current_setting('lock_timeout')")
        .fetch_one(&mut *connection)
        .await
        .during(failed)?;
    limit(connection, &format!("{}ms", PATIENCE.as_millis())).await?;
    let taken = sqlx::query("SELECT pg_advisory_lock($1)").bind(KEY).execute(&mut *connection).await;
    if let Err(cause) = taken {
        let error = Error::new(failed()).because(cause);
        let is_held = error.sqlstate().as_deref() == Some(LOCK_NOT_AVAILABLE);
        return Err(if is_held { held(connection).await } else { error });
    }
    limit(connection, &before).await
}

async fn limit(connection: &mut PgConnection, time: &str) -> Result<()> {
    sqlx::query("SELECT set_config('lock_timeout', $1, false)")
        .bind(time)
        .execute(connection)
        .await
        .map(drop)
        .during(|| "cannot set how long to wait for the warehouse's lock".to_owned())
}

/// Takes the lock as soon as nobody has it, however long that takes; says once who has it. Does not stand in
/// the queue: a statement that waits for hours would be waited for by others.
pub async fn wait(connection: &mut PgConnection, mut say: impl FnMut(&str)) -> Result<()> {
    let started = Instant::now();
    let mut said = false;
    while !try_take(connection, KEY).await? {
        if !said && started.elapsed() > PAUSE * 10 {
            said = true;
            say(&format!(
                "waiting for another run or migration on this warehouse{}",
                holder(connection).await
            ));
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// Gives the lock back; whoever stands in the queue has it from now on.
pub async fn release(connection: &mut PgConnection) -> Result<()> {
    sqlx::query("SELECT pg_advisory_unlock($1)")
        .bind(KEY)
        .execute(connection)
        .await
        .map(drop)
        .during(|| "cannot give the warehouse's lock back".to_owned())
}

/// Takes the lock of the one who watches; refuses when somebody else does.
pub async fn watch_alone(connection: &mut PgConnection) -> Result<()> {
    if alone(connection, WATCH).await? {
        return Ok(());
    }
    Err(Error::new("another `medallion watch` is at work on this warehouse")
        .remedy("one is enough: stop it first, or leave it to its work"))
}

/// Takes the lock of the one who migrates; refuses when somebody else does.
pub async fn migrate_alone(connection: &mut PgConnection) -> Result<()> {
    if alone(connection, MIGRATE).await? {
        return Ok(());
    }
    Err(Error::new("another migration is at work on this warehouse")
        .remedy("wait for it to end, then try again: nothing was changed"))
}

async fn alone(connection: &mut PgConnection, key: i64) -> Result<bool> {
    let started = Instant::now();
    while !try_take(connection, key).await? {
        if started.elapsed() > PATIENCE / 2 {
            return Ok(false);
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(true)
}

/// Whether somebody waits for the lock.
pub async fn is_wanted(connection: &mut PgConnection) -> Result<bool> {
    sqlx::query_scalar(
        "SELECT EXISTS (
            SELECT
            FROM pg_locks
            WHERE locktype = 'advisory' AND NOT granted
            AND classid::bigint = $1 >> 32 AND objid::bigint = $1 & 4294967295
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        )",
    )
    .bind(KEY)
    .fetch_one(connection)
    .await
    .during(|| "cannot see who waits for the warehouse's lock".to_owned())
}

async fn try_take(connection: &mut PgConnection, key: i64) -> Result<bool> {
    sqlx::query_scalar("SELECT pg_try_advisory_lock($1)")
        .bind(key)
        .fetch_one(connection)
        .await
        .during(|| "cannot take the warehouse's lock".to_owned())
}

async fn held(connection: &mut PgConnection) -> Error {
    let who = holder(connection).await;
    Error::new(format!("another run or migration is at work on this warehouse{who}"))
        .remedy("wait for it to end, then try again: nothing was changed")
}

/// Who has the lock, as the end of a sentence.
async fn holder(connection: &mut PgConnection) -> String {
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
    match holder {
        Ok(Some(row)) => {
            format!(" (server process {}, since {})", row.get::<i32, _>(0), row.get::<String, _>(1))
        }
        _ => String::new(),
    }
}
