//! The embedded server as callers see it: start, stop, status, its databases and its address.
//! Ties the other modules together and knows no detail of theirs.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::ErrorKind,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::OnceLock,
    time::Duration,
};

use rustix::process::Signal;

use crate::{
    Error, Options, Scratch, USER, client, cluster,
    failure::{self, LogsBefore},
    installation::Installation,
    place::{Place, failed},
    postmaster::{self, Postmaster, State},
    process::{self, poll},
    scratch, socket,
};

/// How long a start may take; recovery after a crash is what takes long.
const START_LIMIT: Duration = Duration::from_secs(120);
/// How long a stop may take.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// Whether a server runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It accepts connections or is about to.
    Running {
        /// The process that answers to signals.
        pid: u32,
    },
    /// Its data are there, no process is.
    Stopped,
    /// It has never been started.
    NeverMade,
}

/// A private PostgreSQL server. The value is a handle: dropping it stops nothing, and several may name one server.
#[derive(Debug)]
pub struct Server {
    place: Place,
    options: Options,
    installation: OnceLock<Installation>,
}

impl Server {
    /// The server of the checkout that `start` is in, chosen by [`Options::from_environment`].
    ///
    /// A checkout is the nearest folder upwards with a `.git` or a `Cargo.toml` that has a `[workspace]`, else `start`
    /// itself. Nothing is created or started.
    pub fn of_checkout(start: &Path) -> Result<Server, Error> {
        Server::of_checkout_with(start, Options::from_environment())
    }

    /// As [`Server::of_checkout`], with the options given.
    pub fn of_checkout_with(start: &Path, options: Options) -> Result<Server, Error> {
        let place = Place::find(start, options.directory.as_deref())?;
        Ok(Server::at(place, options))
    }

    /// A server of one's own for tests, started, and gone with the value or with the process, whichever ends first.
    pub fn scratch() -> Result<Scratch, Error> {
        Scratch::start(Options::from_environment())
    }

    /// The scratch server that all tests of this process share, started by whoever asks first.
    ///
    /// Give every test databases of its own, by [`Server::ensure_database`] with a name that no other test uses. The
    /// server is gone when the process is, however it ends.
    pub fn shared_scratch() -> Result<&'static Server, Error> {
        scratch::shared()
    }

    pub(crate) fn at(place: Place, options: Options) -> Server {
        Server { place, options, installation: OnceLock::new() }
    }

    /// Starts the server unless it runs, makes its data first if need be, and returns once it accepts connections.
    ///
    /// Concurrent starts, of threads and of processes, wait for one another. What a killed server left behind is
    /// cleared. The server outlives this process.
    pub fn start(&self) -> Result<(), Error> {
        let _lock = self.place.lock()?;
        if self.is_ready()? {
            return Ok(());
        }
        let made_by = cluster::made_by(&self.place)?;
        let data = made_by.as_deref().map(|version| (self.place.data(), version));
        let installation = Installation::find(self.options.binaries.as_deref(), self.place.account(), data)?;
        postmaster::clear_leftovers(&self.place)?;
        if made_by.is_none() {
            cluster::make(&self.place, &installation, self.options.durability)?;
        }
        postmaster::forget(&self.place)?;
        let socket_folder = self.intended_socket_folder();
        socket::prepare(&socket_folder, self.place.account())?;
        cluster::configure(&self.place, self.options.durability, &socket_folder)?;
        self.launch(&installation, &socket_folder)
    }

    /// Stops the server if it runs: open transactions are rolled back, connections closed, data written.
    pub fn stop(&self) -> Result<(), Error> {
        self.end(Signal::INT)
    }

    /// Stops the server as a crash would: nothing is written, the next start recovers. For tests of that.
    pub fn stop_immediate(&self) -> Result<(), Error> {
        self.end(Signal::QUIT)
    }

    /// Whether the server runs. Changes nothing.
    pub fn status(&self) -> Result<Status, Error> {
        if let Some(postmaster) = postmaster::living(&self.place)? {
            return Ok(Status::Running { pid: postmaster.pid });
        }
        Ok(match cluster::made_by(&self.place)? {
            Some(_) => Status::Stopped,
            None => Status::NeverMade,
        })
    }

    /// The address of a database of this server, for libpq and for SQL drivers alike; it holds no secret.
    ///
    /// `postgresql:///<database>?host=<socket folder>&port=5432&user=medallion&sslmode=disable`, percent-encoded.
    pub fn url(&self, database: &str) -> String {
        client::url(&self.socket_folder(), socket::PORT, USER, database)
    }

    /// Creates the database unless it exists. The server must run.
    pub fn ensure_database(&self, name: &str) -> Result<(), Error> {
        client::check_name(name)?;
        if self.has_database(name)? {
            return Ok(());
        }
        let sql = format!("CREATE DATABASE {} TEMPLATE template0", client::identifier(name));
        match self.statement("create", name, &sql) {
            // Somebody else may have been faster.
            Err(error) => match self.has_database(name) {
                Ok(true) => Ok(()),
                _ => Err(error),
            },
            Ok(_) => Ok(()),
        }
    }

    /// Drops the database if it exists, whoever is connected to it. The server must run.
    pub fn drop_database(&self, name: &str) -> Result<(), Error> {
        client::check_name(name)?;
        // FORCE does not end sessions that use a replication slot, so they are ended first.
        let end_sessions = format!(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = {}",
            client::literal(name)
        );
        self.statement("drop", name, &end_sessions)?;
        let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", client::identifier(name));
        self.statement("drop", name, &sql).map(|_| ())
    }

    /// Runs a script on a database, in one transaction. Returns the rows that it gives, a line each, or what the
    /// server said against it.
    pub fn script(&self, database: &str, sql: &str) -> Result<Result<String, String>, Error> {
        client::script(&self.psql_program()?, &self.url(database), sql)
    }

    /// Runs `psql` on a database with the terminal of this process, and waits for it.
    pub fn psql(&self, database: &str, arguments: &[OsString]) -> Result<ExitStatus, Error> {
        let program = self.psql_program()?;
        client::interactive(&program, &self.url(database), arguments)
            .status()
            .map_err(|source| Error::Program { program, source })
    }

    /// Becomes `psql` on a database: returns only if that fails. What an interactive verb wants, because Ctrl-C then
    /// reaches `psql` alone.
    pub fn become_psql(&self, database: &str, arguments: &[OsString]) -> Error {
        match self.psql_program() {
            Ok(program) => {
                let source = client::interactive(&program, &self.url(database), arguments).exec();
                Error::Program { program, source }
            }
            Err(error) => error,
        }
    }

    /// The data folder, there or not.
    pub fn data_directory(&self) -> &Path {
        self.place.data()
    }

    /// The log that is being written, or would be.
    pub fn log_file(&self) -> PathBuf {
        let current = fs::read_to_string(self.place.data().join("current_logfiles")).unwrap_or_default();
        match current.lines().find_map(|line| line.strip_prefix("stderr ")) {
            Some(log) => self.place.data().join(log),
            None => self.start_log(),
        }
    }

    /// The folder that the socket is in, or would be.
    pub(crate) fn socket_folder(&self) -> PathBuf {
        match postmaster::living(&self.place) {
            Ok(Some(Postmaster { socket_folder: Some(folder), .. })) => folder,
            _ => self.intended_socket_folder(),
        }
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// The programs that serve the data, found once for this value.
    fn installation(&self) -> Result<&Installation, Error> {
        if let Some(found) = self.installation.get() {
            return Ok(found);
        }
        let made_by = cluster::made_by(&self.place)?;
        let data = made_by.as_deref().map(|version| (self.place.data(), version));
        let found = Installation::find(self.options.binaries.as_deref(), self.place.account(), data)?;
        Ok(self.installation.get_or_init(|| found))
    }
}

/// Starting and ending.
impl Server {
    /// Waits for a server that is starting or stopping, and tells whether one runs that can be reached.
    fn is_ready(&self) -> Result<bool, Error> {
        let settled = poll(START_LIMIT, || match postmaster::living(&self.place) {
            Ok(Some(Postmaster { state: State::Starting | State::Stopping, .. })) => None,
            settled => Some(settled),
        });
        let Some(settled) = settled else {
            return Err(self.did_not_start("it has been starting or stopping for two minutes"));
        };
        let Some(running) = settled? else {
            return Ok(false);
        };
        if running.socket_folder.as_deref().is_some_and(|folder| socket::file(folder).exists()) {
            return Ok(true);
        }
        // Somebody emptied the folder of its socket: the server cannot make it anew while it runs.
        self.signal_and_wait(&running, Signal::INT)?;
        Ok(false)
    }

    fn launch(&self, installation: &Installation, socket_folder: &Path) -> Result<(), Error> {
        let start_log = self.start_log();
        match fs::remove_file(&start_log) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(failed("remove", &start_log, error));
            }
            _ => (),
        }
        let logs = LogsBefore::of(self.place.data().join("log"));
        let name = postmaster::cluster_name(&self.place.fingerprint());
        // `pg_ctl` gives the server a session of its own. It starts it by way of a shell, so no path is handed to it:
        // the data folder is in the environment and the log is named from there.
        let output = self
            .place
            .account()
            .command(installation.program("pg_ctl"))
            .current_dir(self.place.data())
            .env("PGDATA", self.place.data())
            .args(["start", "--wait", "--silent", "--log=start.log"])
            .arg(format!("--timeout={}", START_LIMIT.as_secs()))
            .arg(format!("--options=-c cluster_name={name}"))
            .output()
            .map_err(|source| Error::Program { program: installation.program("pg_ctl"), source })?;
        if output.status.success() {
            return Ok(());
        }
        let mut said = failure::tail(&start_log, 0);
        said.push_str(&logs.news());
        if let Some(error) = failure::disk_full(&said, self.place.data(), Some(socket_folder)) {
            return Err(error);
        }
        if said.trim().is_empty() {
            said = String::from_utf8_lossy(&output.stderr).into_owned();
        }
        let reason = failure::reason(&said);
        let taken = ["lock file", "pre-existing shared memory block"]
            .iter()
            .any(|sign| reason.contains(sign) && !reason.contains("could not"));
        if taken {
            return Err(Error::InTheWay { data: self.place.data().to_owned(), reason });
        }
        Err(self.did_not_start(&reason))
    }

    fn end(&self, signal: Signal) -> Result<(), Error> {
        let _lock: Option<File> = match self.place.home().exists() {
            true => Some(self.place.lock()?),
            false => None,
        };
        let socket_folder = self.socket_folder();
        if let Some(running) = postmaster::living(&self.place)? {
            self.signal_and_wait(&running, signal)?;
        }
        postmaster::clear_leftovers(&self.place)?;
        socket::remove(&socket_folder, self.place.account());
        Ok(())
    }

    fn signal_and_wait(&self, running: &Postmaster, signal: Signal) -> Result<(), Error> {
        process::signal(running.pid, signal)
            .map_err(|source| failed("stop the server in", self.place.data(), source))?;
        poll(STOP_LIMIT, || match postmaster::living(&self.place) {
            Ok(Some(still)) if still.pid == running.pid => None,
            _ if process::find(running.pid)
                .is_some_and(|process| process.uid == self.place.account().uid) =>
            {
                None
            }
            _ => Some(()),
        })
        .ok_or_else(|| Error::DidNotStop {
            data: self.place.data().to_owned(),
            pid: running.pid,
            seconds: STOP_LIMIT.as_secs(),
        })
    }

    fn did_not_start(&self, reason: &str) -> Error {
        Error::DidNotStart {
            data: self.place.data().to_owned(),
            reason: reason.to_owned(),
            log: self.log_file(),
        }
    }

    fn intended_socket_folder(&self) -> PathBuf {
        socket::folder(self.options.socket_base.as_deref(), self.place.account(), &self.place.fingerprint())
    }

    fn start_log(&self) -> PathBuf {
        self.place.data().join("start.log")
    }
}

/// Talking to it.
impl Server {
    fn has_database(&self, name: &str) -> Result<bool, Error> {
        let sql =
            format!("SELECT count(*) FROM pg_catalog.pg_database WHERE datname = {}", client::literal(name));
        Ok(self.statement("look for", name, &sql)? == "1")
    }

    fn statement(&self, action: &'static str, name: &str, sql: &str) -> Result<String, Error> {
        client::statement(&self.psql_program()?, &self.url("postgres"), sql).map_err(|error| match error {
            Error::Database { reason, .. } => Error::Database { action, name: name.to_owned(), reason },
            other => other,
        })
    }

    fn psql_program(&self) -> Result<PathBuf, Error> {
        let beside_the_server = self.installation().ok().map(|found| found.program("psql"));
        client::program(beside_the_server)
    }
}
