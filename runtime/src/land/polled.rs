//! Rows that a poll has put on the stage, within the transaction of their page: those land that differ from what
//! landed of their key last, for a poll reads some rows again and again. And keys that a source has no longer.
//! Set-based, by the index that finds a key's last version. Knows no source.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row as _};

use super::staged::{self, Stage, quarantine};
use crate::capture::SystemTime;
use crate::descriptor::Landing;
use crate::error::{During as _, Result};
use crate::quote;

/// Whether each row is looked at before it lands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Care {
    /// All of them are taken for JSON that `jsonb` can hold.
    Usual,
    /// What it cannot hold goes into quarantine.
    EachRow,
}

/// What has landed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Landed {
    /// How many rows.
    pub rows: u64,
    /// The last position of them, their first and their last time.
    pub span: Option<(i64, i64, i64)>,
    /// What somebody should look at.
    pub findings: Vec<String>,
}

/// Keys on their way to a comparison.
const KEYS: &str = "pg_temp.medallion_polled_keys";

/// Lands what is new on the stage.
pub async fn finish(
    target: &mut PgConnection,
    landing: &Landing,
    place: usize,
    care: Care,
) -> Result<Landed> {
    let stage = Stage { place: i32::try_from(place).unwrap_or(i32::MAX), landing };
    stage.index(target).await?;
    if care == Care::EachRow {
        staged::analyze(target).await?;
        quarantine::find_problems(target).await?;
        forget_known_problems(target, &stage).await?;
    }
    let table = quote::name(&landing.table);
    let sql = format!(
        "INSERT INTO {table} (lsn, op, full_row, commit_ts, seq)
        SELECT
            staged.lsn,
            CASE WHEN coalesce(before.op = 'D', true) THEN 'I' ELSE 'U' END,
            staged.full_row,
            -- Time never runs backwards for a key.
            greatest(staged.commit_ts, before.commit_ts + interval '1 microsecond'),
            staged.seq
        FROM (
            SELECT lsn, seq, commit_ts, key, full_row::jsonb AS full_row
            FROM pg_temp.medallion_staged
            WHERE landing = $1 AND problem IS NULL
            OFFSET 0
        ) AS staged
        LEFT JOIN LATERAL ({before}) AS before ON true
        WHERE coalesce(before.op = 'D', true)
        OR before.full_row <> staged.full_row
        -- What jsonb takes for the same may be written otherwise: 1.0 and 1.00.
        OR before.full_row::text COLLATE \"C\" <> staged.full_row::text COLLATE \"C\"
        RETURNING lsn, {time} AS time",
        before = stage.version_last(&["op", "full_row", "commit_ts"], "staged"),
        time = SystemTime::of_sql("commit_ts"),
    );
    let landed = counted(target, &sql, |query| query.bind(stage.place), || stage.failed()).await?;
    let findings = match care {
        Care::Usual => Vec::new(),
        Care::EachRow => stage.quarantine(target).await?,
    };
    Ok(Landed { findings, ..landed })
}

/// What is in quarantine already does not come there with each poll that reads it again.
async fn forget_known_problems(target: &mut PgConnection, stage: &Stage<'_>) -> Result<()> {
    sqlx::query(
        "DELETE FROM pg_temp.medallion_staged AS staged
        USING medallion.quarantine AS known
        WHERE staged.landing = $1
        AND staged.problem IS NOT NULL
        AND known.landing = $2
        AND known.key = staged.key
        AND known.commit_ts = staged.commit_ts
        AND known.full_row = staged.full_row",
    )
    .bind(stage.place)
    .bind(stage.landing.table.to_string())
    .execute(target)
    .await
    .during(|| stage.failed())?;
    Ok(())
}

/// Makes room for the keys that a source has, until the transaction ends.
pub async fn prepare_keys(target: &mut PgConnection) -> Result<()> {
    let sql = format!(
        "DROP TABLE IF EXISTS {KEYS}; CREATE TEMPORARY TABLE medallion_polled_keys (key jsonb) ON COMMIT DROP"
    );
    let made = sqlx::raw_sql(AssertSqlSafe(sql)).execute(target).await;
    made.map(drop).during(|| "cannot stage keys in the warehouse".to_owned())
}

/// The statement that takes them.
pub fn copy_keys_in() -> String {
    format!("COPY {KEYS} (key) FROM STDIN (FORMAT binary)")
}

/// Lands a delete, with the last known row, for each key that is there no longer.
pub async fn delete_missing(
    target: &mut PgConnection,
    landing: &Landing,
    base: i64,
    time: i64,
) -> Result<Landed> {
    let failed = || format!("cannot compare the keys of `{}` with `{}`", landing.source, landing.table);
    sqlx::raw_sql(AssertSqlSafe(format!("ANALYZE {KEYS}"))).execute(&mut *target).await.during(failed)?;
    let table = quote::name(&landing.table);
    let names: Vec<String> = (1..=landing.key.len()).map(|at| format!("key_{at}")).collect();
    let of = |object: &str| -> Vec<String> {
        landing.key.iter().map(|column| format!("{object} -> {}", quote::literal(column))).collect()
    };
    let values: Vec<String> =
        of("full_row").iter().zip(&names).map(|(value, name)| format!("{value} AS {name}")).collect();
    let same: Vec<String> =
        of("there.key").iter().zip(&names).map(|(value, name)| format!("{value} = latest.{name}")).collect();
    let (names, values, same) = (names.join(", "), values.join(", "), same.join(" AND "));
    let sql = format!(
        "WITH latest AS (
            SELECT DISTINCT ON ({names}) *
            FROM (SELECT {values}, op, full_row, commit_ts, lsn, seq FROM {table} WHERE op <> 'T') AS landed
            ORDER BY {names}, commit_ts DESC, lsn DESC, seq DESC
        ),
        gone AS (
            SELECT full_row, commit_ts
            FROM latest
            WHERE op <> 'D' AND NOT EXISTS (SELECT FROM {KEYS} AS there WHERE {same})
        )
        INSERT INTO {table} (lsn, op, full_row, commit_ts, seq)
        SELECT
            $1 + row_number() OVER (ORDER BY full_row::text),
            'D',
            full_row,
            greatest({at}, commit_ts + interval '1 microsecond'),
            1
        FROM gone
        RETURNING lsn, {time} AS time",
        at = SystemTime::to_sql("$2::bigint"),
        time = SystemTime::of_sql("commit_ts"),
    );
    counted(target, &sql, |query| query.bind(base).bind(time), failed).await
}

/// Lands a delete for each key that went with a truncate, which a log tells and no poll knows of: what is read of such
/// a key again is new.
pub async fn delete_truncated(
    target: &mut PgConnection,
    landing: &Landing,
    base: i64,
    time: i64,
) -> Result<Landed> {
    let failed = || format!("cannot look for truncates in `{}`", landing.table);
    let table = quote::name(&landing.table);
    let keys: Vec<String> =
        landing.key.iter().map(|column| format!("full_row -> {}", quote::literal(column))).collect();
    let keys = keys.join(", ");
    let sql = format!(
        "WITH truncated AS (
            SELECT commit_ts, lsn, seq
            FROM {table}
            WHERE op = 'T'
            ORDER BY commit_ts DESC, lsn DESC, seq DESC
            LIMIT 1
        ),
        latest AS (
            SELECT DISTINCT ON ({keys}) op, full_row, commit_ts, lsn, seq
            FROM {table}
            WHERE op <> 'T' AND EXISTS (SELECT FROM truncated)
            ORDER BY {keys}, commit_ts DESC, lsn DESC, seq DESC
        )
        INSERT INTO {table} (lsn, op, full_row, commit_ts, seq)
        SELECT
            $1 + row_number() OVER (ORDER BY latest.full_row::text),
            'D',
            latest.full_row,
            {at},
            1
        FROM latest
        JOIN truncated
            ON (latest.commit_ts, latest.lsn, latest.seq) < (truncated.commit_ts, truncated.lsn, truncated.seq)
        WHERE latest.op <> 'D'
        RETURNING lsn, {time} AS time",
        at = SystemTime::to_sql("$2::bigint"),
        time = SystemTime::of_sql("commit_ts"),
    );
    counted(target, &sql, |query| query.bind(base).bind(time), failed).await
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>;

/// Carries an INSERT out that returns positions and times, and counts it.
async fn counted<'q>(
    target: &mut PgConnection,
    insert: &'q str,
    bind: impl FnOnce(Query<'q>) -> Query<'q>,
    failed: impl Fn() -> String,
) -> Result<Landed> {
    let sql =
        format!("WITH landed AS (\n{insert}\n)\nSELECT count(*), max(lsn), min(time), max(time) FROM landed");
    let query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
    let row = bind(query).fetch_one(target).await.during(&failed)?;
    let rows: i64 = row.try_get(0).during(&failed)?;
    let last: Option<i64> = row.try_get(1).during(&failed)?;
    let first_time: Option<i64> = row.try_get(2).during(&failed)?;
    let last_time: Option<i64> = row.try_get(3).during(&failed)?;
    let span = last.zip(first_time).zip(last_time).map(|((last, first), end)| (last, first, end));
    Ok(Landed { rows: u64::try_from(rows).unwrap_or(0), span, findings: Vec::new() })
}
