//! The law of writers: dimensions that have a feed and are written to hold what a fold of the landed changes
//! and the journal in plain Rust says, whenever changes land and apply runs; so do the facts that look them up,
//! and the marts equal their definitions after each run. On the objects that `generate` writes.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use medallion_runtime::connection::{self, Database};
use medallion_runtime::{apply, refresh, verify};
use medallion_server::Server;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use crate::fold::{self, Known};
use crate::marts_equal_their_definitions;
use crate::writers_and_a_feed_warehouse::warehouse;

const OBJECTS: &str = include_str!(
    "../../../tests/cases/generate/writers_and_a_feed/expected/migration/src/writers_and_a_feed/m000001_baseline/up.sql"
);

/// Makes the warehouse as new; the owner may.
const EMPTY: &str = "
    BEGIN;
    ALTER TABLE bronze.br_item_cdc DISABLE TRIGGER refuse_change;
    ALTER TABLE bronze.br_customer_cdc DISABLE TRIGGER refuse_change;
    ALTER TABLE bronze.br_sale_cdc DISABLE TRIGGER refuse_change;
    DELETE FROM bronze.br_item_cdc;
    DELETE FROM bronze.br_customer_cdc;
    DELETE FROM bronze.br_sale_cdc;
    ALTER TABLE bronze.br_item_cdc ENABLE ALWAYS TRIGGER refuse_change;
    ALTER TABLE bronze.br_customer_cdc ENABLE ALWAYS TRIGGER refuse_change;
    ALTER TABLE bronze.br_sale_cdc ENABLE ALWAYS TRIGGER refuse_change;
    SELECT medallion.backfill();
    DELETE FROM silver.dim_item_hist;
    DELETE FROM silver.dim_customer_hist;
    DELETE FROM medallion.dim_item_hist_journal;
    DELETE FROM medallion.dim_customer_hist_journal;
    DELETE FROM silver.fact_sale;
    DELETE FROM medallion.fact_sale_history;
    DELETE FROM gold.sales_by_store;
    DELETE FROM gold.customers_by_note;
    DELETE FROM medallion.watermark;
    DELETE FROM medallion.late_change;
    COMMIT;
";

/// What happens, one thing after the other.
#[derive(Clone, Debug)]
enum Act {
    /// A source transaction commits; its clock is ahead by so many milliseconds, and it lands so many acts
    /// later.
    Source {
        changes: Vec<Change>,
        ahead: i64,
        delay: usize,
    },
    /// Somebody writes to the dimensions, in one transaction.
    Write(Vec<Statement>),
    Apply,
    /// What has landed or was written and waits is no finding.
    Verify,
}

/// Of which table and key, what is done, and the numbers that its values are made of.
type Change = (usize, i64, u8, i64, i64);
/// What is done, to which key, by which numbers.
type Statement = (usize, i64, i64, i64);

const STATEMENTS: usize = 8;

fn act() -> impl Strategy<Value = Act> {
    let change = (0..3_usize, 1..4_i64, 0..12_u8, 0..4_i64, 0..3_i64);
    let statement = (0..STATEMENTS, 1..4_i64, 0..4_i64, 0..3_i64);
    prop_oneof![
        5 => (prop::collection::vec(change, 1..4), 0..4_i64, 0..6_usize).prop_map(|(changes, ahead, delay)| {
            Act::Source { changes, ahead: [0, 0, 3, 20][usize::try_from(ahead).unwrap()], delay }
        }),
        3 => prop::collection::vec(statement, 1..3).prop_map(Act::Write),
        2 => Just(Act::Apply),
        1 => Just(Act::Verify),
    ]
}

#[test]
fn dimensions_hold_what_their_feed_and_their_writers_say() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let connection = RefCell::new(runtime.block_on(open("writers")));
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(40);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    TestRunner::new(config)
        .run(&prop::collection::vec(act(), 1..24), |acts| {
            runtime.block_on(check(&acts, &mut connection.borrow_mut())).map_err(TestCaseError::fail)
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

/// A writer says what a lookup gives in the transaction that changes what is looked up, and begins no version by
/// it: the version is not cut there, whenever it is read again.
#[tokio::test]
async fn what_a_writer_says_of_a_lookup_stands_until_the_lookup_changes() {
    let mut connection = open("writers_given").await;
    let source =
        |table, action, one| Act::Source { changes: vec![(table, 1, action, one, 0)], ahead: 0, delay: 0 };
    let before = [Act::Write(vec![(3, 1, 2, 1)]), Act::Write(vec![(0, 2, 0, 0), (6, 1, 0, 0)]), Act::Apply];
    let item = Act::Source { changes: vec![(0, 2, 5, 3, 0)], ahead: 0, delay: 0 };
    for then in [
        vec![source(1, 0, 0)],
        vec![source(1, 5, 2)],
        vec![item.clone()],
        vec![item, Act::Apply, source(1, 5, 2)],
    ] {
        check(&[before.to_vec(), then].concat(), &mut connection).await.unwrap();
    }
}

async fn open(name: &str) -> PgConnection {
    let server = Server::shared_scratch().unwrap();
    server.ensure_database(name).unwrap();
    let mut connection = connection::connect(Database::Warehouse, &server.url(name)).await.unwrap();
    connection.execute(OBJECTS).await.unwrap();
    connection
}

async fn check(acts: &[Act], connection: &mut PgConnection) -> Result<(), String> {
    run(EMPTY, connection).await?;
    let mut waiting: Vec<(usize, String)> = Vec::new();
    let mut lsn = 0;
    for (number, act) in acts.iter().enumerate() {
        match act {
            Act::Source { changes, ahead, delay } => {
                lsn += 1;
                let time = fold::later(lsn, *ahead, connection).await?;
                for (seq, change) in changes.iter().enumerate() {
                    waiting.push((number + delay, landing(change, lsn, seq, time)));
                }
            }
            Act::Write(statements) => write(statements, connection).await?,
            Act::Apply => {
                apply(connection).await?;
            }
            Act::Verify => {
                let checks = verify::on(&warehouse(), connection, |_| ()).await;
                let checks = checks.map_err(|error| error.to_string())?;
                if let Some(check) = checks.iter().find(|check| check.broken > 0) {
                    return Err(format!("while changes wait: {check:#?}"));
                }
            }
        }
        for at in (0..waiting.len()).rev() {
            if waiting[at].0 <= number {
                run(&waiting.remove(at).1, connection).await?;
            }
        }
    }
    for (_, sql) in waiting {
        run(&sql, connection).await?;
    }
    apply(connection).await?;
    let known = Known::read("bronze", "medallion", connection).await?;
    for (relation, expected) in known.fold() {
        let found: BTreeSet<String> = fold::stored(relation, connection).await?;
        if expected != found {
            let lacking: Vec<_> = expected.difference(&found).collect();
            let beyond: Vec<_> = found.difference(&expected).collect();
            return Err(format!("{relation} lacks {lacking:#?}\nand has {beyond:#?}\nof {known:#?}"));
        }
    }
    match apply(connection).await? {
        0 => verified(connection).await,
        changed => Err(format!("nothing has landed, and {changed} relations changed")),
    }
}

/// The warehouse's own judgement comes to the same.
async fn verified(connection: &mut PgConnection) -> Result<(), String> {
    let checks = verify::on(&warehouse(), connection, |_| ()).await.map_err(|error| error.to_string())?;
    match checks.iter().find(|check| check.broken > 0 || check.waits.is_some()) {
        None => Ok(()),
        Some(check) => Err(format!("{check:#?}")),
    }
}

/// The statement that lands a change. What is behind it does not matter: bronze is what counts.
fn landing((table, key, action, one, two): &Change, lsn: i64, seq: usize, time: i64) -> String {
    let table = ["item", "customer", "sale"][*table];
    let row: BTreeMap<&str, serde_json::Value> = match table {
        "item" => [("item_id", (*key).into()), ("store", (*one).into())].into(),
        "customer" => [
            ("customer_id", (*key).into()),
            ("name", (*two > 0).then(|| format!("n{two}")).into()),
            ("item_id", (*one).into()),
            ("note", (*two).into()),
        ]
        .into(),
        _ => [
            ("sale_id", (*key).into()),
            ("sold_at", fold::moment(time - 4_000 * *two).into()),
            ("item_id", (*one).into()),
            ("customer_id", (*two).into()),
            ("amount", (*one).into()),
        ]
        .into(),
    };
    let (op, image) = match action {
        0 => ("T", "NULL".to_owned()),
        1..=3 => ("D", format!("'{}'", serde_json::to_string(&row).unwrap())),
        _ => ("U", format!("'{}'", serde_json::to_string(&row).unwrap())),
    };
    format!(
        "INSERT INTO bronze.br_{table}_cdc (lsn, op, full_row, commit_ts, seq) VALUES \
         ({lsn}, '{op}', {image}, '{}', {seq})",
        fold::moment(time)
    )
}

/// Writes; what versioning refuses is undone as a whole.
async fn write(statements: &[Statement], connection: &mut PgConnection) -> Result<(), String> {
    let sql: Vec<String> = statements
        .iter()
        .map(|(what, key, one, two)| match what {
            0 => format!("INSERT INTO silver.dim_item_hist (item_id, store) VALUES ({key}, {one})"),
            1 => format!(
                "UPDATE silver.dim_item_hist SET store = {one} WHERE item_id = {key} AND sys_end = 'infinity'"
            ),
            2 => format!("DELETE FROM silver.dim_item_hist WHERE item_id = {key} AND sys_end = 'infinity'"),
            3 => format!(
                "INSERT INTO silver.dim_customer_hist (customer_id, name, item_id, store, note) \
                 VALUES ({key}, 'w{two}', {one}, {two}, {two})"
            ),
            4 => format!(
                "UPDATE silver.dim_customer_hist SET name = 'w{two}' \
                 WHERE customer_id = {key} AND sys_end = 'infinity'"
            ),
            5 => format!(
                "UPDATE silver.dim_customer_hist SET store = {one} + 7, item_id = {two} \
                 WHERE customer_id = {key} AND sys_end = 'infinity'"
            ),
            6 => format!(
                "UPDATE silver.dim_customer_hist SET note = {one} + 10 \
                 WHERE customer_id = {key} AND sys_end = 'infinity'"
            ),
            _ => format!(
                "DELETE FROM silver.dim_customer_hist WHERE customer_id = {key} AND sys_end = 'infinity'"
            ),
        })
        .collect();
    if let Err(error) = connection.execute(AssertSqlSafe(format!("BEGIN; {}; COMMIT", sql.join("; ")))).await
    {
        let code = error.as_database_error().and_then(|error| error.code()).unwrap_or_default().into_owned();
        run("ROLLBACK", connection).await?;
        // A key that is there already, or a version that is later than the writer.
        if code != "23505" && code != "40001" {
            return Err(format!("{sql:?}: {error}"));
        }
    }
    Ok(())
}

/// Returns how many relations changed.
async fn apply(connection: &mut PgConnection) -> Result<usize, String> {
    let warehouse = warehouse();
    let text = |error: medallion_runtime::error::Error| error.to_string();
    let mut transaction = connection.begin().await.map_err(|error| error.to_string())?;
    apply::hold(&warehouse, &mut transaction).await.map_err(text)?;
    let applied = apply::apply(&warehouse, &mut transaction, |_| ()).await.map_err(text)?;
    refresh::refresh(&warehouse, &applied, &mut transaction, |_| ()).await.map_err(text)?;
    marts_equal_their_definitions(&warehouse, &mut transaction).await?;
    transaction.commit().await.map_err(|error| error.to_string())?;
    Ok(applied.len())
}

async fn run(sql: &str, connection: &mut PgConnection) -> Result<(), String> {
    connection
        .execute(sqlx::raw_sql(AssertSqlSafe(sql)))
        .await
        .map(drop)
        .map_err(|error| format!("{sql}: {error}"))
}
