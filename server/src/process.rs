//! Who is alive on this machine, and how to end them. Knows process ids, owners and command lines, from `/proc` where
//! there is one and from `ps` elsewhere; nothing of PostgreSQL.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// How often something awaited is looked at.
const INTERVAL: Duration = Duration::from_millis(10);

/// A process that is alive: one that ended and was not yet waited for is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    pub pid: u32,
    pub uid: u32,
    /// The program and its arguments, or the title that it gave itself.
    pub command: String,
}

/// The living process with this id.
pub fn find(pid: u32) -> Option<Process> {
    if has_proc() { read(pid) } else { list(&["-p", &pid.to_string()]).into_iter().next() }
}

/// All living processes that this user may see.
pub fn all() -> Vec<Process> {
    if !has_proc() {
        return list(&["-A"]);
    }
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter_map(read).collect()
}

/// Sends a signal; that the process is gone already is no failure.
pub fn signal(pid: u32, signal: Signal) -> io::Result<()> {
    let Some(target) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return Ok(());
    };
    match kill_process(target, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Looks until there is an answer or the time is over.
pub fn poll<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = probe() {
            return Some(answer);
        }
        if Instant::now() >= deadline {
            return None;
        }
        thread::sleep(INTERVAL);
    }
}

fn has_proc() -> bool {
    Path::new("/proc/self/stat").exists()
}

fn read(pid: u32) -> Option<Process> {
    let folder = Path::new("/proc").join(pid.to_string());
    let uid = fs::metadata(&folder).ok()?.uid();
    let state = fs::read_to_string(folder.join("stat")).ok()?;
    let (_, after_name) = state.rsplit_once(')')?;
    if after_name.trim_start().starts_with(['Z', 'X']) {
        return None;
    }
    let command = fs::read(folder.join("cmdline")).ok()?;
    let command = String::from_utf8_lossy(&command).replace('\0', " ");
    Some(Process { pid, uid, command: command.trim_end().to_owned() })
}

fn list(which: &[&str]) -> Vec<Process> {
    let output = Command::new("ps").args(which).args(["-ww", "-o", "pid=,uid=,state=,args="]).output();
    let Ok(output) = output else {
        return Vec::new();
    };
    String::from_utf8_lossy(&output.stdout).lines().filter_map(parse).collect()
}

fn parse(line: &str) -> Option<Process> {
    let (pid, rest) = line.trim_start().split_once(' ')?;
    let (uid, rest) = rest.trim_start().split_once(' ')?;
    let (state, command) = rest.trim_start().split_once(' ')?;
    if state.starts_with('Z') {
        return None;
    }
    Some(Process { pid: pid.parse().ok()?, uid: uid.parse().ok()?, command: command.trim().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_in_both_ways_of_looking() {
        let pid = std::process::id();
        let found = find(pid).expect("this process runs");
        assert_eq!(found.uid, rustix::process::geteuid().as_raw());
        assert!(all().iter().any(|process| process.pid == pid));
        assert_eq!(
            parse("  501   0 Ss   /usr/bin/postgres -c cluster_name=x ").map(|process| process.command),
            Some("/usr/bin/postgres -c cluster_name=x".to_owned())
        );
        assert_eq!(parse("  501   0 Z    (postgres)"), None);
    }
}
