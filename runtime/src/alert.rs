//! Whether what the spec watches has gone further than it may: measured in the warehouse, but for what its caller knows
//! of the source. Changes nothing.

use serde::Serialize;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row as _};

use crate::descriptor::{Landing, Warehouse, Watched};
use crate::error::{During as _, Result};
use crate::quote;

/// How many of a landing table's last changes are looked at for duplicates.
const LATEST: u32 = 10_000;

/// What is known of the source; none where it is not.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known {
    /// Seconds that silver and gold are behind it.
    pub lag: Option<f64>,
    /// Bytes of its log that have not landed.
    pub backlog: Option<f64>,
    /// Whether bronze cannot be asked: where it stands apart, it may be out of reach.
    pub bronze_unseen: bool,
}

/// Something that is watched, as it is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// What.
    pub alert: &'static str,
    /// What it is; none where that cannot be told.
    pub value: Option<f64>,
    /// The most that is well.
    pub most: u64,
    /// Whether it has gone further.
    pub exceeded: bool,
}

/// Measures all that the spec watches.
pub async fn measure(
    warehouse: &Warehouse,
    known: Known,
    target: &mut PgConnection,
) -> Result<Vec<Measured>> {
    let mut all = Vec::new();
    for alert in &warehouse.alerts {
        let value = match alert.of {
            Watched::Lag => known.lag,
            Watched::Backlog => known.backlog,
            _ if known.bronze_unseen => None,
            Watched::Unapplied => Some(unapplied(warehouse, target).await?),
            Watched::Duplicates => Some(duplicates(warehouse, target).await?),
            Watched::Quarantined => {
                number(target, "SELECT count(*)::float8 FROM medallion.quarantine").await?
            }
            Watched::Age => number(target, AGE).await?,
        };
        #[expect(clippy::cast_precision_loss, reason = "a threshold is no exact number")]
        let exceeded = value.is_some_and(|value| value > alert.most as f64);
        all.push(Measured { alert: alert.of.name(), value, most: alert.most, exceeded });
    }
    Ok(all)
}

const AGE: &str =
    "SELECT max(extract(epoch FROM clock_timestamp() - greatest(watermark, compared_at)))::float8
    FROM medallion.captured_table";

/// Changes above what each relation has been applied to.
async fn unapplied(warehouse: &Warehouse, target: &mut PgConnection) -> Result<f64> {
    let mut all = 0.0;
    for landing in &warehouse.landings {
        let fed: Vec<String> = warehouse
            .silver
            .iter()
            .filter(|silver| silver.feed == landing.table)
            .map(|silver| quote::literal(&silver.table.to_string()))
            .collect();
        if fed.is_empty() {
            continue;
        }
        let sql = format!(
            "SELECT count(*)::float8
            FROM {}
            WHERE lsn > (
                SELECT CASE WHEN count(*) < {} THEN -1 ELSE min(lsn) END
                FROM medallion.watermark
                WHERE relation IN ({})
            )",
            quote::name(&landing.table),
            fed.len(),
            fed.join(", ")
        );
        all += number(target, &sql).await?.unwrap_or_default();
    }
    Ok(all)
}

/// Changes that say again what the one before of their key said, in the landing table that has most of them.
async fn duplicates(warehouse: &Warehouse, target: &mut PgConnection) -> Result<f64> {
    let mut most = 0.0_f64;
    for landing in &warehouse.landings {
        most = most.max(number(target, &repeated(landing)).await?.unwrap_or_default());
    }
    Ok(most)
}

fn repeated(landing: &Landing) -> String {
    let key: Vec<String> =
        landing.key.iter().map(|column| format!("full_row -> {}", quote::literal(column))).collect();
    format!(
        "SELECT count(*)::float8
        FROM (
            SELECT
                op,
                full_row,
                lag(op) OVER own AS op_before,
                lag(full_row) OVER own AS before
            FROM (
                SELECT lsn, seq, op, full_row
                FROM {}
                ORDER BY lsn DESC, seq DESC
                LIMIT {LATEST}
            ) AS latest
            WHERE op <> 'T'
            WINDOW own AS (PARTITION BY {} ORDER BY lsn, seq)
        ) AS change
        WHERE op_before IS NOT NULL AND full_row = before AND (op = 'D') = (op_before = 'D')",
        quote::name(&landing.table),
        key.join(", ")
    )
}

async fn number(target: &mut PgConnection, sql: &str) -> Result<Option<f64>> {
    let unmeasured = || "cannot measure what the spec watches".to_owned();
    let row = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_one(target).await.during(unmeasured)?;
    row.try_get(0).during(unmeasured)
}
