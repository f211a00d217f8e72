//! What something has taken on this machine: time by the clock, seconds of processors, which others on the machine
//! disturb less, the memory of this process, and bytes of a server's log. Knows nothing of what was done meanwhile.

use std::fs;
use std::time::{Duration, Instant};

use medallion_server::Server;

/// What something has taken.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    /// By the clock.
    pub clock: Duration,
    /// Of processors, by this process and those that it has waited for, in seconds.
    pub own: f64,
    /// Of processors, by the servers, in seconds.
    pub served: f64,
}

/// What has begun and not ended yet.
pub struct Spending<'s> {
    servers: &'s [&'s Server],
    own: f64,
    served: f64,
    started: Instant,
}

/// Begins; the servers are those that serve it.
pub fn begin<'s>(servers: &'s [&'s Server]) -> Spending<'s> {
    Spending { servers, own: own(), served: served(servers), started: Instant::now() }
}

impl Spending<'_> {
    /// Ends it.
    pub fn end(self) -> Spent {
        let clock = self.started.elapsed();
        Spent { clock, own: own() - self.own, served: served(self.servers) - self.served }
    }
}

impl Spent {
    /// By the clock, in seconds.
    pub fn seconds(&self) -> f64 {
        self.clock.as_secs_f64()
    }
}

/// The middle one of several by the clock, the quickest and the slowest: in words.
pub fn told(of: &[Spent]) -> String {
    let clock = sorted(of.iter().map(Spent::seconds).collect());
    let own = sorted(of.iter().map(|one| one.own).collect());
    let served = sorted(of.iter().map(|one| one.served).collect());
    format!(
        "{:.2} s ({:.2} to {:.2}); of processors {:.2} s here, {:.2} s in the servers",
        middle(&clock),
        clock[0],
        clock[clock.len() - 1],
        middle(&own),
        middle(&served),
    )
}

/// From the least to the most.
pub fn sorted(mut numbers: Vec<f64>) -> Vec<f64> {
    numbers.sort_by(f64::total_cmp);
    numbers
}

/// The one in the middle.
pub fn middle(sorted: &[f64]) -> f64 {
    sorted[sorted.len() / 2]
}

/// The most memory that this process has had, in kB; nothing where it cannot be seen.
#[allow(dead_code, reason = "where others do the work, theirs is what counts")]
pub fn peak_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}

/// This process, and those that it has waited for.
fn own() -> f64 {
    stat("self").map_or(0.0, |stat| stat.itself + stat.ended)
}

/// The servers' processes: those that are there, and those that have ended.
fn served(servers: &[&Server]) -> f64 {
    let masters: Vec<u64> = servers.iter().filter_map(|server| postmaster(server)).collect();
    let Ok(processes) = fs::read_dir("/proc") else { return 0.0 };
    let stats = processes.filter_map(|process| stat(process.ok()?.file_name().to_str()?));
    stats
        .map(|stat| match (masters.contains(&stat.process), masters.contains(&stat.parent)) {
            (true, _) => stat.itself + stat.ended,
            (_, true) => stat.itself,
            _ => 0.0,
        })
        .sum()
}

/// The first line of the file that a server writes while it runs.
fn postmaster(server: &Server) -> Option<u64> {
    let file = fs::read_to_string(server.data_directory().join("postmaster.pid")).ok()?;
    file.lines().next()?.trim().parse().ok()
}

/// What a process is and has used, in seconds.
struct Stat {
    process: u64,
    parent: u64,
    itself: f64,
    /// By its children that have ended.
    ended: f64,
}

/// From the process's `stat`: its number, its parent's, and four counts of hundredths of a second.
fn stat(process: &str) -> Option<Stat> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (number, _) = stat.split_once(' ')?;
    let (_, after_name) = stat.rsplit_once(')')?;
    let fields: Vec<u64> =
        after_name.split_whitespace().map(|field| field.parse().unwrap_or_default()).collect();
    #[expect(clippy::cast_precision_loss, reason = "hundredths of a second are few")]
    let seconds = |at: usize| Some(fields.get(at).copied()? as f64 / 100.0);
    Some(Stat {
        process: number.parse().ok()?,
        parent: fields.get(1).copied()?,
        itself: seconds(11)? + seconds(12)?,
        ended: seconds(13)? + seconds(14)?,
    })
}
