//! What `medallion.pipeline_metadata` says of runs and watches: a row a run, and a row a stretch of a watch that
//! is brought up to date in place, so that the table grows with what is started and not with time.

use sqlx::{PgConnection, Row as _};

use crate::descriptor::Warehouse;
use crate::error::{During as _, Error, Result};
use crate::statement;

/// A row that was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record(i64);

/// Opens a row. The caller holds the lock: what still says that it is running was killed.
pub async fn begin(warehouse: &Warehouse, connection: &mut PgConnection) -> Result<Record> {
    let failed = |cause: sqlx::Error| {
        Error::new("cannot record the run in `medallion.pipeline_metadata`").because(cause)
    };
    sqlx::query(
        "UPDATE medallion.pipeline_metadata \
         SET status = 'failed', end_time = now(), updated_at = now(), \
         performance_metrics = performance_metrics || '{\"error\": \"killed\"}' \
         WHERE status = 'running'",
    )
    .execute(&mut *connection)
    .await
    .map_err(failed)?;
    let row = sqlx::query(
        "INSERT INTO medallion.pipeline_metadata (pipeline_name, run_id, start_time, status) \
         VALUES ($1, gen_random_uuid(), clock_timestamp(), 'running') RETURNING id",
    )
    .bind(warehouse.name)
    .fetch_one(connection)
    .await
    .map_err(failed)?;
    Ok(Record(row.get(0)))
}

impl Record {
    /// The row's id.
    pub fn id(self) -> i64 {
        self.0
    }

    /// Says how it goes, while it goes on.
    pub async fn update(self, connection: &mut PgConnection, metrics: &serde_json::Value) -> Result<()> {
        sqlx::query(
            "UPDATE medallion.pipeline_metadata \
             SET performance_metrics = $2::jsonb, updated_at = now() \
             WHERE id = $1",
        )
        .bind(self.0)
        .bind(metrics.to_string())
        .execute(connection)
        .await
        .map(drop)
        .during(|| "cannot bring `medallion.pipeline_metadata` up to date".to_owned())
    }

    /// Closes the row of what did what it was to do.
    pub async fn succeeded(self, connection: &mut PgConnection, metrics: &serde_json::Value) -> Result<()> {
        self.end(connection, "succeeded", metrics).await
    }

    /// Closes the row of a run that published nothing, because a test refused it.
    pub async fn held(self, connection: &mut PgConnection, metrics: &serde_json::Value) -> Result<()> {
        self.end(connection, "failed", metrics).await
    }

    /// Closes the row of what failed. The error at hand matters more than one of writing it down.
    pub async fn failed(self, connection: &mut PgConnection, error: &Error) {
        let _ = statement::execute(connection, "ROLLBACK").await;
        let _ = self.end(connection, "failed", &serde_json::json!({ "error": error.to_string() })).await;
    }

    async fn end(
        self,
        connection: &mut PgConnection,
        status: &str,
        metrics: &serde_json::Value,
    ) -> Result<()> {
        sqlx::query(
            "UPDATE medallion.pipeline_metadata \
             SET status = $2, performance_metrics = performance_metrics || $3::jsonb, \
             end_time = clock_timestamp(), updated_at = now() \
             WHERE id = $1",
        )
        .bind(self.0)
        .bind(status)
        .bind(metrics.to_string())
        .execute(connection)
        .await
        .map(drop)
        .during(|| "cannot record the run's end in `medallion.pipeline_metadata`".to_owned())
    }
}
