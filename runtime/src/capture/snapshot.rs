//! Lands a table's rows as one snapshot saw them: all of them into an empty landing table, else only what
//! differs from the latest state there. Knows no stream and no bookkeeping.

use sqlx::postgres::PgConnection;

use super::position::SystemTime;
use super::preflight::SourceTable;
use crate::descriptor::Landing;
use crate::error::{During as _, Result};
use crate::land::{self, Place, staged};
use crate::{quote, statement};

/// What a landing table holds already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Past {
    /// Nothing.
    None,
    /// Changes: of a recorded log, or of a stream that broke off.
    Landed,
}

/// Where the rows of a snapshot stage that are to be compared.
const STAGED: &str = "pg_temp.medallion_snapshot";

/// A table's rows as a snapshot saw them, on their way to a landing table.
pub struct Snapshot<'a> {
    /// The source table.
    pub table: &'a SourceTable,
    /// All landing tables.
    pub landings: &'a [Landing],
    /// Which of them takes the rows.
    pub at: usize,
    /// Where in bronze they land.
    pub place: Place,
    /// What is there already.
    pub past: Past,
}

impl Snapshot<'_> {
    /// Lands the table; gives the number of rows landed, and findings. Where `jsonb` refuses a row, both
    /// transactions go back to where the table began, and each row is looked at.
    pub async fn land(
        &self,
        source: &mut PgConnection,
        target: &mut PgConnection,
    ) -> Result<(u64, Vec<String>)> {
        for connection in [&mut *source, &mut *target] {
            statement::execute(connection, "SAVEPOINT table_begins").await?;
        }
        let landed = match self.land_at_once(source, target).await {
            Err(error) if land::is_of_data(&error) => {
                for connection in [&mut *source, &mut *target] {
                    statement::execute(connection, "ROLLBACK TO SAVEPOINT table_begins").await?;
                }
                self.land_each(source, target).await?
            }
            landed => (landed?, Vec::new()),
        };
        for connection in [source, target] {
            statement::execute(connection, "RELEASE SAVEPOINT table_begins").await?;
        }
        Ok(landed)
    }

    async fn land_at_once(&self, source: &mut PgConnection, target: &mut PgConnection) -> Result<u64> {
        let (landing, rows) = (self.landing(), self.rows());
        match self.past {
            Past::None => {
                // `t.*`, so that a column called `t` is not meant.
                let query = format!(
                    "SELECT {}::bigint, 'I'::bpchar, to_jsonb(t.*), {}, row_number() OVER () FROM ({rows}) AS t",
                    self.place.lsn,
                    self.time(),
                );
                let copy_in = land::copy_in(&landing.table);
                land::pipe(source, &land::copy_out(&query), target, &copy_in, &self.what()).await
            }
            Past::Landed => {
                let query = format!("SELECT to_jsonb(t.*) FROM ({rows}) AS t");
                stage(source, target, &query, &self.what()).await?;
                land_differences(target, landing, self.place).await
            }
        }
    }

    /// The same by the stage, which tells the rows that `jsonb` refuses from the others.
    async fn land_each(
        &self,
        source: &mut PgConnection,
        target: &mut PgConnection,
    ) -> Result<(u64, Vec<String>)> {
        let (landing, rows) = (self.landing(), self.rows());
        staged::prepare(target).await?;
        let query = staged::snapshot(self.at, &landing.key, &rows, self.place.lsn, &self.time());
        land::pipe(source, &land::copy_out(&query), target, &staged::copy_in(), &self.what()).await?;
        let landed = match self.past {
            Past::None => {
                let mut landed = vec![0; self.landings.len()];
                let findings = staged::finish(target, self.landings, true, &mut landed).await?;
                (landed.get(self.at).copied().unwrap_or(0), findings)
            }
            Past::Landed => {
                make_stage(target, &self.what()).await?;
                let findings = staged::hand_over(target, self.landings, STAGED).await?;
                (land_differences(target, landing, self.place).await?, findings)
            }
        };
        staged::clear(target).await?;
        Ok(landed)
    }

    fn landing(&self) -> &Landing {
        &self.landings[self.at]
    }

    fn rows(&self) -> String {
        format!("SELECT {} FROM {}", quote::list("", &self.table.columns), self.table.table_sql())
    }

    fn time(&self) -> String {
        SystemTime::to_sql(&self.place.time.to_string())
    }

    fn what(&self) -> String {
        format!("`{}` into `{}`", self.table.name, self.landing().table)
    }
}

async fn make_stage(target: &mut PgConnection, what: &str) -> Result<()> {
    let statements = format!(
        "DROP TABLE IF EXISTS {STAGED};
        CREATE TEMPORARY TABLE medallion_snapshot (full_row jsonb) ON COMMIT DROP"
    );
    let made = sqlx::raw_sql(sqlx::AssertSqlSafe(statements)).execute(target).await;
    made.map(drop).during(|| format!("cannot stage {what}"))
}

async fn stage(source: &mut PgConnection, target: &mut PgConnection, query: &str, what: &str) -> Result<()> {
    let failed = || format!("cannot stage {what}");
    make_stage(target, what).await?;
    let copy_in = format!("COPY {STAGED} (full_row) FROM STDIN (FORMAT binary)");
    land::pipe(source, &land::copy_out(query), target, &copy_in, what).await?;
    let analyze = format!("ANALYZE {STAGED}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(analyze)).execute(target).await.during(failed)?;
    Ok(())
}

/// New keys as I, changed rows as U, and a D with the last known row for each live key that the snapshot
/// lacks. Rows are compared as text, which tells 1.0 from 1.00.
async fn land_differences(target: &mut PgConnection, landing: &Landing, place: Place) -> Result<u64> {
    let keys: Vec<String> = (1..=landing.key.len()).map(|at| format!("key_{at}")).collect();
    let values: Vec<String> = keys
        .iter()
        .zip(&landing.key)
        .map(|(key, column)| format!("full_row -> {} AS {key}", quote::literal(column)))
        .collect();
    let matches: Vec<String> = keys.iter().map(|key| format!("live.{key} = staged.{key}")).collect();
    let kept: Vec<String> = keys
        .iter()
        .zip(&landing.key)
        .map(|(key, column)| format!("quarantine.key -> {} = live.{key}", quote::literal(column)))
        .collect();
    let (own, kept) = (quote::literal(&landing.table.to_string()), kept.join(" AND "));
    let (keys, values, matches) = (keys.join(", "), values.join(", "), matches.join(" AND "));
    let table = quote::name(&landing.table);
    let sql = format!(
        "WITH last_truncate AS (
            SELECT coalesce(max(ARRAY[lsn, seq]), ARRAY[0, 0]::bigint[]) AS place
            FROM {table}
            WHERE op = 'T'
        ),
        landed AS (
            SELECT {values}, op, full_row, lsn, seq
            FROM {table}, last_truncate
            WHERE op <> 'T' AND ARRAY[lsn, seq] > place
        ),
        latest AS (
            SELECT DISTINCT ON ({keys}) *
            FROM landed
            ORDER BY {keys}, lsn DESC, seq DESC
        ),
        live AS (
            SELECT *
            FROM latest
            WHERE op <> 'D'
        ),
        staged AS (
            SELECT {values}, full_row
            FROM {STAGED}
        ),
        differences AS (
            SELECT
                CASE
                    WHEN live.full_row IS NULL THEN 'I'
                    WHEN staged.full_row IS NULL THEN 'D'
                    ELSE 'U'
                END AS op,
                coalesce(staged.full_row, live.full_row) AS full_row
            FROM live
            FULL JOIN staged ON {matches}
            WHERE live.full_row IS NULL
                OR staged.full_row IS NULL AND NOT EXISTS (
                    SELECT FROM medallion.quarantine
                    WHERE landing = {own} AND lsn = $1 AND {kept}
                )
                OR live.full_row::text COLLATE \"C\" <> staged.full_row::text COLLATE \"C\"
        )
        INSERT INTO {table} (lsn, op, full_row, commit_ts, seq)
        SELECT $1, op, full_row, {}, row_number() OVER ()
        FROM differences",
        SystemTime::to_sql("$2::bigint")
    );
    let done = sqlx::query(sqlx::AssertSqlSafe(sql))
        .persistent(false)
        .bind(place.lsn)
        .bind(place.time)
        .execute(target)
        .await
        .during(|| format!("cannot compare the snapshot of `{}` with `{}`", landing.source, landing.table))?;
    Ok(done.rows_affected())
}
