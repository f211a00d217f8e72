//! The law that what has ended, and what has landed, is kept by triggers: each stands, and fires for everybody.
//! Only the owner can switch one off; here it shows for as long as it is off, and whether who did it is on record.
//! What is changed meanwhile shows for good, as a version that neither bronze nor a journal explains.

use serde_json::{Map, Value, json};
use sqlx::{PgConnection, Row as _};

use super::Broken;
use super::finding::Finding;
use crate::descriptor::{Name, Silver, SilverKind};
use crate::error::{During as _, Result};
use crate::quote;

/// The trigger that keeps a landing table append only.
pub const APPEND_ONLY: &str = "refuse_change";

/// The trigger that keeps what has ended.
const KEEPS: &str = "keep_history";

/// How the triggers of a versioned dimension begin.
const VERSIONS: &str = "zz_versioning_";

/// The table of a relation that is kept, and what its triggers' names begin with.
pub fn of(silver: &Silver) -> (&Name, &'static str) {
    match &silver.kind {
        SilverKind::Dimension { journal: Some(_), .. } => (&silver.table, VERSIONS),
        SilverKind::Dimension { .. } => (&silver.table, KEEPS),
        SilverKind::Fact { archive, .. } => (archive, KEEPS),
    }
}

/// The triggers of a table, and of its partitions, that do not fire always.
pub async fn broken(table: &Name, begins: &str, connection: &mut PgConnection) -> Result<Broken> {
    let rows = sqlx::query(
        "SELECT tgname::text,
            CASE tgenabled WHEN 'A' THEN 'always' WHEN 'D' THEN 'never' ELSE 'unless the session silences it' END,
            nullif(tgrelid, $1::regclass)::regclass::text
        FROM pg_trigger
        WHERE tgrelid IN (SELECT $1::regclass UNION SELECT relid FROM pg_partition_tree($1::regclass))
        AND NOT tgisinternal AND starts_with(tgname, $2)
        ORDER BY tgname, tgrelid",
    )
    .bind(quote::name(table))
    .bind(begins)
    .fetch_all(&mut *connection)
    .await
    .during(|| format!("cannot look at the triggers of `{table}`"))?;
    let mut found: Vec<(String, Option<String>, Option<String>)> =
        rows.iter().map(|row| (row.get(0), Some(row.get(1)), row.get(2))).collect();
    if found.is_empty() {
        found.push((begins.to_owned(), None, None));
    }
    found.retain(|(_, fires, _)| fires.as_deref() != Some("always"));
    if found.is_empty() {
        return Ok(Broken::default());
    }
    let record = record(table, connection).await?;
    let findings: Vec<Finding> = found
        .into_iter()
        .map(|(trigger, fires, partition)| Finding {
            key: match partition {
                Some(partition) => object(json!({ "trigger": trigger, "of": partition, "record": record })),
                None => object(json!({ "trigger": trigger, "record": record })),
            },
            since: None,
            until: None,
            stands: fires.map(|fires| object(json!({ "fires": fires }))),
            should: Some(object(json!({ "fires": "always" }))),
        })
        .collect();
    Ok(Broken { rows: findings.len() as u64, findings, ..Broken::default() })
}

/// What is on record of the last switch.
async fn record(table: &Name, connection: &mut PgConnection) -> Result<String> {
    let last: Option<Option<String>> = sqlx::query_scalar(
        "SELECT CASE guards WHEN 'off' THEN
            format('switched off by `%s` at %s, %s', switched_by, switched_at, coalesce('for: ' || why, 'by hand'))
        END
        FROM medallion.guard_switch
        WHERE relation = $1
        ORDER BY switch_id DESC
        LIMIT 1",
    )
    .bind(table.to_string())
    .fetch_optional(connection)
    .await
    .during(|| format!("cannot tell who switched the guards of `{table}`"))?;
    Ok(last.flatten().unwrap_or_else(|| "none".to_owned()))
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(values) => values,
        _ => Map::new(),
    }
}
