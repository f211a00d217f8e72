//! Runs a whole SQL script on one of the two databases, as psql would: its transactions are its own.

use sqlx::{AssertSqlSafe, Executor as _, PgConnection};

use crate::connection::{self, Database};
use crate::error::{During as _, Error, Result};

/// Executes a script; an error names it and the line.
pub async fn execute(database: Database, url: &str, name: &str, sql: &str) -> Result<()> {
    let mut connection = connection::connect(database, url).await?;
    execute_on(&mut connection, name, sql).await?;
    sqlx::Connection::close(connection).await.during(|| format!("cannot end the session of `{name}`"))
}

/// The same, on a session that goes on.
pub async fn execute_on(connection: &mut PgConnection, name: &str, sql: &str) -> Result<()> {
    let done = connection.execute(AssertSqlSafe(sql.to_owned())).await;
    done.map(drop)
        .map_err(|cause| Error::new(format!("`{}` failed{}", name, line(sql, &cause))).because(cause))
}

/// In which line of the script the server found fault, where it says.
fn line(sql: &str, cause: &sqlx::Error) -> String {
    use sqlx::postgres::{PgDatabaseError, PgErrorPosition};
    let position = cause
        .as_database_error()
        .and_then(|error| error.try_downcast_ref::<PgDatabaseError>())
        .and_then(PgDatabaseError::position);
    match position {
        Some(PgErrorPosition::Original(place)) => {
            let before = sql.chars().take(place.saturating_sub(1));
            format!(" in line {}", before.filter(|character| *character == '\n').count() + 1)
        }
        _ => String::new(),
    }
}
