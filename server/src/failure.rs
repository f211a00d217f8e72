//! Why PostgreSQL failed, read from what it wrote: one reason a reader can act on instead of a log.
//! Knows PostgreSQL's messages; makes no file.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use crate::Error;

/// How much of a log's end is looked at.
const TAIL: u64 = 64 * 1024;
/// How many lines of a log a message passes on.
const LINES: usize = 6;
/// The least that a server needs to write when it starts.
const LEAST_SPACE: u64 = 64 * 1024;

/// The logs as they were before a start, so that what came after can be told.
#[derive(Debug)]
pub struct LogsBefore {
    folder: PathBuf,
    lengths: BTreeMap<PathBuf, u64>,
}

impl LogsBefore {
    /// Remembers the logs of a folder, there or not.
    pub fn of(folder: PathBuf) -> LogsBefore {
        let lengths = lengths(&folder);
        LogsBefore { folder, lengths }
    }

    /// What was written since.
    pub fn news(&self) -> String {
        lengths(&self.folder)
            .into_iter()
            .map(|(path, length)| {
                let before = self.lengths.get(&path).copied().unwrap_or(0);
                tail(&path, if before <= length { before } else { 0 })
            })
            .collect()
    }
}

/// The end of a log, from a position on.
pub fn tail(path: &Path, from: u64) -> String {
    let Ok(mut file) = File::open(path) else {
        return String::new();
    };
    let length = file.metadata().map(|found| found.len()).unwrap_or(0);
    let mut bytes = Vec::new();
    let start = from.max(length.saturating_sub(TAIL));
    if file.seek(SeekFrom::Start(start)).is_ok() {
        // A log that cannot be read says nothing, which the caller words.
        let _ = file.take(TAIL).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What the lines say that matter, in one line.
pub fn reason(text: &str) -> String {
    const MATTER: [&str; 5] = ["FATAL: ", "PANIC: ", "ERROR: ", "DETAIL: ", "HINT: "];
    let telling: Vec<&str> = text
        .lines()
        .filter_map(|line| {
            let severity = MATTER.iter().filter_map(|severity| line.find(severity)).min();
            let program = ["initdb: error: ", "initdb: hint: ", "psql: error: ", "pg_ctl: "]
                .iter()
                .find_map(|start| line.strip_prefix(start));
            program.or_else(|| severity.map(|position| &line[position..]))
        })
        .collect();
    let chosen: Vec<&str> = if telling.is_empty() {
        text.lines().map(str::trim).filter(|line| !line.is_empty()).collect()
    } else {
        telling
    };
    let kept = &chosen[chosen.len().saturating_sub(LINES)..];
    if kept.is_empty() {
        return "it said nothing".to_owned();
    }
    kept.iter()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect::<Vec<_>>()
        .join("; ")
}

/// The error of a full disk, if that is what the text says or what the folders show.
pub fn disk_full(text: &str, data: &Path, socket_folder: Option<&Path>) -> Option<Error> {
    let said = text
        .lines()
        .rev()
        .find(|line| line.contains("No space left on device") || line.contains("Disk quota exceeded"));
    let named = |folder: &Path| said.is_some_and(|line| line.contains(&*folder.to_string_lossy()));
    let (path, socket) = match socket_folder {
        Some(folder) if named(folder) || (said.is_none() && is_full(folder)) => (folder, true),
        _ if said.is_some() || is_full(data) => (data, false),
        _ => return None,
    };
    Some(Error::DiskFull {
        path: path.to_owned(),
        reason: reason(said.unwrap_or("no space is left on it")),
        socket,
    })
}

fn is_full(folder: &Path) -> bool {
    let existing = folder.ancestors().find(|folder| folder.exists());
    existing
        .and_then(|folder| rustix::fs::statvfs(folder).ok())
        .is_some_and(|space| space.f_bavail.saturating_mul(space.f_frsize) < LEAST_SPACE)
}

fn lengths(folder: &Path) -> BTreeMap<PathBuf, u64> {
    let Ok(entries) = fs::read_dir(folder) else {
        return BTreeMap::new();
    };
    entries.flatten().filter_map(|entry| Some((entry.path(), entry.metadata().ok()?.len()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_taken_from_the_lines_that_matter() {
        let log = "2026-01-01 UTC [1] LOG:  starting PostgreSQL\n\
                   2026-01-01 UTC [1] FATAL:  could not create lock file \"x\": File exists\n\
                   2026-01-01 UTC [1] LOG:  database system is shut down\n";
        assert_eq!(reason(log), "FATAL: could not create lock file \"x\": File exists");
        assert_eq!(reason("one\n\ntwo\n"), "one; two");
        assert_eq!(reason(""), "it said nothing");
    }

    #[test]
    fn a_full_disk_is_told_by_folder() {
        let log = "FATAL:  could not write lock file \"/tmp/medallion-1-a/.s.PGSQL.5432.lock\": No space left on device";
        let data = Path::new("/srv/postgres");
        let socket = Path::new("/tmp/medallion-1-a");
        let Some(Error::DiskFull { path, socket: true, .. }) = disk_full(log, data, Some(socket)) else {
            panic!("the socket's disk is full");
        };
        assert_eq!(path, socket);
        let log = "FATAL:  could not extend file \"base/1/2\": No space left on device";
        assert!(matches!(disk_full(log, data, Some(socket)), Some(Error::DiskFull { socket: false, .. })));
    }
}
