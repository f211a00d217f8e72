//! How large benchmarks are, and how often each is measured. Knows no benchmark.

use std::fmt;

use clap::ValueEnum;

/// How large and how often.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    pub size: Size,
    /// How often each is measured, after a warm-up.
    pub runs: usize,
    /// Whether programs of others are installed and run beside ours.
    pub neighbours: bool,
}

/// How large.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Size {
    /// Minutes, to see that all of it runs.
    Small,
    /// What can be seen of growth while one waits for it.
    Medium,
    /// For the record.
    Large,
}

impl Scale {
    /// The first, the second or the third, as the size is.
    pub fn of<T>(self, small: T, medium: T, large: T) -> T {
        match self.size {
            Size::Small => small,
            Size::Medium => medium,
            Size::Large => large,
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Small => "small",
            Self::Medium => "medium",
            Self::Large => "large",
        })
    }
}
