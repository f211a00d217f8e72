//! Which processes are a data folder's: the postmaster that its `postmaster.pid` names, and what a killed one left
//! behind. Process ids are reused and folders are copied and moved, so the file alone proves nothing.
//! Knows PostgreSQL's files and titles; starts nothing.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::Signal;

use crate::{
    Error,
    place::{Place, failed, fingerprint},
    process::{self, Process, poll},
};

/// How long leftovers have to go quietly.
const QUIET_END: Duration = Duration::from_secs(5);
/// How long they have once killed: only an unresponsive disk holds one longer.
const KILLED_END: Duration = Duration::from_secs(10);

/// A living postmaster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Postmaster {
    pub pid: u32,
    /// Where its socket is; known once it listens.
    pub socket_folder: Option<PathBuf>,
    pub state: State,
}

/// How far a living postmaster has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Starting,
    Ready,
    Stopping,
}

/// The name that every process of a server carries in its title or its command line.
pub fn cluster_name(fingerprint: &str) -> String {
    format!("medallion-{fingerprint}")
}

/// The postmaster that serves this data folder now.
pub fn living(place: &Place) -> Result<Option<Postmaster>, Error> {
    let path = pid_file(place.data());
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed("read", &path, source)),
    };
    let Some(written) = Written::parse(&text) else {
        return Ok(None);
    };
    let serves = process::find(written.pid).is_some_and(|process| {
        process.uid == place.account().uid && serves(&process, &written.data) && !is_copy(&path, &written)
    });
    Ok(serves.then_some(Postmaster {
        pid: written.pid,
        socket_folder: written.socket_folder,
        state: written.state,
    }))
}

/// Removes the file of a postmaster that is no more, so that a process which got its id is not taken for it.
///
/// Only for who holds the lock and has seen that nobody is [`living`].
pub fn forget(place: &Place) -> Result<(), Error> {
    let path = pid_file(place.data());
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", &path, error)),
        _ => Ok(()),
    }
}

/// Ends what a killed postmaster, or one whose folder was deleted, left behind: they hold the shared memory.
///
/// Only for who holds the lock and has seen that nobody is [`living`].
pub fn clear_leftovers(place: &Place) -> Result<(), Error> {
    for (signal, limit) in [(Signal::QUIT, QUIET_END), (Signal::KILL, KILLED_END)] {
        for process in leftovers(place) {
            // Whoever has gone in between needs no signal, and who may not be signalled is named below.
            let _ = process::signal(process.pid, signal);
        }
        if poll(limit, || leftovers(place).is_empty().then_some(())).is_some() {
            return Ok(());
        }
    }
    leftovers(place).first().map_or(Ok(()), |process| {
        Err(Error::DidNotStop {
            data: place.data().to_owned(),
            pid: process.pid,
            seconds: (QUIET_END + KILLED_END).as_secs(),
        })
    })
}

fn pid_file(data: &Path) -> PathBuf {
    data.join("postmaster.pid")
}

/// What a `postmaster.pid` says.
#[derive(Debug, PartialEq, Eq)]
struct Written {
    pid: u32,
    data: PathBuf,
    socket_folder: Option<PathBuf>,
    state: State,
}

impl Written {
    fn parse(text: &str) -> Option<Written> {
        let mut lines = text.lines();
        let pid = lines.next()?.trim().trim_start_matches('-').parse().ok()?;
        let data = PathBuf::from(lines.next()?);
        let socket_folder = lines.nth(2).filter(|folder| !folder.is_empty()).map(PathBuf::from);
        let state = match lines.nth(2).map(str::trim_end) {
            Some("ready") => State::Ready,
            Some("stopping") => State::Stopping,
            _ => State::Starting,
        };
        Some(Written { pid, data, socket_folder, state })
    }
}

/// Whether a process is the postmaster of a data folder, judged by its command line. In doubt it is.
fn serves(process: &Process, data: &Path) -> bool {
    let command = &process.command;
    if has_name(command, data) {
        return true;
    }
    let program = command.split(' ').next().unwrap_or_default();
    let is_postgres = matches!(program.rsplit('/').next(), Some("postgres" | "postmaster"));
    if !is_postgres || command.contains("cluster_name=medallion-") {
        return false;
    }
    // Started by hand, with `pg_ctl` or the like.
    !command.contains(" -D") || command.contains(&*data.to_string_lossy())
}

fn has_name(command: &str, data: &Path) -> bool {
    command.contains(&format!("cluster_name={}", cluster_name(&fingerprint(data))))
}

/// Whether the data folder is a copy of the one that the postmaster serves: that one has the same file in its own
/// place. A folder that was moved, or is known by two paths, is not a copy.
fn is_copy(pid_file_here: &Path, written: &Written) -> bool {
    let there = pid_file(&written.data);
    if there == pid_file_here {
        return false;
    }
    let (Ok(here), Ok(found)) = (fs::metadata(pid_file_here), fs::metadata(&there)) else {
        return false;
    };
    let same_file = (here.dev(), here.ino()) == (found.dev(), found.ino());
    let same_pid = fs::read_to_string(&there)
        .ok()
        .and_then(|text| Written::parse(&text))
        .is_some_and(|original| original.pid == written.pid);
    !same_file && same_pid
}

fn leftovers(place: &Place) -> Vec<Process> {
    let name = cluster_name(&place.fingerprint());
    let argument = format!("cluster_name={name}");
    let title = format!("postgres: {name}: ");
    process::all()
        .into_iter()
        .filter(|process| process.uid == place.account().uid)
        .filter(|process| {
            let started = process
                .command
                .split_once(&argument)
                .is_some_and(|(before, _)| before.contains("postgres") || before.contains("pg_ctl"));
            started || process.command.starts_with(&title)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(command: &str) -> Process {
        Process { pid: 7, uid: 1000, command: command.to_owned() }
    }

    #[test]
    fn a_file_is_read_at_every_stage_of_a_start() {
        let early = Written::parse("42\n/data\n1700000000\n5432\n").expect("a pid and a folder");
        assert_eq!((early.pid, early.socket_folder, early.state), (42, None, State::Starting));
        let text = "42\n/data\n1700000000\n5432\n/tmp/socket\n\n  1 2\nready   \n";
        let ready = Written::parse(text).expect("a pid and a folder");
        assert_eq!(ready.socket_folder, Some(PathBuf::from("/tmp/socket")));
        assert_eq!(ready.state, State::Ready);
        assert_eq!(Written::parse(""), None);
        assert_eq!(Written::parse("half"), None);
    }

    #[test]
    fn a_reused_process_id_is_not_taken_for_the_postmaster() {
        let data = Path::new("/srv/shop/.medallion/postgres");
        let ours = format!("/bin/postgres -c cluster_name={}", cluster_name(&fingerprint(data)));
        assert!(serves(&process(&ours), data));
        assert!(serves(&process("/bin/postgres -D /srv/shop/.medallion/postgres"), data));
        assert!(serves(&process("postgres"), data));
        for other in [
            "sleep 100",
            "/bin/postgres -D /var/lib/postgresql/15/main",
            "/bin/postgres -c cluster_name=medallion-0123456789ab",
            "postgres: medallion-0123456789ab: checkpointer",
            "",
        ] {
            assert!(!serves(&process(other), data), "{other}");
        }
    }
}
