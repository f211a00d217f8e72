//! How long a migration waits for what others use, and what it says meanwhile. Who waits for a strong lock makes
//! everybody wait who comes later: so a try is short, what it had done is rolled back, and others go ahead before the
//! next one. Knows nothing of what a migration does.

use std::sync::Mutex;
use std::time::Duration;

use sea_orm::{ConnectionTrait as _, DatabaseConnection, DbErr, Statement};
use sqlx::{PgConnection, Row as _};

use crate::error::{During as _, Error, Result};

/// How often it is looked at who is in the way.
const GLANCE: Duration = Duration::from_millis(200);

/// The longest that others go ahead between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// How patient migrations are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// How long one try waits for a lock.
    pub lock: Duration,
    /// How long it goes on waiting, in all its tries: what a try gets done does not count.
    pub whole: Duration,
    /// How long one statement may take; nothing for as long as it needs.
    pub statement: Option<Duration>,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            lock: Duration::from_secs(2),
            whole: Duration::from_secs(60),
            statement: Some(Duration::from_secs(3600)),
        }
    }
}

impl Patience {
    /// What a session is told of it. What works beside others keeps nobody waiting, and takes as long as it takes.
    fn settings(&self, in_transaction: bool) -> String {
        let lock = self.lock.as_millis();
        let statement = self.statement.filter(|_| in_transaction).map_or(0, |limit| limit.as_millis());
        format!("SET lock_timeout = {lock}; SET statement_timeout = {statement}")
    }
}

/// A migration at work: its session, and another one that sees who is in its way.
pub(super) struct Work<'a> {
    pub(super) database: &'a DatabaseConnection,
    pub(super) guard: &'a mut PgConnection,
    pub(super) patience: Patience,
    pub(super) say: &'a mut (dyn FnMut(&str) + Send),
}

impl Work<'_> {
    /// Does something until it is done, fails, or has waited for too long.
    pub(super) async fn persist<F>(
        &mut self,
        name: &str,
        failed: &str,
        in_transaction: bool,
        mut attempt: impl FnMut() -> F,
    ) -> Result<()>
    where
        F: Future<Output = Result<(), DbErr>>,
    {
        let mut waited = Duration::ZERO;
        let mut pause = Duration::from_secs(1).min(self.patience.lock);
        let failed = || failed.to_owned();
        self.database.execute_unprepared(&self.patience.settings(in_transaction)).await.during(failed)?;
        let pid = pid(self.database).await.during(failed)?;
        loop {
            let seen = Mutex::new(None);
            let outcome = {
                let watch = watch(self.guard, pid, name, &seen, self.say);
                tokio::select! {
                    outcome = attempt() => outcome,
                    never = watch => never?,
                }
            };
            let Err(cause) = outcome else { return Ok(()) };
            let error = Error::new(failed()).because(cause);
            if !is_contended(&error) {
                return Err(error);
            }
            let in_the_way = seen.into_inner().ok().flatten();
            waited += self.patience.lock;
            if waited + pause > self.patience.whole {
                let remedy = match in_the_way {
                    Some(blocker) => format!("{blocker}; let it end, then try again"),
                    None => "somebody else keeps a lock: try again when they are done".to_owned(),
                };
                return Err(error.remedy(remedy));
            }
            (self.say)(&format!(
                "{name}: no lock within {:?}; lets others go ahead, and tries again in {pause:?}",
                self.patience.lock
            ));
            tokio::time::sleep(pause).await;
            waited += pause;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// Whether others were in the way: a lock that was not had in time, or two who wait for each other.
fn is_contended(error: &Error) -> bool {
    matches!(error.sqlstate().as_deref(), Some("55P03" | "40P01"))
}

async fn pid(database: &DatabaseConnection) -> Result<i32, DbErr> {
    let ask = Statement::from_string(database.get_database_backend(), "SELECT pg_backend_pid()");
    let row = database.query_one_raw(ask).await?;
    row.map_or(Ok(0), |row| row.try_get_by_index(0))
}

/// Says whom a session waits for, each of them once. Ends only where it fails.
async fn watch<T>(
    guard: &mut PgConnection,
    pid: i32,
    name: &str,
    seen: &Mutex<Option<String>>,
    say: &mut (dyn FnMut(&str) + Send),
) -> Result<T> {
    loop {
        tokio::time::sleep(GLANCE).await;
        let Some(blocker) = blocker(guard, pid).await? else { continue };
        let mut last = seen.lock().expect("nobody panics with it");
        if last.as_ref() != Some(&blocker) {
            say(&format!("{name}: waits, for {blocker}"));
            *last = Some(blocker);
        }
    }
}

/// Who keeps a session waiting, and with what.
async fn blocker(guard: &mut PgConnection, pid: i32) -> Result<Option<String>> {
    let row = sqlx::query(
        "SELECT
            wanted.relation::regclass::text,
            blocking.pid,
            coalesce(activity.usename, ''),
            coalesce(activity.application_name, ''),
            coalesce(activity.state, ''),
            coalesce(to_char(activity.xact_start, 'HH24:MI:SS TZ'), '')
        FROM pg_locks AS wanted
        CROSS JOIN LATERAL unnest(pg_blocking_pids(wanted.pid)) AS blocking (pid)
        LEFT JOIN pg_stat_activity AS activity ON activity.pid = blocking.pid
        WHERE wanted.pid = $1 AND NOT wanted.granted
        ORDER BY activity.xact_start
        LIMIT 1",
    )
    .bind(pid)
    .fetch_optional(guard)
    .await
    .during(|| "cannot see who keeps the migration waiting".to_owned())?;
    Ok(row.map(|row| {
        let text = |index: usize| row.get::<String, _>(index);
        let mut said = format!("server process {} of `{}`", row.get::<i32, _>(1), text(2));
        let details: Vec<String> = [text(3), text(4)].into_iter().filter(|one| !one.is_empty()).collect();
        if !details.is_empty() {
            said.push_str(&format!(" ({})", details.join(", ")));
        }
        match row.get::<Option<String>, _>(0) {
            Some(relation) => said.push_str(&format!(" uses {relation}")),
            None => said.push_str(" has not ended its transaction"),
        }
        let since = text(5);
        if !since.is_empty() {
            said.push_str(&format!(", since {since}"));
        }
        said
    }))
}
