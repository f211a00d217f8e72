//! What can go wrong with an embedded server: each variant says what happened and, in a line of its own, what helps.
//! Knows only how to word it.

use std::{io, path::PathBuf};

use crate::options::{BINARIES_VARIABLE, DIRECTORY_VARIABLE, SOCKET_VARIABLE};

const INSTALL: &str = "install it with `apt-get install postgresql` (Debian, Ubuntu), \
     `dnf install postgresql-server` (Fedora, RHEL) or `brew install postgresql@17` (macOS)";

/// Why an embedded server could not do what it was asked.
///
/// The text has the event in its first line and the remedy in its last.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No PostgreSQL was found anywhere.
    #[error(
        "no PostgreSQL server is installed on this machine\n{INSTALL}, or name the folder of its programs in `{BINARIES_VARIABLE}`"
    )]
    NotInstalled,

    /// PostgreSQL was found, but none that will do.
    #[error(
        "no PostgreSQL that will do is installed: version {oldest} or later is needed, passed over {}\n{INSTALL}, or name the folder of its programs in `{BINARIES_VARIABLE}`",
        .passed_over.join(", ")
    )]
    NoneWillDo {
        /// The oldest version that would do.
        oldest: u32,
        /// The folders that were looked at, each with why it will not do.
        passed_over: Vec<String>,
    },

    /// The folder that was named has no PostgreSQL that will do.
    #[error(
        "the PostgreSQL programs asked for will not do: {reason}\nname a folder that holds `initdb`, `pg_ctl` and `postgres` in `{BINARIES_VARIABLE}`, or unset it to have them searched for"
    )]
    NamedInstallation {
        /// The folder, and what is wrong with it.
        reason: String,
    },

    /// The data were made by a major version that is not installed.
    #[error(
        "the data in {} were made by PostgreSQL {made_by}, of which no installation was found{}\ninstall version {made_by} or name its folder in `{BINARIES_VARIABLE}`; or delete the data (the databases are lost) and start again",
        quoted(.data),
        also_found(.found)
    )]
    OtherMajorVersion {
        /// The data folder.
        data: PathBuf,
        /// The major version that made it.
        made_by: String,
        /// The installations that were found.
        found: Vec<String>,
    },

    /// `psql` is nowhere.
    #[error(
        "the `psql` program is not installed\ninstall it with `apt-get install postgresql-client` (Debian, Ubuntu), `dnf install postgresql` (Fedora, RHEL) or `brew install libpq` (macOS)"
    )]
    NoPsql,

    /// As root: there is nobody to run the server as.
    #[error(
        "PostgreSQL refuses to run as root, and neither the user `postgres` nor `nobody` exists to run it as\nrun this as an ordinary user, or create one with `useradd --system postgres`"
    )]
    NobodyToRunAs,

    /// As root: the unprivileged user cannot be switched to, or cannot reach a folder.
    #[error("the user `{user}`, who runs PostgreSQL in place of root, cannot reach {}\nname a folder that every user can reach in `{DIRECTORY_VARIABLE}`, for example below `/var/lib`", quoted(.path))]
    Unreachable {
        /// The unprivileged user.
        user: String,
        /// The folder that the user cannot reach.
        path: PathBuf,
    },

    /// The folder belongs to somebody else.
    #[error("{} belongs to user id {owner}, not to you (user id {user})\nrun this as that user or as root, or name a folder of your own in `{DIRECTORY_VARIABLE}`", quoted(.path))]
    OtherOwner {
        /// The folder.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who wants it.
        user: u32,
    },

    /// Somebody else has made the socket's folder first, or made it readable to others.
    #[error("the socket folder {} is not safe to use: {reason}\nremove it, or name another folder to make it in with `{SOCKET_VARIABLE}`", quoted(.path))]
    SocketFolder {
        /// The socket's folder.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// The path of the socket does not fit in what the system allows.
    #[error("the socket path {} is {} bytes long, {limit} at most are possible\nname a shorter folder in `{SOCKET_VARIABLE}`, for example `/tmp`", quoted(.path), .path.as_os_str().len())]
    SocketPathTooLong {
        /// The path of the socket.
        path: PathBuf,
        /// The longest possible, in bytes.
        limit: usize,
    },

    /// A disk is full.
    #[error("the disk is full under {}: {reason}\nfree some space there, or name a folder on another disk in `{}`", quoted(.path), if *.socket { SOCKET_VARIABLE } else { DIRECTORY_VARIABLE })]
    DiskFull {
        /// The folder that is on the full disk.
        path: PathBuf,
        /// What could not be written.
        reason: String,
        /// Whether it is the socket's folder rather than the data's.
        socket: bool,
    },

    /// A folder or file could not be made, read or written.
    #[error("cannot {action} {}: {source}\nsee that you may write there, or name another folder in `{DIRECTORY_VARIABLE}`", quoted(.path))]
    File {
        /// What was tried, for example `create`.
        action: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// A program could not be run at all.
    #[error("cannot run {}: {source}\nsee that it is installed and that you may run it", quoted(.program))]
    Program {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// The folder of the checkout is not there.
    #[error("cannot look for the checkout from {}: {source}\nrun this in a folder that exists", quoted(.path))]
    NoCheckout {
        /// Where the search began.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// What stands in the place of the data folder is no data folder.
    #[error("{} is not empty and is not the data folder of a PostgreSQL server\nmove it away, or name another folder in `{DIRECTORY_VARIABLE}`", quoted(.path))]
    NoDataFolder {
        /// The folder.
        path: PathBuf,
    },

    /// `initdb` failed.
    #[error("cannot make a database cluster in {}: {reason}\nset right what it names, then start again: nothing was left behind", quoted(.data))]
    Initdb {
        /// The data folder that was to be made.
        data: PathBuf,
        /// What `initdb` said.
        reason: String,
    },

    /// The server did not come up.
    #[error("the PostgreSQL server in {} did not start: {reason}\nset right what it names, then start again; the log is {}", quoted(.data), quoted(.log))]
    DidNotStart {
        /// The data folder.
        data: PathBuf,
        /// The last lines of the log.
        reason: String,
        /// The log.
        log: PathBuf,
    },

    /// The server did not go down, or what it left behind does not go away.
    #[error("process {pid} of the PostgreSQL server in {} has not ended after {seconds} s\nsee what it does with `ps -fp {pid}`; `kill -QUIT {pid}` ends it at once", quoted(.data))]
    DidNotStop {
        /// The data folder.
        data: PathBuf,
        /// The process that goes on.
        pid: u32,
        /// How long it was waited for.
        seconds: u64,
    },

    /// Another server has what this one needs.
    #[error("another server is in the way of the one in {}: {reason}\nstop that server, or name another folder in `{DIRECTORY_VARIABLE}`", quoted(.data))]
    InTheWay {
        /// The data folder.
        data: PathBuf,
        /// What the other server has.
        reason: String,
    },

    /// The name can not be that of a database.
    #[error("{name:?} cannot name a database: {reason}\nchoose another name")]
    DatabaseName {
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },

    /// The server refused a statement.
    #[error(
        "cannot {action} database `{name}`: {reason}\nsee that the server runs, with `medallion db status`"
    )]
    Database {
        /// What was tried, for example `create`.
        action: &'static str,
        /// The database.
        name: String,
        /// What the server said.
        reason: String,
    },
}

fn quoted(path: &std::path::Path) -> String {
    format!("`{}`", path.display())
}

fn also_found(found: &[String]) -> String {
    if found.is_empty() { String::new() } else { format!(" (found {})", found.join(", ")) }
}
