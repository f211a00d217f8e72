//! The one error of the runtime: the world failed. Says what happened and where (relation, position,
//! statement), what caused it and what to do next. Never carries a URL, so that no password gets out.

use std::fmt;

use sea_orm::{DbErr, RuntimeErr};
use sqlx::postgres::PgDatabaseError;

/// What went wrong, why, and the way out.
#[derive(Debug)]
pub struct Error {
    what: String,
    remedy: Option<String>,
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The cause of what may go away by itself: something that files are read from does not answer.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unanswered(pub String);

/// The runtime's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error by what happened: lower case, names in backticks, no final stop.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: None, cause: None }
    }

    /// What to do next, as a sentence of its own or a command.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// What caused it.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// The same error, seen from further out: what was being done stands first, this one is its cause.
    #[must_use]
    pub fn within(self, what: impl Into<String>) -> Self {
        let remedy = self.remedy.clone();
        Self { what: what.into(), remedy, cause: Some(Box::new(Self { remedy: None, ..self })) }
    }

    /// The SQLSTATE of the database error behind this one, where there is one.
    pub fn sqlstate(&self) -> Option<String> {
        let cause = self.cause.as_deref()?;
        Some(from_database(cause)?.code().to_owned())
    }

    /// Whether the connection is gone, or the server behind it on its way out or in.
    pub fn is_of_connection(&self) -> bool {
        let cause = self.cause.as_deref().and_then(|cause| driver_error(cause));
        match cause {
            Some(sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed) => true,
            _ => self.sqlstate().is_some_and(|state| {
                state.starts_with("08") || state.starts_with("57P") || state == "53300" || state == "25006"
            }),
        }
    }

    /// Whether it may go away by itself: a lost connection, a full disk, another's lock, files that are out of reach.
    pub fn is_passing(&self) -> bool {
        const PASSING: [&str; 8] = ["40001", "40P01", "53100", "53200", "55P03", "55006", "57014", "58030"];
        let first = self.cause.as_deref().map(|cause| cause as &(dyn std::error::Error + 'static));
        let is_unanswered =
            std::iter::successors(first, |cause| cause.source()).any(|cause| cause.is::<Unanswered>());
        is_unanswered
            || self.is_of_connection()
            || self.sqlstate().is_some_and(|state| PASSING.contains(&state.as_str()))
    }

    /// What happened, alone.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// The error's own remedy, else the one that its cause is known to have.
    pub fn way_out(&self) -> Option<String> {
        let known = || known_remedy(self.cause.as_deref()?).map(str::to_owned);
        self.remedy.clone().or_else(known)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.what)?;
        let mut cause = self.cause.as_deref();
        while let Some(error) = cause {
            match error.downcast_ref::<Self>() {
                Some(inner) => {
                    write!(formatter, "\n  because: {}", inner.what)?;
                    cause = inner.cause.as_deref();
                }
                None => {
                    write!(formatter, "\n  because: {}", reason(error))?;
                    cause = None;
                }
            }
        }
        // The server's own hint is nearest to the cause.
        let hint = self.cause.as_deref().and_then(|cause| from_database(cause)?.hint());
        if let Some(hint) = hint {
            write!(formatter, "\n  = {}", hint.trim_end_matches('.'))?;
        }
        if let Some(remedy) = self.way_out() {
            write!(formatter, "\n  = {remedy}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

/// A database's error in its own words (message and detail), any other as it shows itself.
fn reason(cause: &(dyn std::error::Error + 'static)) -> String {
    let Some(error) = from_database(cause) else {
        return cause.to_string();
    };
    let mut text = format!("{} (SQLSTATE {})", error.message(), error.code());
    if let Some(more) = error.detail() {
        text.push_str("; ");
        text.push_str(more.trim_end_matches('.'));
    }
    text
}

/// The server's own error at the bottom of a chain of causes.
fn from_database<'a>(cause: &'a (dyn std::error::Error + 'static)) -> Option<&'a PgDatabaseError> {
    let driver = driver_error(cause)?;
    driver.as_database_error()?.try_downcast_ref::<PgDatabaseError>()
}

fn driver_error<'a>(cause: &'a (dyn std::error::Error + 'static)) -> Option<&'a sqlx::Error> {
    let mut next = Some(cause);
    while let Some(error) = next {
        if let Some(driver) = error.downcast_ref::<sqlx::Error>() {
            return Some(driver);
        }
        // SeaORM shares the driver's error, which hides its type from `source`.
        if let Some(DbErr::Conn(shared) | DbErr::Exec(shared) | DbErr::Query(shared)) =
            error.downcast_ref::<DbErr>()
            && let RuntimeErr::SqlxError(driver) = shared
        {
            return Some(driver);
        }
        next = error.source();
    }
    None
}

/// What to do about causes that mean the same wherever they are met (SQLSTATE: manual, appendix A).
fn known_remedy(cause: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    if let Some(sqlx::Error::Io(_)) = driver_error(cause) {
        return Some(
            "the connection was lost: see to the server, then try again; what was not committed is undone",
        );
    }
    let error = from_database(cause)?;
    match error.code() {
        "08001" | "08006" if is_of_bronze(error) => Some(
            "the warehouse's server does not reach the bronze database: is that running? check host, port and login in \
             BRONZE_DATABASE_URL, and run `medallion migrate up` where they are others than before",
        ),
        "42501" => Some("grant the role what it lacks, or connect as the owner"),
        "22021" => Some(
            "a value's bytes are no UTF-8, which a database in SQL_ASCII takes: mend the row at the source, then \
             `medallion source resnapshot` (with `--dry-run` first); move such a database to one in UTF8",
        ),
        "25006" => Some("the session is read-only: connect to the primary, with a role that may write"),
        "53100" => Some("free space on the server's disk, then run again: the transaction was rolled back"),
        "53200" if error.hint().is_some_and(|hint| hint.contains("max_locks_per_transaction")) => Some(
            "the server has no room for so many locks at once: raise its max_locks_per_transaction, which takes a restart",
        ),
        "53200" => Some("the server is out of memory: lower its work_mem or give it more"),
        "55P03" => Some("somebody else keeps a lock on the object: try again when they are done"),
        "57P01" | "57P02" | "57P03" => Some("the server is stopping or starting: run again when it is up"),
        "58P01" => Some("a file of an extension is missing: install its package on the server"),
        _ => None,
    }
}

/// Whether it is what the warehouse's server says of the one that foreign tables are read from, not a pooler of its own.
fn is_of_bronze(error: &PgDatabaseError) -> bool {
    error.message().contains("medallion_bronze")
        || error.r#where().is_some_and(|place| place.contains("remote SQL command"))
}

/// Says what was being done when something failed.
pub trait During<T> {
    /// Turns a failure into an error that says what could not be done.
    fn during(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E> During<T> for std::result::Result<T, E>
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn during(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|cause| Error::new(what()).because(cause))
    }
}
