//! Keeps what tests found wrong, with the run that found it: the last time that a test failed, and no longer. Knows
//! no rule.

use sqlx::PgConnection;

use serde_json::json;

use super::{Status, Tested};
use crate::descriptor::Warehouse;
use crate::error::{During as _, Result};
use crate::record::{self, Record};

/// How to see the rows because of which nothing was published.
pub(crate) const WRONG: &str =
    "the rows that are wrong: SELECT test, full_row FROM medallion.failed_row WHERE status = 'failed'";

/// Keeps the rows of the tests that did not pass, in the place of what they found before.
pub(crate) async fn keep(tested: &[Tested], record: Record, connection: &mut PgConnection) -> Result<()> {
    let wrong = tested.iter().filter(|one| !matches!(one.status, Status::Proved | Status::Passed));
    for one in wrong {
        let status = match one.status {
            Status::Warned => "warned",
            _ => "failed",
        };
        sqlx::query(
            "WITH gone AS (DELETE FROM medallion.failed_row WHERE test = $2)
            INSERT INTO medallion.failed_row (run, test, relation, status, failures, message, full_row)
            SELECT $1, $2, $3, $4, $5, $6, found.one::jsonb
            FROM unnest(CASE WHEN cardinality($7::text[]) = 0 THEN ARRAY[NULL::text] ELSE $7 END) AS found (one)",
        )
        .bind(record.id())
        .bind(one.name)
        .bind(one.relation.to_string())
        .bind(status)
        .bind(i64::try_from(one.failures).unwrap_or(i64::MAX))
        .bind(&one.message)
        .bind(&one.rows)
        .execute(&mut *connection)
        .await
        .during(|| format!("cannot keep what the test `{}` found", one.name))?;
    }
    Ok(())
}

/// Keeps what held back something that is no run, and was rolled back: `what` it was. The caller holds the lock.
pub(crate) async fn keep_held(
    warehouse: &Warehouse,
    what: &str,
    tested: &[Tested],
    connection: &mut PgConnection,
) -> Result<()> {
    let record = record::begin(warehouse, connection).await?;
    keep(tested, record, connection).await?;
    record.held(connection, &json!({ "held": what, "tests": super::counted(tested) })).await
}
