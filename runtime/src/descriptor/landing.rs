//! How the rows of a landing table come: as changes that the source tells, as whole copies of a table that are
//! compared with what has landed, or out of files. Says nothing of how any of it is done.

use std::time::Duration;

use super::{Feed, Landing, Name, Warehouse};

/// How the rows of a landing table come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Fed {
    /// As the changes that the source tells: by its log, or by watermark.
    #[default]
    Changes,
    /// As snapshots of the source's table.
    Snapshots(Snapshots),
    /// Out of files.
    Files(Feed),
}

/// How snapshots are taken of a source's table, and what is made of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshots {
    /// Not more often than this; with every run where it is not said.
    pub every: Option<Duration>,
    /// What becomes of rows that the last snapshot lacks.
    pub gone: Gone,
}

/// What becomes of rows that have landed and that a snapshot lacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gone {
    /// They end: a delete lands.
    #[default]
    Closed,
    /// They stay as they were, and are counted.
    Kept,
    /// Nobody looks: a snapshot may hold a part of the rows.
    Ignored,
}

impl Landing {
    /// A landing table that the changes of a source's table feed.
    pub fn new<'k>(table: Name, source: Name, key: impl IntoIterator<Item = &'k str>) -> Self {
        Self { table, source, key: super::names(key), fed: Fed::Changes, is_apart: false }
    }

    /// The same, in a database of its own.
    #[must_use]
    pub fn apart(self) -> Self {
        Self { is_apart: true, ..self }
    }

    /// The same, fed by snapshots.
    #[must_use]
    pub fn by_snapshots(self, snapshots: Snapshots) -> Self {
        Self { fed: Fed::Snapshots(snapshots), ..self }
    }

    /// How snapshots feed it, where they do.
    pub fn snapshots(&self) -> Option<&Snapshots> {
        match &self.fed {
            Fed::Snapshots(snapshots) => Some(snapshots),
            Fed::Changes | Fed::Files(_) => None,
        }
    }

    /// The same, fed by files.
    #[must_use]
    pub fn by_files(self, feed: Feed) -> Self {
        Self { fed: Fed::Files(feed), ..self }
    }

    /// Which files feed it, where they do.
    pub fn feed(&self) -> Option<&Feed> {
        match &self.fed {
            Fed::Files(feed) => Some(feed),
            Fed::Changes | Fed::Snapshots(_) => None,
        }
    }
}

impl Warehouse {
    /// The landing tables that the source's changes feed: the first of all of them, so that a place among them is a
    /// place among all.
    pub fn captured(&self) -> &[Landing] {
        let count = self.landings.iter().take_while(|landing| landing.fed == Fed::Changes).count();
        &self.landings[..count]
    }

    /// Whether landing tables, all of them, stand in a database of their own.
    pub fn is_bronze_apart(&self) -> bool {
        self.landings.iter().any(|landing| landing.is_apart)
    }

    /// Whether the source's log is read: something is captured, and not by watermark.
    pub fn reads_log(&self) -> bool {
        self.source.polling.is_none() && (self.landings.is_empty() || !self.captured().is_empty())
    }

    /// Whether the source is asked for anything.
    pub fn has_source(&self) -> bool {
        self.landings.is_empty() || self.landings.iter().any(|landing| landing.feed().is_none())
    }

    /// Whether files feed some landing table.
    pub fn has_feeds(&self) -> bool {
        self.landings.iter().any(|landing| landing.feed().is_some())
    }
}
