//! `bench`: runs benchmarks, each beside its baseline on the same servers in the same run, and writes what it found as a
//! page, as data and as curves. Every benchmark runs in a process of its own, so that its memory is its own and one
//! that fails holds up no other. Knows what benchmarks there are, and nothing of what they do.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for people at a terminal")]

mod apply;
mod curve;
mod landing;
mod latency;
mod machine;
mod made;
mod marts;
mod memory;
mod neighbours;
mod one_row;
mod orders;
mod questions;
mod record;
mod report;
mod scale;
mod shop;
mod snapshot;
mod stopwatch;
mod tool;
mod versioning;

use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Command, ExitCode, Stdio};

use clap::Parser;
use comfy_table::{Table, TableStyle};

use crate::record::Record;
use crate::report::{Measured, Ran, Results};
use crate::scale::{Scale, Size};

type Error = Box<dyn std::error::Error>;
type Measuring = Pin<Box<dyn Future<Output = Result<Record, Error>>>>;

/// What can be measured.
struct Benchmark {
    name: &'static str,
    title: &'static str,
    measure: fn(Scale) -> Measuring,
}

const BENCHMARKS: [Benchmark; 12] = [
    Benchmark {
        name: "landing",
        title: "Landing changes",
        measure: |scale| Box::pin(landing::measure(scale)),
    },
    Benchmark {
        name: "snapshot",
        title: "Landing a snapshot",
        measure: |scale| Box::pin(snapshot::measure(scale)),
    },
    Benchmark {
        name: "memory",
        title: "What the largest take of memory",
        measure: |scale| Box::pin(memory::measure(scale)),
    },
    Benchmark {
        name: "latency",
        title: "From a commit of the source to a mart",
        measure: |scale| Box::pin(latency::measure(scale)),
    },
    Benchmark { name: "apply", title: "Applying changes", measure: |scale| Box::pin(apply::measure(scale)) },
    Benchmark {
        name: "one_row",
        title: "One changed row of a dimension",
        measure: |scale| Box::pin(one_row::measure(scale)),
    },
    Benchmark {
        name: "orders",
        title: "Changed orders, end to end",
        measure: |scale| Box::pin(orders::measure(scale)),
    },
    Benchmark { name: "shop", title: "A day of the shop", measure: |scale| Box::pin(shop::measure(scale)) },
    Benchmark {
        name: "versioning",
        title: "Versioning by triggers",
        measure: |scale| Box::pin(versioning::measure(scale)),
    },
    Benchmark {
        name: "marts",
        title: "Marts after a few changes of a large fact",
        measure: |scale| Box::pin(marts::measure(scale)),
    },
    Benchmark {
        name: "questions",
        title: "Questions about a time",
        measure: |scale| Box::pin(questions::measure(scale)),
    },
    Benchmark { name: "tool", title: "The tool itself", measure: |scale| Box::pin(tool::measure(scale)) },
];

/// Measures medallion beside its neighbours, in the same run.
#[derive(Debug, Parser)]
struct Arguments {
    /// How large: `small` shows in minutes that all of it runs, `large` is for the record.
    #[arg(long, value_enum, default_value_t = Size::Small)]
    size: Size,
    /// These benchmarks alone.
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    only: Vec<String>,
    /// How often each is measured.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// The folder for RESULTS.md, results.json and curves/; otherwise nothing is written.
    #[arg(long, value_name = "FOLDER")]
    to: Option<PathBuf>,
    /// The day that results are of, `2026-03-01`; otherwise today's.
    #[arg(long, value_name = "DAY")]
    day: Option<String>,
    /// Without programs of others, which would have to be installed.
    #[arg(long)]
    without_neighbours: bool,
    /// Runs one in this process and prints its record: what the program asks of itself.
    #[arg(long, hide = true)]
    alone: Option<String>,
}

impl Arguments {
    fn scale(&self) -> Scale {
        Scale { size: self.size, runs: self.runs, neighbours: !self.without_neighbours }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.alone {
        Some(name) => alone(name, arguments.scale()),
        None => all(&arguments),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

/// One benchmark, in this process; its record as JSON.
fn alone(name: &str, scale: Scale) -> Result<ExitCode, Error> {
    let benchmark = named(name)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let record = runtime.block_on((benchmark.measure)(scale))?;
    println!("{}", serde_json::to_string(&record)?);
    Ok(ExitCode::SUCCESS)
}

/// Each in a process of its own; then the page.
fn all(arguments: &Arguments) -> Result<ExitCode, Error> {
    let wanted: Vec<&Benchmark> = match arguments.only.as_slice() {
        [] => BENCHMARKS.iter().collect(),
        names => names.iter().map(|name| named(name)).collect::<Result<_, _>>()?,
    };
    let measured = Measured {
        machine: machine::described(),
        day: arguments.day.clone().map_or_else(machine::today, Ok)?,
    };
    let mut results = Results { benchmarks: arguments.to.as_deref().map(before).unwrap_or_default() };
    println!("{}\n", measured.machine);
    let mut has_failed = false;
    for benchmark in wanted {
        println!("{}", benchmark.title);
        let ran = run(benchmark, &measured, arguments)?;
        show(&ran);
        has_failed |= ran.failed.is_some();
        results.benchmarks.retain(|one| one.name != ran.name);
        results.benchmarks.push(ran);
        results.benchmarks.sort_by_key(|ran| BENCHMARKS.iter().position(|one| one.name == ran.name));
        if let Some(folder) = &arguments.to {
            write(&results, folder)?;
        }
    }
    Ok(if has_failed { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// What the folder has, for what is not measured now.
fn before(folder: &Path) -> Vec<Ran> {
    let there = fs::read(folder.join("results.json")).ok();
    let there: Option<Results> = there.and_then(|text| serde_json::from_slice(&text).ok());
    let known = |ran: &Ran| BENCHMARKS.iter().any(|one| one.name == ran.name);
    there.map(|there| there.benchmarks.into_iter().filter(known).collect()).unwrap_or_default()
}

fn run(benchmark: &Benchmark, measured: &Measured, arguments: &Arguments) -> Result<Ran, Error> {
    let output = Command::new(std::env::current_exe()?)
        .args(["--alone", benchmark.name, "--size", &arguments.size.to_string()])
        .args(["--runs", &arguments.runs.to_string()])
        .args(arguments.without_neighbours.then_some("--without-neighbours"))
        .stderr(Stdio::inherit())
        .output()?;
    let said = String::from_utf8(output.stdout)?;
    let record = said.lines().last().and_then(|line| serde_json::from_str(line).ok());
    let failed = match (output.status.success(), &record) {
        (true, Some(_)) => None,
        _ => Some(format!("it ended with {}", output.status)),
    };
    let (name, title) = (benchmark.name.to_owned(), benchmark.title.to_owned());
    let size = arguments.size.to_string();
    Ok(Ran { name, title, size, measured: measured.clone(), record: record.unwrap_or_default(), failed })
}

fn show(ran: &Ran) {
    let mut table = Table::new();
    table.load_style(TableStyle::new());
    for line in &ran.record.lines {
        table.add_row(report::cells(line));
    }
    println!("{table}");
    for note in ran.record.notes.iter().chain(&ran.failed) {
        println!("  {note}");
    }
    println!();
}

fn write(results: &Results, folder: &Path) -> Result<(), Error> {
    let curves = folder.join("curves");
    fs::create_dir_all(&curves)?;
    fs::write(folder.join("RESULTS.md"), report::markdown(results))?;
    fs::write(folder.join("results.json"), serde_json::to_string_pretty(results)? + "\n")?;
    for curve in results.benchmarks.iter().flat_map(|ran| &ran.record.curves) {
        fs::write(curves.join(format!("{}.svg", curve.name)), curve::svg(curve)?)?;
    }
    Ok(())
}

fn named(name: &str) -> Result<&'static Benchmark, Error> {
    let there = || BENCHMARKS.iter().map(|one| one.name).collect::<Vec<_>>().join(", ");
    let found = BENCHMARKS.iter().find(|one| one.name == name);
    found.ok_or_else(|| format!("there is no benchmark `{name}`\n  = there are: {}", there()).into())
}
