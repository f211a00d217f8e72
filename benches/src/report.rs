//! The results as people read them: Markdown for the record, a table for a terminal. Knows no benchmark.

use std::fmt::Write as _;

use crate::curve::{count, duration, short};
use crate::record::{Goal, Line, Record, Spread, float};

/// All that was found.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize)]
pub struct Results {
    /// The benchmarks that ran: name, title, what they found; or why one failed.
    pub benchmarks: Vec<Ran>,
}

/// A benchmark that ran.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize)]
pub struct Ran {
    pub name: String,
    pub title: String,
    /// How large it was.
    pub size: String,
    /// On what, and when.
    #[serde(flatten)]
    pub measured: Measured,
    pub record: Record,
    pub failed: Option<String>,
}

/// On what something was measured, and when.
#[derive(Clone, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct Measured {
    pub machine: String,
    /// The day, `2026-03-01`.
    pub day: String,
}

/// The page for the record.
#[must_use]
pub fn markdown(results: &Results) -> String {
    let mut page = String::from("# What it costs\n\n");
    page.push_str(
        "Written by `make bench`. Ours and the baseline run on the same server by turns, after a warm-up; a ratio is that\n\
         of runs that went next to each other: the median, and in brackets the least and the most. The servers are the\n\
         benchmarks' own and force nothing to disk. Another machine has other times; ratios travel better.\n\n",
    );
    for ran in &results.benchmarks {
        let Ran { title, name, size, measured: Measured { machine, day }, .. } = ran;
        let _ = writeln!(page, "## {title}\n\n`make bench ONLY={name} SIZE={size}`, {day}: {machine}\n");
        if let Some(why) = &ran.failed {
            let _ = writeln!(page, "FAILED: {why}\n");
        }
        if !ran.record.lines.is_empty() {
            page.push_str(
                "| what | medallion | baseline | ratio | goal | |\n| --- | ---: | --- | ---: | --- | --- |\n",
            );
        }
        for line in &ran.record.lines {
            let cells = cells(line).map(|cell| cell.replace('|', "\\|"));
            let _ = writeln!(page, "| {} |", cells.join(" | "));
        }
        if !ran.record.lines.is_empty() {
            page.push('\n');
        }
        for curve in &ran.record.curves {
            let _ = writeln!(page, "![{}](curves/{}.svg)\n", curve.title, curve.name);
        }
        for note in &ran.record.notes {
            let _ = writeln!(page, "{note}\n");
        }
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

/// A line's cells: what, ours, the baseline, the ratio, the goal, and what else was measured.
#[must_use]
pub fn cells(line: &Line) -> [String; 6] {
    let baseline = match (&line.baseline, line.theirs) {
        (Some(name), Some(theirs)) => format!("{name}: {}", duration(theirs.median)),
        (Some(name), None) => format!("{name}: not measured"),
        (None, _) => String::new(),
    };
    [
        line.what.clone(),
        duration(line.ours.median),
        baseline,
        line.ratio.map_or_else(String::new, |ratio| said(ratio, line.goal)),
        goal(line),
        more(line),
    ]
}

/// A ratio: how many times the baseline's time, or how many times faster, whichever says more.
fn said(ratio: Spread, goal: Option<Goal>) -> String {
    let faster = matches!(goal, Some(Goal::TimesFaster(_))) || goal.is_none() && ratio.median < 0.5;
    if faster {
        let Spread { least, median, most } = ratio;
        format!("1/{} (1/{} to 1/{})", short(1.0 / median), short(1.0 / most), short(1.0 / least))
    } else {
        format!("{} × ({} to {})", short(ratio.median), short(ratio.least), short(ratio.most))
    }
}

fn goal(line: &Line) -> String {
    let Some(goal) = line.goal else { return String::new() };
    let asked = match goal {
        Goal::AtMostTimes(times) => format!("≤ {} ×", short(times)),
        Goal::TimesFaster(times) => format!("≤ 1/{}", short(times)),
        Goal::Seconds(seconds) => format!("≤ {}", duration(seconds)),
        Goal::Memory(bytes) => format!("≤ {}", memory(bytes)),
    };
    match line.is_reached() {
        Some(true) => format!("{asked}: met"),
        Some(false) => format!("{asked}: **missed**"),
        None => asked,
    }
}

fn more(line: &Line) -> String {
    let rate = line.rows.map(|rows| format!("{}/s", count(float(rows) / line.ours.median)));
    let memory = line.peak_memory.map(|bytes| format!("{} at most", memory(bytes)));
    let log = line.log_by_row.map(|bytes| format!("{} B of log a row", short(bytes)));
    [rate, memory, log].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn memory(bytes: u64) -> String {
    format!("{} MB", bytes / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::{Measured, Ran, Results, markdown};
    use crate::record::{Curve, Goal, Line, Record};

    #[test]
    fn the_page_says_what_was_met_and_what_was_not() {
        let landing =
            Line::beside("landing 1 M changes", &[5.0, 6.0, 5.5], "counting them", &[2.0, 2.0, 2.0])
                .unwrap()
                .goal(Goal::AtMostTimes(1.6))
                .rows(1_000_000)
                .peak_memory(Some(40_000_000))
                .log(200_000_000);
        let mart = Line::beside("a sum", &[0.003], "REFRESH", &[1.5]).unwrap().goal(Goal::TimesFaster(200.0));
        let record = Record {
            lines: vec![landing, mart],
            curves: vec![Curve {
                name: "sums".into(),
                title: "Sums".into(),
                x: "rows".into(),
                ways: Vec::new(),
            }],
            notes: vec!["dbt was passed by: no network.".into()],
        };
        let measured =
            Measured { machine: "2 × processor, PostgreSQL 15.1".into(), day: "2026-03-01".into() };
        let ran = Ran {
            name: "one".into(),
            title: "One".into(),
            size: "large".into(),
            measured: measured.clone(),
            record,
            failed: None,
        };
        let other = Ran {
            name: "two".into(),
            title: "Two".into(),
            size: "small".into(),
            measured: Measured { day: "2026-03-02".into(), ..measured },
            record: Record::default(),
            failed: Some("the server is gone".into()),
        };
        let page = markdown(&Results { benchmarks: vec![ran, other] });
        let wanted = "\
## One

`make bench ONLY=one SIZE=large`, 2026-03-01: 2 × processor, PostgreSQL 15.1

| what | medallion | baseline | ratio | goal | |
| --- | ---: | --- | ---: | --- | --- |
| landing 1 M changes | 5.50 s | counting them: 2 s | 2.75 × (2.50 to 3) | ≤ 1.60 ×: **missed** | 182 K/s, 40 MB at most, 200 B of log a row |
| a sum | 3 ms | REFRESH: 1.50 s | 1/500 (1/500 to 1/500) | ≤ 1/200: met |  |

![Sums](curves/sums.svg)

dbt was passed by: no network.

## Two

`make bench ONLY=two SIZE=small`, 2026-03-02: 2 × processor, PostgreSQL 15.1

FAILED: the server is gone
";
        assert!(page.ends_with(wanted), "{page}");
    }
}
