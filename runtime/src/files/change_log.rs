//! Lands a batch of changes that a file tells, as a whole, in one transaction of the warehouse: each change at its own
//! time, with what was done, so that batches may come in any order. A change that has landed (key, time, row) does not
//! land again. Knows no storage and no format.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row as _};

use crate::descriptor::{CHANGED_AT, Landing, OPERATION};
use crate::error::{During as _, Result};
use crate::quote;

/// What was done to the row of a change, `row`, as bronze says it; NULL where it does not say.
pub fn operation(row: &str) -> String {
    format!(
        "CASE upper({row} ->> '{OPERATION}') WHEN 'INSERT' THEN 'I' WHEN 'UPDATE' THEN 'U' WHEN 'DELETE' THEN 'D' END"
    )
}

/// Writes down which batch a version of a file says it is.
pub async fn name_batch(
    target: &mut PgConnection,
    landing: &Landing,
    path: &str,
    version: i32,
    batch_id: &str,
) -> Result<()> {
    sqlx::query(
        "UPDATE medallion.landed_file
        SET batch_id = $4
        WHERE landing = $1 AND path = $2 AND version = $3",
    )
    .bind(landing.table.to_string())
    .bind(path)
    .bind(version)
    .bind(batch_id)
    .execute(target)
    .await
    .map(drop)
    .during(|| "cannot write `medallion.landed_file` of the warehouse".to_owned())
}

/// Lands the changes on the stage that have not landed; gives how many did, and how many were known. Of changes that
/// say the same of a key at one time, as many are known as have landed. A delete may tell the key alone: the rest of
/// its row is that of the version before.
pub async fn land(
    landing: &Landing,
    lsn: i64,
    target: &mut PgConnection,
    failed: impl Fn() -> String,
) -> Result<(u64, u64)> {
    let table = quote::name(&landing.table);
    let key = |row: &str| -> Vec<String> {
        landing.key.iter().map(|column| format!("{row} ->> {}", quote::literal(column))).collect()
    };
    let hash = |row: &str| {
        key(row).iter().fold("0".to_owned(), |seed, value| format!("hashtextextended({value}, {seed})"))
    };
    let of_key: Vec<String> = key("landed.full_row")
        .iter()
        .zip(key("change.row"))
        .map(|(landed, change)| format!("AND {landed} = {change}"))
        .collect();
    let sql = format!(
        "WITH told AS (
            SELECT line, at, {operation} AS op, row - ARRAY['{OPERATION}', '{CHANGED_AT}'] AS row
            FROM pg_temp.medallion_file_row
            WHERE problem IS NULL
        ),
        change AS (
            SELECT
                *,
                row_number() OVER (
                    PARTITION BY {key}, at, op = 'D', CASE WHEN op <> 'D' THEN row::text COLLATE \"C\" END
                    ORDER BY line
                ) AS number
            FROM told AS change
        ),
        compared AS (
            SELECT
                change.line,
                change.op,
                change.at,
                CASE
                    WHEN change.op = 'D' THEN coalesce(before.full_row, '{{}}') || change.row
                    ELSE change.row
                END AS row,
                change.number <= same.count AS is_known
            FROM change
            CROSS JOIN LATERAL (
                SELECT count(*) AS count
                FROM {table} AS landed
                WHERE {hash_landed} = {hash_change}
                {of_key}
                AND landed.commit_ts = change.at
                AND (landed.op = 'D') = (change.op = 'D')
                AND (change.op = 'D' OR landed.full_row::text COLLATE \"C\" = change.row::text COLLATE \"C\")
            ) AS same
            LEFT JOIN LATERAL (
                SELECT landed.full_row
                FROM {table} AS landed
                WHERE {hash_landed} = {hash_change}
                {of_key}
                AND landed.commit_ts <= change.at
                ORDER BY landed.commit_ts DESC, landed.lsn DESC, landed.seq DESC
                LIMIT 1
            ) AS before ON change.op = 'D'
        ),
        landed AS (
            INSERT INTO {table} (lsn, op, full_row, commit_ts, seq)
            SELECT $1, op, row, at, line
            FROM compared
            WHERE NOT is_known
            ORDER BY line
            RETURNING 1
        )
        SELECT (SELECT count(*) FROM landed), (SELECT count(*) FROM compared WHERE is_known)",
        operation = operation("row"),
        key = key("row").join(", "),
        hash_landed = hash("landed.full_row"),
        hash_change = hash("change.row"),
        of_key = of_key.join("\n"),
    );
    let row = sqlx::query(AssertSqlSafe(sql))
        .persistent(false)
        .bind(lsn)
        .fetch_one(target)
        .await
        .during(&failed)?;
    let count = |at: usize| row.try_get::<i64, _>(at).map(|rows| u64::try_from(rows).unwrap_or(0));
    Ok((count(0).during(&failed)?, count(1).during(&failed)?))
}
