//! How a run tells where it is: a line a step, to standard error, as dbt's users know them. Knows the
//! steps' names and nothing of how they are done.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

/// Where a run's words go.
pub trait Progress: Send {
    /// A numbered step was done.
    fn step(&mut self, step: &Step<'_>);
    /// Something to know.
    fn note(&mut self, text: &str);
    /// Something to look into.
    fn warn(&mut self, text: &str);
    /// What keeps from being done what was to be done.
    fn fail(&mut self, text: &str) {
        self.warn(text);
    }
    /// How things stand, which goes on changing.
    fn state(&mut self, text: &str) {
        self.note(text);
    }
}

/// A step that was done.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// Its number, from 1 on.
    pub number: usize,
    /// How many steps the run has.
    pub of: usize,
    /// What was done: `landed`, `applied`, `refreshed`.
    pub verb: &'a str,
    /// To what.
    pub object: &'a str,
    /// How many rows.
    pub rows: u64,
    /// How long it took; none where steps share their time.
    pub elapsed: Option<Duration>,
}

/// Writes to standard error.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lines;

impl Progress for Lines {
    fn step(&mut self, step: &Step<'_>) {
        let Step { number, of, verb, object, rows, elapsed } = step;
        let counted = count(*rows, "row");
        let time = elapsed.map(|time| format!(" in {:.2}s", time.as_secs_f64())).unwrap_or_default();
        say(&format!("{number} of {of} OK {verb} {object} [{counted}{time}]"));
    }

    fn note(&mut self, text: &str) {
        say(text);
    }

    fn warn(&mut self, text: &str) {
        say(&format!("WARN {text}"));
    }

    fn fail(&mut self, text: &str) {
        say(&format!("FAIL {text}"));
    }

    /// On a terminal in the place of the state before.
    fn state(&mut self, text: &str) {
        let mut stderr = std::io::stderr().lock();
        if stderr.is_terminal() {
            let _ = write!(stderr, "{ANEW}{text}");
            let _ = stderr.flush();
        } else {
            let _ = writeln!(stderr, "{text}");
        }
    }
}

/// To the line's beginning, and nothing on it.
const ANEW: &str = "\r\x1b[K";

/// Says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn step(&mut self, _: &Step<'_>) {}
    fn note(&mut self, _: &str) {}
    fn warn(&mut self, _: &str) {}
}

/// A count with its noun: `1 row`, `16,044 rows`.
pub fn count(number: u64, noun: &str) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{grouped} {noun}{}", if number == 1 { "" } else { "s" })
}

fn say(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let anew = if stderr.is_terminal() { ANEW } else { "" };
    // A closed standard error is no reason to stop a run.
    let _ = writeln!(stderr, "{anew}{text}");
}
