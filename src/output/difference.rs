//! What a set of files and a disk disagree about, and how that is shown. Knows no disk.

use std::fmt;

use similar::TextDiff;

use crate::emit::FileSet;

/// A file that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Another text is there.
    Different {
        /// The file.
        path: String,
        /// Its text.
        there: String,
        /// The text that it should have.
        wanted: String,
    },
    /// It is not there.
    Missing {
        /// The file.
        path: String,
    },
    /// It is there, and nothing generates it any more.
    Orphaned {
        /// The file.
        path: String,
    },
}

/// All that is not as it should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    list: Vec<Difference>,
}

impl Differences {
    pub(super) fn new(list: Vec<Difference>) -> Self {
        Self { list }
    }

    /// Whether all is as it should be.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The list, files of the set first.
    pub fn list(&self) -> &[Difference] {
        &self.list
    }

    /// The files that are missing or different, with the texts that they should have.
    pub fn to_write<'a>(&'a self, files: &'a FileSet) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.list.iter().filter_map(|difference| match difference {
            Difference::Different { path, .. } | Difference::Missing { path } => {
                files.get(path).map(|text| (path.as_str(), text))
            }
            Difference::Orphaned { .. } => None,
        })
    }

    /// The files that nothing generates any more.
    pub fn orphans(&self) -> impl Iterator<Item = &str> {
        self.list.iter().filter_map(|difference| match difference {
            Difference::Orphaned { path } => Some(path.as_str()),
            Difference::Different { .. } | Difference::Missing { .. } => None,
        })
    }
}

impl fmt::Display for Differences {
    /// A unified diff of what differs; a line for each file that is missing or orphaned.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for difference in &self.list {
            match difference {
                Difference::Different { path, there, wanted } => {
                    let diff = TextDiff::from_lines(there.as_str(), wanted.as_str());
                    let mut diff = diff.unified_diff();
                    let (from, to) = (format!("{path} (there)"), format!("{path} (generated)"));
                    write!(formatter, "{}", diff.context_radius(3).header(&from, &to))?;
                }
                Difference::Missing { path } => writeln!(formatter, "missing: {path}")?,
                Difference::Orphaned { path } => writeln!(formatter, "orphaned: {path}")?,
            }
        }
        Ok(())
    }
}
