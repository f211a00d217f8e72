//! How the files that feed landing tables stand: what has landed of them, and what is there. Looks and changes nothing.

use serde::Serialize;
use sqlx::Row as _;
use sqlx::postgres::PgConnection;

use super::pattern::Pattern;
use super::registry::{self, State};
use super::storage::Storage;
use crate::descriptor::Warehouse;
use crate::error::{During as _, Result};
use crate::progress::count;

/// What has landed of the files that feed a landing table.
#[derive(Debug, Serialize)]
pub struct Standing {
    /// The landing table.
    pub landing: String,
    /// How many files have landed.
    pub files: i64,
    /// How many rows of them.
    pub rows: i64,
    /// How many lines are in quarantine.
    pub quarantined: i64,
    /// When the last of them landed.
    pub moved: Option<String>,
}

/// Asks the warehouse for each landing table that files feed.
pub async fn standing(warehouse: &Warehouse, target: &mut PgConnection) -> Result<Vec<Standing>> {
    let unread = || "cannot read `medallion.landed_file`".to_owned();
    let fed = warehouse.landings.iter().filter(|landing| landing.feed().is_some());
    let fed: Vec<String> = fed.map(|landing| landing.table.to_string()).collect();
    if fed.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query(
        "SELECT
            fed.landing,
            count(DISTINCT file.path) AS files,
            coalesce(sum(file.rows), 0)::bigint AS rows,
            coalesce(sum(file.quarantined), 0)::bigint AS quarantined,
            max(file.updated_at)::text AS moved
        FROM unnest($1::text[]) WITH ORDINALITY AS fed (landing, number)
        LEFT JOIN medallion.landed_file AS file ON file.landing = fed.landing
        GROUP BY fed.landing, fed.number
        ORDER BY fed.number",
    )
    .bind(fed)
    .fetch_all(target)
    .await
    .during(unread)?;
    let read = |row: &sqlx::postgres::PgRow| {
        Ok(Standing {
            landing: row.try_get("landing").during(unread)?,
            files: row.try_get("files").during(unread)?,
            rows: row.try_get("rows").during(unread)?,
            quarantined: row.try_get("quarantined").during(unread)?,
            moved: row.try_get("moved").during(unread)?,
        })
    };
    rows.iter().map(read).collect()
}

/// What is there of each feed, a sentence each; and of the warehouse, where there is one, what of it has not landed.
pub async fn there(
    warehouse: &Warehouse,
    storage: &Storage,
    mut target: Option<&mut PgConnection>,
) -> Result<Vec<String>> {
    let mut facts = Vec::new();
    for landing in &warehouse.landings {
        let Some(feed) = landing.feed() else { continue };
        let (listed, _) = storage.list(&Pattern::new(&feed.path)).await?;
        let files = count(listed.len() as u64, "file");
        let mut fact = format!("`{}`: {files} `{}` in `{}`", landing.table, feed.path, storage.shown());
        if let Some(target) = target.as_deref_mut() {
            let known = registry::known(target, landing).await?;
            let waits = listed.iter().filter(|file| {
                let known = known.get(&file.path);
                !known.is_some_and(|known| known.state != State::Landing && known.is_as_listed(file))
            });
            fact += &format!(", {} to land", waits.count());
        }
        facts.push(fact);
    }
    Ok(facts)
}
