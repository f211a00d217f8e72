//! The law that what runs as the owner, or opens a way past what is kept, is for those to whom it was granted: a
//! restore on a server without the roles, or one that leaves privileges out, gives it to everybody.

use serde_json::{Map, Value, json};
use sqlx::PgConnection;

use super::Broken;
use super::finding::Finding;
use crate::error::{During as _, Result};

/// What everybody may run as the owner: it tells a time, or notes what a writer met.
const OPEN: [&str; 4] = ["notice", "now", "since_horizon", "time_of"];

/// What runs as its caller, and is for the loader or the owner all the same: ways past guards, retention and what it
/// reads, switches of guards.
const CLOSED: [&str; 11] = [
    "backfill",
    "fold_apart",
    "fold_landed",
    "guards",
    "kept_since",
    "last_landed",
    "note_switch",
    "prune",
    "pruned",
    "retain",
    "switch_guards",
];

/// What mends it.
pub const REMEDY: &str = "have the owner run the pages of `40_roles` again, the roles being there";

/// The functions that PUBLIC may execute and should not, in the warehouse and where bronze stands apart.
pub async fn broken(connection: &mut PgConnection, bronze: Option<&mut PgConnection>) -> Result<Broken> {
    let mut findings = findings(None, connection).await?;
    if let Some(bronze) = bronze {
        findings.extend(self::findings(Some("bronze"), bronze).await?);
    }
    let remedy = (!findings.is_empty()).then_some(REMEDY);
    Ok(Broken { rows: findings.len() as u64, findings, waits: None, remedy })
}

async fn findings(database: Option<&str>, connection: &mut PgConnection) -> Result<Vec<Finding>> {
    let functions: Vec<String> = sqlx::query_scalar(
        "SELECT function.oid::regprocedure::text
        FROM pg_proc AS function
        WHERE function.pronamespace = 'medallion'::regnamespace
        AND (function.prosecdef AND function.proname <> ALL ($1::text[]) OR function.proname = ANY ($2::text[]))
        AND has_function_privilege('public', function.oid, 'EXECUTE')
        ORDER BY 1",
    )
    .bind(&OPEN[..])
    .bind(&CLOSED[..])
    .fetch_all(connection)
    .await
    .during(|| "cannot tell who may execute the functions of schema `medallion`".to_owned())?;
    let finding = |function: String| Finding {
        key: match database {
            Some(database) => object(json!({ "function": function, "database": database })),
            None => object(json!({ "function": function })),
        },
        since: None,
        until: None,
        stands: Some(object(json!({ "executed by": "everybody" }))),
        should: Some(object(json!({ "executed by": "whom it was granted to" }))),
    };
    Ok(functions.into_iter().map(finding).collect())
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(values) => values,
        _ => Map::new(),
    }
}
