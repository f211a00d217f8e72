//! Running the pipeline's statements: one way to execute and to count, errors that carry the statement,
//! and the few pieces of SQL that several steps write. Knows no relation and no step.

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, PgConnection, Postgres, Row as _};

use crate::error::{Error, Result};
use crate::quote;

/// Rows from which on a table's statistics are taken: below it the planner does well without.
const WORTH_ANALYZING: u64 = 1_000;

/// So many times as many rows as came in, and a table's statistics are not worth their time.
const A_GOOD_PART: u64 = 10;

/// How a statement is planned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Plan {
    /// For what is there, each time.
    #[default]
    Anew,
    /// Once a session, as far as nothing that it reads is altered.
    Kept,
}

/// What a statement whose plan is kept is told by number: `$1` and `$2` are positions, `$3` and `$4` times.
#[derive(Clone, Debug, Default)]
pub struct Bound {
    /// The positions.
    pub positions: [i64; 2],
    /// The times, as PostgreSQL writes them.
    pub times: [String; 2],
}

/// A value as text, or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    /// One, or NULL.
    One(Option<String>),
    /// Several, none of them NULL.
    Many(Vec<String>),
}

/// Sets what is to hold for the rest of the transaction.
pub async fn set(connection: &mut PgConnection, settings: &'static str) -> Result<()> {
    sqlx::raw_sql(settings).execute(connection).await.map(drop).map_err(|cause| failed(settings, cause))
}

/// Executes one statement that was built from descriptors (never from data); returns the rows it touched.
pub async fn execute(connection: &mut PgConnection, sql: &str) -> Result<u64> {
    sqlx::query(AssertSqlSafe(sql.to_owned()))
        .persistent(false)
        .execute(connection)
        .await
        .map(|done| done.rows_affected())
        .map_err(|cause| failed(sql, cause))
}

/// The same, planned as is said, of what is bound.
pub async fn execute_as(connection: &mut PgConnection, plan: Plan, sql: &str, bound: &Bound) -> Result<u64> {
    query_as(plan, sql, bound)
        .execute(connection)
        .await
        .map(|done| done.rows_affected())
        .map_err(|cause| failed(sql, cause))
}

/// The same, of texts by number.
pub async fn execute_with(
    connection: &mut PgConnection,
    plan: Plan,
    sql: &str,
    texts: &[Text],
) -> Result<u64> {
    let query = sqlx::query(AssertSqlSafe(sql.to_owned())).persistent(plan == Plan::Kept);
    texts
        .iter()
        .fold(query, |query, text| match text {
            Text::One(one) => query.bind(one),
            Text::Many(many) => query.bind(many),
        })
        .execute(connection)
        .await
        .map(|done| done.rows_affected())
        .map_err(|cause| failed(sql, cause))
}

/// Asks for one whole number.
pub async fn scalar(connection: &mut PgConnection, sql: &str, bound: &[i64]) -> Result<i64> {
    let mut query = sqlx::query(AssertSqlSafe(sql.to_owned())).persistent(false);
    for value in bound {
        query = query.bind(*value);
    }
    let row = query.fetch_one(connection).await.map_err(|cause| failed(sql, cause))?;
    row.try_get(0).map_err(|cause| failed(sql, cause))
}

/// The same, planned as is said, of what is bound.
pub async fn scalar_as(connection: &mut PgConnection, plan: Plan, sql: &str, bound: &Bound) -> Result<i64> {
    let row = query_as(plan, sql, bound).fetch_one(connection).await.map_err(|cause| failed(sql, cause))?;
    row.try_get(0).map_err(|cause| failed(sql, cause))
}

/// Asks for rows, planned as is said.
pub async fn rows_as(
    connection: &mut PgConnection,
    plan: Plan,
    sql: &str,
    bound: &Bound,
) -> Result<Vec<PgRow>> {
    query_as(plan, sql, bound).fetch_all(connection).await.map_err(|cause| failed(sql, cause))
}

fn query_as<'q>(plan: Plan, sql: &str, bound: &'q Bound) -> Query<'q, Postgres, PgArguments> {
    sqlx::query(AssertSqlSafe(sql.to_owned()))
        .persistent(plan == Plan::Kept)
        .bind(bound.positions[0])
        .bind(bound.positions[1])
        .bind(&bound.times[0])
        .bind(&bound.times[1])
}

/// Takes a table's statistics when so many rows came in that the planner must know. Of a temporary table, whose
/// rows are soon gone, a small sample does; of any other when what came in is a good part of it.
pub async fn analyze(connection: &mut PgConnection, table: &str, rows: u64) -> Result<()> {
    if rows < WORTH_ANALYZING {
        return Ok(());
    }
    if table.starts_with("pg_temp.") {
        let sql = format!(
            "SET LOCAL default_statistics_target = 10; ANALYZE {table}; SET LOCAL default_statistics_target TO DEFAULT"
        );
        return sqlx::raw_sql(AssertSqlSafe(sql.clone()))
            .execute(connection)
            .await
            .map(drop)
            .map_err(|cause| failed(&sql, cause));
    }
    // Statistics are the owner's to take, and the loader need not own what it loads. Those of all partitions together
    // are taken by nobody else: also when what came in little by little is a good part of them.
    let sql = format!(
        "SELECT \"medallion\".\"analyze\"(oid::regclass)
        FROM pg_class AS relation
        WHERE oid = {}::regclass
        AND CASE
            WHEN reltuples < {rows} * {A_GOOD_PART} THEN true
            WHEN relkind = 'p' THEN reltuples * (1 + 1.0 / {A_GOOD_PART}) < (
                SELECT
                    sum(greatest(leaf.reltuples, 0)) / nullif(sum(leaf.relpages), 0)
                    * sum(pg_relation_size(leaf.oid)) / current_setting('block_size')::bigint
                FROM pg_partition_tree(relation.oid) AS part
                JOIN pg_class AS leaf ON leaf.oid = part.relid
                WHERE part.isleaf
            )
            ELSE relkind <> 'r'
        END",
        quote::literal(table)
    );
    execute(connection, &sql).await.map(drop)
}

/// `a."x" = b."y" AND …` over pairs of columns.
pub fn equal<S: AsRef<str>, T: AsRef<str>>(left: &str, right: &str, mine: &[S], theirs: &[T]) -> String {
    let pairs: Vec<String> = mine
        .iter()
        .zip(theirs)
        .map(|(mine, theirs)| {
            format!(
                "{left}{} = {right}{}",
                quote::identifier(mine.as_ref()),
                quote::identifier(theirs.as_ref())
            )
        })
        .collect();
    pairs.join(" AND ")
}

/// The text of a row: equal if and only if the rows are, NULLs included, and fit for a hash join.
pub fn row_text<S: AsRef<str>>(prefix: &str, columns: impl IntoIterator<Item = S>) -> String {
    format!("ROW({})::text", quote::list(prefix, columns))
}

fn failed(sql: &str, cause: sqlx::Error) -> Error {
    let first = sql.lines().next().unwrap_or_default();
    Error::new(format!("a statement of the pipeline failed: `{first} …`")).because(cause)
}

/// What stays of an erased key, which is a JSON array: who knows it can tell.
pub fn salted_hash(salt: &str, key: &str) -> String {
    format!("encode(sha256(convert_to({salt} || ({key})::text, 'UTF8')), 'hex')")
}
