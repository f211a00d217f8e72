//! What a benchmark found: its lines, each ours beside a baseline, and its curves. Serialised as it stands. Knows no
//! benchmark, and nothing of how it is shown.

use serde::{Deserialize, Serialize};

/// All that one benchmark found.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Record {
    /// Ours beside the baselines.
    #[serde(default)]
    pub lines: Vec<Line>,
    /// How a cost grows.
    #[serde(default)]
    pub curves: Vec<Curve>,
    /// What a reader has to know, and what was passed by and why.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// One comparison.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Line {
    /// What was done.
    pub what: String,
    /// What it is held against; nothing where it stands for itself.
    pub baseline: Option<String>,
    /// How long ours took, in seconds.
    pub ours: Spread,
    /// How long the baseline took, in seconds.
    pub theirs: Option<Spread>,
    /// The ratios of those that ran next to each other: ours by theirs.
    pub ratio: Option<Spread>,
    /// What is to be reached.
    pub goal: Option<Goal>,
    /// How many rows or changes passed through, for what a second takes.
    pub rows: Option<u64>,
    /// The most memory that our process had meanwhile, in bytes.
    pub peak_memory: Option<u64>,
    /// Write-ahead log of the warehouse a row, in bytes.
    pub log_by_row: Option<f64>,
}

/// What is to be reached.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// At most so many times the baseline's time.
    AtMostTimes(f64),
    /// So many times faster than the baseline.
    TimesFaster(f64),
    /// In so many seconds.
    Seconds(f64),
    /// In so many bytes of memory.
    Memory(u64),
}

/// The least, the middle and the most of several.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Spread {
    pub least: f64,
    pub median: f64,
    pub most: f64,
}

/// A cost over a size, a line for each way of having it done.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Curve {
    /// Of the file, too.
    pub name: String,
    pub title: String,
    /// What grows.
    pub x: String,
    /// Each way, with its points: the size, and the seconds.
    pub ways: Vec<(String, Vec<(f64, f64)>)>,
}

impl Spread {
    /// That of some numbers; nothing of none.
    #[must_use]
    pub fn of(numbers: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = numbers.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (least, most) = (*sorted.first()?, *sorted.last()?);
        Some(Self { least, median: sorted[sorted.len() / 2], most })
    }
}

impl Line {
    /// Ours by itself: seconds of each run.
    #[must_use]
    pub fn alone(what: &str, ours: &[f64]) -> Option<Self> {
        Some(Self {
            what: what.to_owned(),
            baseline: None,
            ours: Spread::of(ours.iter().copied())?,
            theirs: None,
            ratio: None,
            goal: None,
            rows: None,
            peak_memory: None,
            log_by_row: None,
        })
    }

    /// Ours beside a baseline: seconds of the runs, which went by turns.
    #[must_use]
    pub fn beside(what: &str, ours: &[f64], baseline: &str, theirs: &[f64]) -> Option<Self> {
        let alone = Self::alone(what, ours)?;
        Some(Self {
            baseline: Some(baseline.to_owned()),
            theirs: Spread::of(theirs.iter().copied()),
            ratio: Spread::of(ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs)),
            ..alone
        })
    }

    #[must_use]
    pub fn goal(self, goal: Goal) -> Self {
        Self { goal: Some(goal), ..self }
    }

    #[must_use]
    pub fn rows(self, rows: u64) -> Self {
        Self { rows: Some(rows), ..self }
    }

    #[must_use]
    pub fn peak_memory(self, bytes: Option<u64>) -> Self {
        Self { peak_memory: bytes, ..self }
    }

    /// Bytes of write-ahead log that one run wrote, told a row.
    #[must_use]
    pub fn log(self, bytes: u64) -> Self {
        let log_by_row = self.rows.map(|rows| float(bytes) / float(rows));
        Self { log_by_row, ..self }
    }

    /// Whether the goal is reached; nothing where there is none, or nothing to hold it against.
    #[must_use]
    pub fn is_reached(&self) -> Option<bool> {
        Some(match self.goal? {
            Goal::AtMostTimes(times) => self.ratio?.median <= times,
            Goal::TimesFaster(times) => 1.0 / self.ratio?.median >= times,
            Goal::Seconds(seconds) => self.ours.median <= seconds,
            Goal::Memory(bytes) => self.peak_memory? <= bytes,
        })
    }
}

/// A count of rows or bytes, for ratios and for people.
#[expect(clippy::cast_precision_loss, reason = "what is counted here stays far below 2^53")]
#[must_use]
pub fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::{Goal, Line, Spread};

    #[test]
    fn a_spread_has_the_middle_between_its_ends() {
        let spread = Spread::of([3.0, 1.0, 2.0]).unwrap();
        assert_eq!(spread, Spread { least: 1.0, median: 2.0, most: 3.0 });
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn ratios_are_of_runs_that_went_next_to_each_other() {
        let line = Line::beside("landing", &[2.0, 8.0, 3.0], "counting", &[1.0, 2.0, 1.0]).unwrap();
        assert_eq!(line.ratio.unwrap(), Spread { least: 2.0, median: 3.0, most: 4.0 });
        assert_eq!(line.clone().goal(Goal::AtMostTimes(3.0)).is_reached(), Some(true));
        assert_eq!(line.clone().goal(Goal::AtMostTimes(2.9)).is_reached(), Some(false));
        assert_eq!(line.clone().goal(Goal::TimesFaster(0.3)).is_reached(), Some(true));
        assert_eq!(line.clone().goal(Goal::Memory(1)).is_reached(), None, "it was not measured");
        assert_eq!(line.is_reached(), None, "nothing was asked");
    }
}
