//! What a statement of a migration could break or block, and what is said of it.

use std::fmt;

/// What a statement could break or block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hazard {
    /// Values go that nothing brings back.
    DataLoss,
    /// Every row is written anew, and nobody reads or writes the table meanwhile.
    Rewrite,
    /// Every row is read, and nobody reads or writes the table meanwhile.
    Scan,
    /// An index is built, and nobody writes the table meanwhile.
    IndexBuild,
    /// The next run computes a relation anew, from all of bronze.
    Recompute,
}

impl Hazard {
    /// The word by which it is told from others.
    pub fn code(self) -> &'static str {
        match self {
            Self::DataLoss => "data_loss",
            Self::Rewrite => "rewrite",
            Self::Scan => "scan",
            Self::IndexBuild => "index_build",
            Self::Recompute => "recompute",
        }
    }
}

impl fmt::Display for Hazard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::DataLoss => {
                "data loss: what it held is gone; taking the migration back does not bring it back"
            }
            Self::Rewrite => "rewrite: every row is written anew, while nobody can read or write the table",
            Self::Scan => "scan: every row is read, while nobody can read or write the table",
            Self::IndexBuild => "index build: every row is read, while nobody can write the table",
            Self::Recompute => "recompute: the next run computes it anew from everything that has landed",
        })
    }
}
