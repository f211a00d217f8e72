//! What the tests of real servers share: a checkout that cleans up, SQL by `psql`, a deadline, and this test binary
//! run again as another process or another user. Knows only the public interface.
#![allow(dead_code, reason = "every test file takes what it needs")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by it")]

use std::{
    env,
    fs::{self, Permissions},
    io::Write,
    ops::Deref,
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

use medallion_server::{Durability, Error, Options, Server, Status};

/// Tells a test that it was started by [`again`], and for which folder.
const FOLDER_VARIABLE: &str = "MEDALLION_TEST_FOLDER";

/// A checkout with a server, both gone afterwards.
pub struct Checkout {
    server: Server,
    folder: tempfile::TempDir,
}

impl Checkout {
    pub fn new() -> Checkout {
        Checkout::named("")
    }

    /// A checkout whose path has this in it.
    pub fn named(name: &str) -> Checkout {
        let folder = tempfile::Builder::new()
            .prefix(&format!("checkout-{name}"))
            .permissions(Permissions::from_mode(0o755))
            .tempdir()
            .unwrap();
        fs::create_dir(folder.path().join(".git")).unwrap();
        let server = server_of(folder.path()).unwrap();
        Checkout { server, folder }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn pid(&self) -> u32 {
        pid_of(&self.server)
    }
}

impl Deref for Checkout {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        let stopped = self.server.stop_immediate();
        if !thread::panicking() {
            stopped.unwrap();
        }
    }
}

/// The server of a checkout, with nothing of the environment and nothing forced to disk.
pub fn server_of(folder: &Path) -> Result<Server, Error> {
    Server::of_checkout_with(folder, quick())
}

pub fn quick() -> Options {
    Options { durability: Durability::Scratch, ..Options::default() }
}

pub fn pid_of(server: &Server) -> u32 {
    match server.status().unwrap() {
        Status::Running { pid } => pid,
        other => panic!("the server is {other:?}"),
    }
}

/// What a statement answers.
pub fn ask(server: &Server, sql: &str) -> String {
    let output = psql(&server.url("postgres"), sql).output().unwrap();
    assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

pub fn psql(url: &str, sql: &str) -> Command {
    let mut command = Command::new("psql");
    command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", sql]);
    command
}

/// Kills a process and waits until it is gone.
pub fn kill(pid: u32) {
    rustix::process::kill_process(process_id(pid), rustix::process::Signal::KILL).unwrap();
    wait_until("the killed process is gone", || !is_alive(pid));
}

/// Whether a process leads a session of its own, so that no terminal takes it along.
pub fn leads_a_session(pid: u32) -> bool {
    rustix::process::getsid(Some(process_id(pid))).unwrap() == process_id(pid)
}

/// Whether a process runs; one that ended and was not waited for does not.
pub fn is_alive(pid: u32) -> bool {
    processes().iter().any(|(found, _)| *found == pid)
}

/// The living processes: id and command line.
pub fn processes() -> Vec<(u32, String)> {
    if !Path::new("/proc/self/stat").exists() {
        return listed_processes();
    }
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| {
            let folder = entry.ok()?.path();
            let pid = folder.file_name()?.to_str()?.parse().ok()?;
            let stat = fs::read_to_string(folder.join("stat")).ok()?;
            let command = fs::read(folder.join("cmdline")).ok()?;
            let ended = stat.rsplit_once(") ")?.1.starts_with(['Z', 'X']);
            (!ended).then(|| (pid, String::from_utf8_lossy(&command).replace('\0', " ")))
        })
        .collect()
}

fn listed_processes() -> Vec<(u32, String)> {
    let output = Command::new("ps").args(["-A", "-ww", "-o", "pid=,state=,args="]).output().unwrap();
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let pid = words.next()?.parse().ok()?;
            let ended = words.next()?.starts_with('Z');
            (!ended).then(|| (pid, words.collect::<Vec<_>>().join(" ")))
        })
        .collect()
}

/// Says past the capture of the test harness what this run could not see.
pub fn not_tested(what: &str) {
    // A closed standard error is no reason to fail.
    let _ = writeln!(std::io::stderr(), "NOT TESTED for want of root: {what}");
}

pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

pub fn is_root() -> bool {
    id("-u", None) == Some(0)
}

/// An ordinary user of this machine that no server of root's runs as.
pub fn ordinary_user() -> (u32, u32) {
    ["daemon", "nobody", "bin"]
        .iter()
        .find_map(|name| Some((id("-u", Some(name))?, id("-g", Some(name))?)))
        .expect("every system has one of these users")
}

/// One test of this binary, to run in a process of its own; it finds its folder by [`folder_of_again`].
pub fn again(test: &str, folder: &Path) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(FOLDER_VARIABLE, folder);
    command
}

/// The same as an ordinary user, who must be able to read this binary, hence the copy.
pub fn again_as_ordinary_user(test: &str, folder: &Path) -> Command {
    let (uid, gid) = ordinary_user();
    let copy = folder.join("test-binary");
    // Not by this process: a program that any process has open for writing cannot be run.
    let copied = Command::new("cp").arg(env::current_exe().unwrap()).arg(&copy).status().unwrap();
    assert!(copied.success());
    fs::set_permissions(&copy, Permissions::from_mode(0o755)).unwrap();
    chown(folder, Some(uid), Some(gid)).unwrap();
    let mut command = Command::new(&copy);
    command
        .args(["--exact", test, "--nocapture"])
        .env(FOLDER_VARIABLE, folder)
        .current_dir(folder)
        .uid(uid)
        .gid(gid);
    command
}

/// The folder that [`again`] gave; none in an ordinary test run, where the test has nothing to do.
pub fn folder_of_again() -> Option<PathBuf> {
    env::var_os(FOLDER_VARIABLE).map(PathBuf::from)
}

pub fn assert_success(output: &Output) {
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn process_id(pid: u32) -> rustix::process::Pid {
    rustix::process::Pid::from_raw(pid.cast_signed()).unwrap()
}

fn id(kind: &str, name: Option<&str>) -> Option<u32> {
    let output = Command::new("id").arg(kind).args(name).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().parse().ok()
}
