//! A whole copy of a table on its stage, within the transaction that lands it: compared with the last version of each
//! key that has landed, so that only what differs lands. Set-based, one statement a copy, wherever the copy came from.
//! Knows no source.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row as _};

use super::Place;
use crate::capture::SystemTime;
use crate::descriptor::{Gone, Landing};
use crate::error::{During as _, Error, Result};
use crate::quote;

/// Where the rows of a copy stand that are to be compared: a table of `full_row jsonb`.
pub const STAGED: &str = "pg_temp.medallion_snapshot";

/// How a copy differs from what has landed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Differs {
    /// Rows that have landed.
    pub rows: u64,
    /// Rows that are there and that the copy lacks, whatever became of them; nobody counts them where nobody looks.
    pub gone: u64,
}

/// Makes room for a copy, until the transaction ends.
pub async fn prepare(target: &mut PgConnection, what: &str) -> Result<()> {
    let statements = format!(
        "DROP TABLE IF EXISTS {STAGED};
        CREATE TEMPORARY TABLE medallion_snapshot (full_row jsonb) ON COMMIT DROP"
    );
    let made = sqlx::raw_sql(AssertSqlSafe(statements)).execute(target).await;
    made.map(drop).during(|| format!("cannot stage {what}"))
}

/// The statement that takes a copy's rows.
pub fn copy_in() -> String {
    format!("COPY {STAGED} (full_row) FROM STDIN (FORMAT binary)")
}

/// Refuses a copy with two rows of one key, or a row without one, where nothing at its source sees to that.
pub async fn refuse_doubles(target: &mut PgConnection, landing: &Landing) -> Result<()> {
    let uncounted = || format!("cannot look for the keys of `{}` in `{}`", landing.table, landing.source);
    let object: Vec<String> =
        landing.key.iter().map(|column| format!("{0}, full_row -> {0}", quote::literal(column))).collect();
    let missing: Vec<String> =
        landing.key.iter().map(|column| format!("full_row ->> {} IS NULL", quote::literal(column))).collect();
    let sql = format!(
        "SELECT key::text, count(*) OVER () AS keys
        FROM (
            SELECT jsonb_build_object({}) AS key, {} AS is_missing
            FROM {STAGED}
        ) AS staged
        GROUP BY key
        HAVING count(*) > 1 OR bool_or(is_missing)
        ORDER BY key
        LIMIT 1",
        object.join(", "),
        missing.join(" OR ")
    );
    let row = sqlx::query(AssertSqlSafe(sql)).fetch_optional(target).await.during(uncounted)?;
    let Some(row) = row else { return Ok(()) };
    let key: String = row.try_get(0).during(uncounted)?;
    let keys: i64 = row.try_get(1).during(uncounted)?;
    Err(Error::new(format!(
        "`{}` has rows that the key of `{}` does not tell apart, or that lack it: {key} and {} more",
        landing.source,
        landing.table,
        keys - 1
    ))
    .remedy("correct `key` in the spec and run `medallion generate`, or the rows; nothing lands until then"))
}

/// Lands what differs: new keys as I, changed rows as U, and, where rows that are gone end, a D with the last known row
/// for each live key that the copy lacks. Rows are compared as text, which tells 1.0 from 1.00.
pub async fn land(target: &mut PgConnection, landing: &Landing, place: Place, gone: Gone) -> Result<Differs> {
    let failed = || format!("cannot compare the snapshot of `{}` with `{}`", landing.source, landing.table);
    let analyzed = sqlx::raw_sql(AssertSqlSafe(format!("ANALYZE {STAGED}"))).execute(&mut *target).await;
    analyzed.map(drop).during(failed)?;
    let row = sqlx::query(AssertSqlSafe(statement(landing, gone)))
        .persistent(false)
        .bind(place.lsn)
        .bind(place.time)
        .fetch_one(target)
        .await
        .during(failed)?;
    let count = |at: usize| row.try_get::<i64, _>(at).during(failed);
    Ok(Differs { rows: u64::try_from(count(0)?).unwrap_or(0), gone: u64::try_from(count(1)?).unwrap_or(0) })
}

fn statement(landing: &Landing, gone: Gone) -> String {
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
    // Where nobody looks for what the copy lacks, what it has is all that is compared.
    let joins = if gone == Gone::Ignored { "RIGHT JOIN" } else { "FULL JOIN" };
    let lands = if gone == Gone::Closed { "true" } else { "op <> 'D'" };
    format!(
        "WITH last_truncate AS (
            SELECT commit_ts, lsn, seq
            FROM {table}
            WHERE op = 'T'
            ORDER BY commit_ts DESC, lsn DESC, seq DESC
            LIMIT 1
        ),
        landed AS (
            SELECT {values}, landed.op, landed.full_row, landed.commit_ts, landed.lsn, landed.seq
            FROM {table} AS landed
            LEFT JOIN last_truncate AS emptied ON true
            WHERE landed.op <> 'T'
            AND coalesce(
                (landed.commit_ts, landed.lsn, landed.seq) > (emptied.commit_ts, emptied.lsn, emptied.seq),
                true
            )
        ),
        latest AS (
            SELECT DISTINCT ON ({keys}) *
            FROM landed
            ORDER BY {keys}, commit_ts DESC, lsn DESC, seq DESC
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
        differences AS MATERIALIZED (
            SELECT
                CASE
                    WHEN live.full_row IS NULL THEN 'I'
                    WHEN staged.full_row IS NULL THEN 'D'
                    ELSE 'U'
                END AS op,
                coalesce(staged.full_row, live.full_row) AS full_row
            FROM live
            {joins} staged ON {matches}
            WHERE live.full_row IS NULL
                OR staged.full_row IS NULL AND NOT EXISTS (
                    SELECT FROM medallion.quarantine
                    WHERE landing = {own} AND lsn = $1 AND {kept}
                )
                OR live.full_row::text COLLATE \"C\" <> staged.full_row::text COLLATE \"C\"
        ),
        added AS (
            INSERT INTO {table} (lsn, op, full_row, commit_ts, seq)
            SELECT $1, op, full_row, {time}, row_number() OVER ()
            FROM differences
            WHERE {lands}
            RETURNING 1
        )
        SELECT (SELECT count(*) FROM added), (SELECT count(*) FROM differences WHERE op = 'D')",
        time = SystemTime::to_sql("$2::bigint")
    )
}
