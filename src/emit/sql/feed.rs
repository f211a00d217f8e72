//! The SQL of what files need that feed landing tables: the registry of what has landed, and the index that finds a
//! key's state at a time.

use askama::Template;

use super::quote::{derived, identifier, literal, relation};
use crate::model::{FeedFormat, Landing, Warehouse};

/// The registry.
#[derive(Template)]
#[template(path = "generated/sql/warehouse/00_medallion/landed_file.sql", escape = "none")]
pub(super) struct LandedFileSql {
    /// Whether files say which batches they are.
    has_batches: bool,
}

impl LandedFileSql {
    pub(super) fn of(warehouse: &Warehouse) -> Self {
        let mut feeds = warehouse.landings.iter().filter_map(Landing::feed);
        Self { has_batches: feeds.any(|feed| feed.format == FeedFormat::ChangeLog) }
    }
}

/// Whether files feed some landing table.
pub(super) fn has_any(warehouse: &Warehouse) -> bool {
    warehouse.landings.iter().any(|landing| landing.feed().is_some())
}

/// The index that finds what a key was at a time: files come in any order.
pub(super) fn index(landing: &Landing) -> Option<String> {
    landing.feed()?;
    let hash = landing.key.iter().fold("0".to_owned(), |seed, column| {
        format!("hashtextextended(\"full_row\" ->> {}, {seed})", literal(column))
    });
    Some(format!(
        "CREATE INDEX {} ON {} (({hash}), \"commit_ts\", \"lsn\", \"seq\");",
        identifier(&derived(&landing.name.name, "time_idx")),
        relation(&landing.name)
    ))
}
