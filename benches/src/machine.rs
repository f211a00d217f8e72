//! What the machine is that measured, in a line. Knows no benchmark.

use std::fs;
use std::process::Command;

/// Its processors, its memory, its system, and the PostgreSQL that the benchmarks start.
#[must_use]
pub fn described() -> String {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut parts = vec![match processor() {
        Some(model) => format!("{cores} × {model}"),
        None => format!("{cores} processors"),
    }];
    parts.extend(memory());
    parts.extend(said("uname", &["-sr"]));
    parts.push(server().unwrap_or_else(|| "PostgreSQL".to_owned()));
    parts.join(", ")
}

fn processor() -> Option<String> {
    let info = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = info.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn memory() -> Option<String> {
    let info = fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(format!("{} GiB", (kilobytes + (1 << 19)) >> 20))
}

fn server() -> Option<String> {
    let server = medallion_server::Server::scratch().ok()?;
    let answer = server.script("postgres", "SHOW server_version").ok()?.ok()?;
    let version = answer.split_whitespace().next()?;
    Some(format!("PostgreSQL {version}"))
}

fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// Today, `2026-03-01`.
pub fn today() -> Result<String, Box<dyn std::error::Error>> {
    said("date", &["-u", "+%Y-%m-%d"])
        .ok_or_else(|| "`date` does not say what day it is\n  = say it with --day".into())
}
