//! The laws of periods: none is empty, none overlaps another of its key, and one version of a key is current.

use serde_json::{Map, Value};
use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use super::Broken;
use super::finding::{Finding, SHOWN};
use crate::descriptor::{Silver, SilverKind};
use crate::error::{During as _, Result};
use crate::quote;

/// The laws of a relation, each with a query for what breaks it: `m$key` as JSON, `m$since`, `m$until`.
pub fn laws(silver: &Silver) -> Vec<(&'static str, String)> {
    let key = quote::list("", &silver.key);
    let versions = versions(silver);
    let image = format!("(SELECT to_jsonb(one.*) FROM (SELECT {key}) AS one)::text");
    vec![
        (
            "has disjoint periods",
            format!(
                "SELECT {image} AS m$key, m$since::text, m$until::text\nFROM (\n\
                 SELECT *, lead(m$since) OVER (PARTITION BY {key} ORDER BY m$since, m$until) AS m$next\n\
                 FROM ({versions}) AS version\n) AS version\nWHERE m$since >= m$until OR m$next < m$until"
            ),
        ),
        (
            "has one current version a key",
            format!(
                "SELECT {image} AS m$key, min(m$since)::text AS m$since, 'infinity' AS m$until\n\
                 FROM ({versions}) AS version\nWHERE m$until = 'infinity'\nGROUP BY {key}\nHAVING count(*) > 1"
            ),
        ),
    ]
}

fn versions(silver: &Silver) -> String {
    let key = quote::list("", &silver.key);
    let table = quote::name(&silver.table);
    match &silver.kind {
        SilverKind::Dimension { start, end, .. } => format!(
            "SELECT {key}, {} AS m$since, {} AS m$until FROM {table}",
            quote::identifier(start),
            quote::identifier(end)
        ),
        SilverKind::Fact { snapshot, archive, .. } => format!(
            "SELECT {key}, {} AS m$since, 'infinity'::timestamptz AS m$until FROM {table}\n\
             UNION ALL SELECT {key}, sys_start, sys_end FROM {}",
            quote::identifier(snapshot),
            quote::name(archive)
        ),
    }
}

/// What breaks a law, by its query.
pub async fn broken(sql: &str, connection: &mut PgConnection) -> Result<Broken> {
    let sql = format!("SELECT count(*) OVER () AS m$all, * FROM (\n{sql}\n) AS broken LIMIT {SHOWN}");
    let rows = sqlx::query(AssertSqlSafe(sql))
        .persistent(false)
        .fetch_all(connection)
        .await
        .during(|| "cannot look at the periods".to_owned())?;
    let findings = rows
        .iter()
        .map(|row| Finding {
            key: object(Some(row.get(1))).unwrap_or_default(),
            since: row.get(2),
            until: row.get(3),
            stands: None,
            should: None,
        })
        .collect();
    let all = rows.first().map_or(0, |row| row.get::<i64, _>(0));
    Ok(Broken { rows: u64::try_from(all).unwrap_or_default(), findings, ..Broken::default() })
}

/// A JSON object's text as its values.
pub fn object(text: Option<String>) -> Option<Map<String, Value>> {
    serde_json::from_str(&text?).ok()
}
