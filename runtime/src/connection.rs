//! Connections to the source and the warehouse: pinned sessions, and errors that say what to do without
//! ever showing a URL. Knows nothing of what is asked over them.

use std::io;
use std::str::FromStr as _;

use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};

use crate::error::{Error, Result};
use crate::quote;

/// Which database is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Database {
    /// The OLTP database that changes come from.
    Source,
    /// The database that holds the warehouse.
    Warehouse,
    /// The database that changes land in, where bronze stands apart.
    Bronze,
}

impl Database {
    /// The environment variable that names it.
    pub fn variable(self) -> &'static str {
        match self {
            Self::Source => "SOURCE_DATABASE_URL",
            Self::Warehouse => "DATABASE_URL",
            Self::Bronze => "BRONZE_DATABASE_URL",
        }
    }

    /// What it is called in a sentence.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Warehouse => "warehouse",
            Self::Bronze => "bronze database",
        }
    }
}

/// The settings of every session: those on which the text of a value depends, so that the same row has the same JSON
/// and the same hash; and after how long the server gives up who has vanished, with the locks that it held (over a
/// socket of the machine's own it needs no telling).
pub const SESSION: [(&str, &str); 10] = [
    ("TimeZone", "UTC"),
    ("DateStyle", "ISO, YMD"),
    ("IntervalStyle", "postgres"),
    ("extra_float_digits", "1"),
    ("bytea_output", "hex"),
    ("client_encoding", "UTF8"),
    ("tcp_keepalives_idle", "30"),
    ("tcp_keepalives_interval", "10"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "60000"),
];

/// The limits that a role or a database may set for its sessions: of time, and to reading. No session has them, for each
/// takes the time that it needs, and may write; what is to be limited sets its own. Some are younger than the oldest
/// server that we work with.
pub const LIMITS: [&str; 6] = [
    "statement_timeout",
    "lock_timeout",
    "transaction_timeout",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "default_transaction_read_only",
];

/// Reads a URL into options; whoever connects by them pins the session.
pub fn options(database: Database, url: &str) -> Result<PgConnectOptions> {
    // No cause: it would repeat the URL, and with it the password.
    let malformed = || {
        Error::new(format!("`{}` is not a PostgreSQL URL", database.variable()))
            .remedy("write it as postgresql://user:password@host:5432/database")
    };
    // The driver takes any scheme for its own.
    let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    if !matches!(scheme.as_deref(), Some("postgres" | "postgresql")) {
        return Err(malformed());
    }
    if medallion_server::is_cut_short(url) {
        return Err(Error::new(format!("`{}` is not a PostgreSQL URL", database.variable()))
            .remedy(medallion_server::CUT_SHORT));
    }
    let options = match with_host(url) {
        None => PgConnectOptions::from_str(url).map_err(|_| malformed())?,
        Some(url) => {
            let options = PgConnectOptions::from_str(&url).map_err(|_| malformed())?;
            // What the environment or the driver takes where nothing is said.
            match options.get_socket().is_none() && options.get_host() == NOWHERE {
                true => {
                    let host = PgConnectOptions::new_without_pgpass().get_host().to_owned();
                    options.host(&host)
                }
                false => options,
            }
        }
    };
    Ok(options.application_name("medallion").disable_statement_logging())
}

/// Stands for a host that is not said. No name ends so.
const NOWHERE: &str = "nowhere.invalid";

/// The URL with a host, where there is none behind a user: libpq takes `postgresql://user@/database?host=/socket`, the
/// driver does not.
fn with_host(url: &str) -> Option<String> {
    let begin = url.find("://")? + 3;
    let length = url[begin..].find(['/', '?', '#']).unwrap_or(url.len() - begin);
    let host = begin + url[begin..begin + length].rfind('@')? + 1;
    let has_none = host == begin + length || url[host..].starts_with(':');
    has_none.then(|| format!("{}{NOWHERE}{}", &url[..host], &url[host..]))
}

/// Opens a connection with a pinned session.
pub async fn connect(database: Database, url: &str) -> Result<PgConnection> {
    let options = options(database, url)?;
    let place = place(&options);
    let socket = options.get_socket().is_some();
    let failed = |cause: sqlx::Error| {
        let remedy = match &cause {
            sqlx::Error::Io(error) if error.kind() == io::ErrorKind::NotFound && !socket => {
                format!(
                    "there is no such file: check sslrootcert, sslcert and sslkey in {}",
                    database.variable()
                )
            }
            cause => remedy(database, cause),
        };
        Error::new(format!("cannot connect to the {} at {place}", database.noun()))
            .because(cause)
            .remedy(remedy)
    };
    let mut connection = options.connect().await.map_err(unanswered).map_err(failed)?;
    pin(&mut connection).await.map_err(failed)?;
    Ok(connection)
}

/// Pins what a session's values look like, and lifts its limits. Asked for by a statement: a pooler in between may drop
/// what a connection asks for as it begins, or refuse it.
pub(crate) async fn pin(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let set = |(name, value): &(&str, &str)| {
        format!("set_config({}, {}, false)", quote::literal(name), quote::literal(value))
    };
    let all: Vec<String> = SESSION.iter().map(set).collect();
    let limits: Vec<String> = LIMITS.iter().map(|name| quote::literal(name)).collect();
    let sql = format!(
        "SELECT {}, (SELECT count(set_config(name, '0', false)) FROM pg_settings WHERE name IN ({}))",
        all.join(", "),
        limits.join(", ")
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(connection).await.map(drop)
}

/// Who accepts and closes stands before a server that is away, which is as if nobody had accepted. The driver takes
/// the byte that never came for an answer.
fn unanswered(cause: sqlx::Error) -> sqlx::Error {
    match &cause {
        sqlx::Error::Protocol(said) if said.starts_with("unexpected response from SSLRequest: 0x00") => {
            let said = "the connection was accepted, and closed before the server answered";
            io::Error::new(io::ErrorKind::ConnectionReset, said).into()
        }
        _ => cause,
    }
}

/// Host, port and database of a connection, without user or password.
fn place(options: &PgConnectOptions) -> String {
    let database = options.get_database().unwrap_or("?");
    match options.get_socket() {
        Some(socket) => format!("{}, database `{database}`", socket.display()),
        None => format!("{}:{}, database `{database}`", options.get_host(), options.get_port()),
    }
}

fn remedy(database: Database, cause: &sqlx::Error) -> String {
    let variable = database.variable();
    let state = cause.as_database_error().and_then(|error| error.code().map(|code| code.into_owned()));
    if let Some(remedy) = tls_remedy(variable, cause) {
        return remedy;
    }
    match state.as_deref() {
        Some("3D000") => format!("create the database, or correct the name in {variable}"),
        Some("28P01" | "28000") => format!("check the user and the password in {variable}, and pg_hba.conf"),
        Some("53300") => "wait until connections are free, or raise max_connections".to_owned(),
        Some("57P03") => "the server is starting or stopping: try again in a moment".to_owned(),
        Some("57014" | "25P03" | "25P04" | "57P05") => {
            format!(
                "a session is ended before it could lift the limits of time: raise those of the role in {variable}"
            )
        }
        _ => format!("is the server running? check host and port in {variable}"),
    }
}

/// What to do where the two ends could not agree on who the server is. The driver's TLS says it in words.
fn tls_remedy(variable: &str, cause: &sqlx::Error) -> Option<String> {
    let (sqlx::Error::Tls(_) | sqlx::Error::Io(_) | sqlx::Error::Configuration(_)) = cause else {
        return None;
    };
    let said = format!("{cause} {:?}", std::error::Error::source(cause));
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if has(&["UnknownIssuer", "BadSignature", "CaUsedAsEndEntity"]) {
        return Some(format!(
            "the server's certificate is not by an authority that is trusted: give that of its own as \
             `sslrootcert=/path/to/ca.pem` in {variable}; if it should be, somebody else may be answering"
        ));
    }
    if has(&["NotValidForName"]) {
        return Some(format!(
            "the server's certificate is for another name than the host in {variable}: write the name that it \
             has, or give the server a certificate for this one"
        ));
    }
    if has(&["Expired", "NotValidYet"]) {
        return Some("the server's certificate is not valid now: renew it, or see to the clocks".to_owned());
    }
    if has(&["does not support TLS"]) {
        return Some(format!(
            "turn TLS on at the server (`ssl = on`), or lower `sslmode` in {variable} where nobody can listen"
        ));
    }
    matches!(cause, sqlx::Error::Tls(_) | sqlx::Error::Configuration(_))
        .then(|| format!("check sslmode, sslrootcert, sslcert and sslkey in {variable}"))
}

#[cfg(test)]
mod tests {
    use super::{Database, NOWHERE, options};

    #[test]
    fn no_piece_of_a_password_is_taken_for_a_name() {
        for password in ["12/secret", "/secret", "12?secret", "12#secret", "a@1/secret", "a@b?secret"] {
            let url = format!("postgresql://keeper:{password}@shop.example:5432/shop");
            let error = options(Database::Warehouse, &url).expect_err("it cannot be read");
            assert!(!format!("{error:?}").contains("secret"), "{error:?}");
        }
        for url in [
            "postgresql://keeper:a@b@shop.example:5432/shop",
            "postgresql://keeper:%2F%3F%23%40@shop.example/a%40b?sslmode=require",
            "postgresql:///shop?host=/run/postgresql&user=a@b&password=c@d",
        ] {
            options(Database::Warehouse, url).expect("it can be read");
        }
    }

    #[test]
    fn a_host_may_be_left_out_as_libpq_has_it() {
        let read = |url: &str| options(Database::Source, url).unwrap();
        let socket = read("postgresql://ann:p%40ss@/shop?host=/run/sockets");
        assert_eq!(socket.get_socket().unwrap().to_str(), Some("/run/sockets"));
        assert_eq!((socket.get_username(), socket.get_database()), ("ann", Some("shop")));
        assert_eq!(read("postgresql://ann@/shop?host=db.example").get_host(), "db.example");
        assert_eq!(read("postgresql://ann@:5433/shop?host=db.example").get_port(), 5433);
        assert_ne!(read("postgresql://ann@/shop").get_host(), NOWHERE);
        assert_eq!(read("postgresql://ann@db.example/shop?options=a@").get_host(), "db.example");
        assert!(options(Database::Source, "mysql://ann@/shop").is_err());
    }
}
