//! `warehouse query`: a read-only question, as of any time, given on the command line or on standard input;
//! on a terminal, a prompt.

use std::io::{self, BufWriter, IsTerminal as _, Read as _};

use medallion_verbs::query::{Arguments, Format};
use sqlx::{Connection as _, PgConnection, Row as _};

use super::{Outcome, prompt};
use crate::answer::{self, Printer, Settings};
use crate::connection::{self, Database};
use crate::descriptor::Warehouse;
use crate::error::{During as _, Error, Result};
use crate::migrate;
use crate::place::Place;
use crate::progress::{Lines, Progress as _};
use crate::system_time::{self, Guard};

pub async fn run(warehouse: &Warehouse, arguments: &Arguments) -> Result<Outcome> {
    let settings = Settings { as_of: arguments.as_of.clone(), timeout: arguments.timeout };
    let is_prompted = io::stdin().is_terminal() && io::stdout().is_terminal() && !arguments.explain;
    let sql = match &arguments.sql {
        Some(sql) => sql.clone(),
        None if is_prompted => {
            let session = Session::open(warehouse, Place::find(warehouse)?).await?;
            prompt::run(session, settings, arguments.format).await?;
            return Ok(Outcome::Done);
        }
        None => read()?,
    };
    if arguments.explain {
        let question = system_time::rewrite(warehouse, &sql, Guard::Each)?;
        super::answer(&format!("{}\n", question.sql.trim_end()))?;
        return Ok(Outcome::Done);
    }
    let place = Place::find(warehouse)?;
    let mut session = Session::open(warehouse, place).await?;
    session.ask(&sql, &settings, arguments.format).await?;
    Ok(Outcome::Done)
}

fn read() -> Result<String> {
    let mut sql = String::new();
    io::stdin()
        .read_to_string(&mut sql)
        .during(|| "cannot read the question from standard input".to_owned())?;
    if sql.trim().is_empty() {
        return Err(Error::new("nothing is asked").remedy("write `medallion query \"SELECT …\"`"));
    }
    Ok(sql)
}

/// A session that asks, and can be stopped while it does.
pub(super) struct Session<'a> {
    pub warehouse: &'a Warehouse,
    place: Place,
    pub connection: PgConnection,
    /// The server's process that works for it.
    process: i32,
}

impl<'a> Session<'a> {
    pub async fn open(warehouse: &'a Warehouse, place: Place) -> Result<Self> {
        let mut connection = connection::connect(Database::Warehouse, &place.warehouse).await?;
        check(warehouse, &mut connection).await?;
        let row = sqlx::query("SELECT pg_backend_pid()")
            .fetch_one(&mut connection)
            .await
            .during(|| "cannot tell which session this is".to_owned())?;
        Ok(Self { warehouse, place, process: row.get(0), connection })
    }

    /// The session, or another one where it has ended.
    pub async fn revive(&mut self) -> Result<()> {
        if self.connection.ping().await.is_err() {
            *self = Self::open(self.warehouse, self.place.clone()).await?;
        }
        Ok(())
    }

    /// Asks, and prints the answer. Ctrl-C cancels it at the server.
    pub async fn ask(&mut self, sql: &str, settings: &Settings, format: Format) -> Result<()> {
        if settings.as_of.is_some() {
            for schema in read_as_of_now(self.warehouse, sql) {
                Lines.warn(&format!(
                    "`{schema}.…` is read as of now: only names without a schema follow --as-of"
                ));
            }
        }
        let mut printer = Printer::new(format, terminal_width(), BufWriter::new(io::stdout()));
        let asking = answer::ask(self.warehouse, &mut self.connection, sql, settings, &mut printer);
        let mut asking = std::pin::pin!(asking);
        tokio::select! {
            answered = &mut asking => return answered,
            signal = tokio::signal::ctrl_c() => signal.during(|| "cannot listen for signals".to_owned())?,
        }
        // Where it cannot be stopped, nobody waits for it.
        cancel(&self.place, self.process).await?;
        // The session is free again once the server has said so.
        let _ = asking.await;
        Err(Error::new("interrupted"))
    }
}

/// Refuses a database that this binary was not built for; a role that may not look is let in, for it asks by
/// the relations' names.
async fn check(warehouse: &Warehouse, connection: &mut PgConnection) -> Result<()> {
    match migrate::check(warehouse, connection).await {
        Err(error) if error.sqlstate().as_deref() == Some("42501") => Ok(()),
        checked => checked,
    }
}

/// Stops what a session is doing, by way of another one.
async fn cancel(place: &Place, process: i32) -> Result<()> {
    let mut other = connection::connect(Database::Warehouse, &place.warehouse).await?;
    sqlx::query("SELECT pg_cancel_backend($1)")
        .bind(process)
        .execute(&mut other)
        .await
        .map(drop)
        .during(|| "cannot cancel the question".to_owned())
}

/// How wide the terminal is; none where the answer goes elsewhere, and has all the room it wants.
fn terminal_width() -> Option<u16> {
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    rustix::termios::tcgetwinsize(&stdout).ok().map(|size| size.ws_col).filter(|width| *width > 0)
}

/// The warehouse's schemas that a question reads relations of by their full names.
fn read_as_of_now(warehouse: &Warehouse, sql: &str) -> Vec<String> {
    let named = system_time::schemas(sql).into_iter();
    let is_own = |schema: &String| {
        warehouse.schemas.contains(&schema.as_str())
            || warehouse.landings.iter().any(|landing| landing.table.schema == *schema)
    };
    named.filter(is_own).collect()
}
