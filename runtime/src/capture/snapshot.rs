//! Lands a table's rows as one snapshot saw them: all of them into an empty landing table, else only what
//! differs from the latest state there. Knows no stream and no bookkeeping.

use sqlx::postgres::PgConnection;

use super::position::SystemTime;
use super::preflight::SourceTable;
use crate::descriptor::Landing;
use crate::error::{During as _, Result};
use crate::land::{self, Place};
use crate::quote;

/// What a landing table holds already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Past {
    /// Nothing.
    None,
    /// Changes of a recorded log.
    Recorded,
}

/// Where the rows of a snapshot stage that are to be compared.
const STAGED: &str = "pg_temp.medallion_snapshot";

/// Lands a table; gives the number of rows landed.
pub async fn land(
    source: &mut PgConnection,
    target: &mut PgConnection,
    table: &SourceTable,
    landing: &Landing,
    place: Place,
    past: Past,
) -> Result<u64> {
    let what = format!("`{}` into `{}`", table.name, landing.table);
    let rows = format!("SELECT {} FROM {}", quote::list("", &table.columns), table.table_sql());
    match past {
        Past::None => {
            // `t.*`, so that a column called `t` is not meant.
            let query = format!(
                "SELECT {}::bigint, 'I'::bpchar, to_jsonb(t.*), {}, row_number() OVER () FROM ({rows}) AS t",
                place.lsn,
                SystemTime::to_sql(&place.time.to_string()),
            );
            land::pipe(source, &land::copy_out(&query), target, &land::copy_in(&landing.table), &what).await
        }
        Past::Recorded => {
            let query = format!("SELECT to_jsonb(t.*) FROM ({rows}) AS t");
            stage(source, target, &query, &what).await?;
            land_differences(target, landing, place).await
        }
    }
}

async fn stage(source: &mut PgConnection, target: &mut PgConnection, query: &str, what: &str) -> Result<()> {
    let failed = || format!("cannot stage {what}");
    let statements = format!(
        "DROP TABLE IF EXISTS {STAGED};
        CREATE TEMPORARY TABLE medallion_snapshot (full_row jsonb) ON COMMIT DROP"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(statements)).execute(&mut *target).await.during(failed)?;
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
                OR staged.full_row IS NULL
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
