//! The tests of the data against rows that break each of them, on the objects that `generate` writes: what is found,
//! what is shown of it, and what other programs are told.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by them")]

use std::time::Duration;

use chrono::{DateTime, Utc};
use medallion_runtime::connection::{self, Database};
use medallion_runtime::data_test::{self, Status, Tested};
use medallion_runtime::descriptor::{DataTest, Name, Rule, Warehouse};
use medallion_runtime::migrate;
use medallion_runtime::place::Place;
use medallion_server::Server;
use sqlx::{Executor as _, PgConnection};

use data_tests_warehouse::warehouse;

// The generated warehouse looks for its migrations in the crate of that name.
extern crate self as migration;

#[path = "../../tests/cases/generate/data_tests/expected/migration/src/data_tests/mod.rs"]
pub mod data_tests;
#[path = "../../tests/cases/generate/data_tests/expected/generated/src/data_tests/mod.rs"]
#[allow(unused_qualifications, reason = "SeaORM writes them")]
pub mod data_tests_warehouse;

/// Nothing that any test minds.
const GOOD: &str = "
    BEGIN;
    SELECT medallion.backfill();
    INSERT INTO bronze.br_sale (lsn, op, full_row, commit_ts, seq) VALUES
        (1, 'I', '{\"sale_id\": 1}', clock_timestamp() - interval '1 day', 0);
    INSERT INTO medallion.shop_hist (shop_id, city, row_hash, sys_start) VALUES (1, 'Bonn', '', '2026-01-01');
    INSERT INTO silver.dim_customer_hist
        (customer_id, shop_id, email, size, score, member, born, row_hash, sys_start, sys_end)
    VALUES
        (1, 1, 'a@b', 'small', 1, true, '2001-01-01', '', '2026-01-01', 'infinity'),
        (2, NULL, NULL, 'small', NULL, NULL, 'infinity', '', '2026-01-01', 'infinity'),
        (3, NULL, '', 'large', NULL, false, '1899-01-01', '', '2026-01-01', '2026-02-01');
    INSERT INTO silver.fact_sale (sale_id, sold_at, customer_id, amount, snapshot_ts) VALUES
        (1, '2026-01-01', 1, 10, '2026-01-01'), (2, '2026-01-02', NULL, 5, '2026-01-02'),
        (3, '2026-01-03', 3, 0, '2026-01-03');
    INSERT INTO gold.sales_by_customer (customer_id, revenue) VALUES (1, 10), (NULL, 5), (3, 0);
    COMMIT;";

/// Something that each of them minds.
const BAD: &str = "
    BEGIN;
    SELECT medallion.backfill();
    INSERT INTO bronze.br_sale (lsn, op, full_row, commit_ts, seq) VALUES
        (2, 'D', '{\"sale_id\": 1}', clock_timestamp() - interval '3 days', 0);
    INSERT INTO medallion.shop_hist (shop_id, city, row_hash, sys_start) VALUES (2, NULL, '', '2026-01-01');
    INSERT INTO silver.dim_customer_hist
        (customer_id, shop_id, email, size, score, member, born, row_hash, sys_start)
    VALUES
        (4, 9, '', 'large', 'NaN', false, '1800-01-01', '', '2026-01-01'),
        (5, 1, 'x', 'large', 200, NULL, NULL, '', '2026-01-01'),
        (6, 1, 'x', 'large', -1, NULL, NULL, '', '2026-01-01');
    INSERT INTO silver.fact_sale (sale_id, sold_at, customer_id, amount, snapshot_ts) VALUES
        (1, '2026-01-05', 1, 1001, '2026-01-05'), (4, '2026-01-02', 77, 20000, '2026-01-02'),
        (5, '2026-01-06', 1, 900, '2026-01-06');
    INSERT INTO gold.sales_by_customer (customer_id, revenue) VALUES (4, 20000.5);
    COMMIT;";

async fn bench(name: &str) -> (Warehouse, Place, PgConnection) {
    let server = Server::shared_scratch().unwrap();
    let name = format!("data_tests_{name}");
    server.ensure_database(&name).unwrap();
    let url = server.url(&name);
    let warehouse = warehouse();
    let place = Place { source: url.clone(), warehouse: url.clone(), bronze: None, embedded: None };
    migrate::up(&warehouse, &place).await.unwrap_or_else(|error| panic!("{error}"));
    let mut connection = connection::connect(Database::Warehouse, &url).await.unwrap();
    connection.execute(GOOD).await.unwrap();
    (warehouse, place, connection)
}

async fn test(warehouse: &Warehouse, place: &Place) -> Vec<Tested> {
    data_test::test(warehouse, place, |_| ()).await.unwrap_or_else(|error| panic!("{error}"))
}

fn found(tested: &[Tested]) -> Vec<(&'static str, Status, u64)> {
    let mut found: Vec<_> = tested.iter().map(|one| (one.name, one.status, one.failures)).collect();
    found.sort_by_key(|(name, ..)| *name);
    found
}

#[tokio::test]
async fn good_rows_break_nothing() {
    let (warehouse, place, _) = bench("good").await;
    let tested = test(&warehouse, &place).await;
    assert_eq!(tested.len(), warehouse.tests.len());
    let wrong: Vec<_> = tested.iter().filter(|one| one.failures > 0).map(data_test::finding).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn bad_rows_break_each() {
    use Status::{Failed, Passed, Proved, Warned};
    let (warehouse, place, mut connection) = bench("bad").await;
    connection.execute(BAD).await.unwrap();
    let tested = test(&warehouse, &place).await;
    let expected = [
        ("accepted_values_br_sale_op", Warned, 1),
        ("accepted_values_dim_customer_hist_member", Failed, 1),
        ("accepted_values_dim_customer_hist_size", Proved, 0),
        ("accepted_values_dim_customer_hist_size_2", Warned, 3),
        ("expression_dim_customer_hist", Failed, 1),
        ("expression_dim_customer_hist_2", Failed, 2),
        ("freshness_br_sale_commit_ts", Passed, 0),
        ("freshness_dim_customer_hist_born", Passed, 0),
        ("increasing_fact_sale_amount", Failed, 1),
        ("increasing_fact_sale_sale_id", Failed, 2),
        ("it's", Failed, 1),
        ("not_null_br_sale_lsn_commit_ts", Proved, 0),
        ("not_null_sales_by_day_day", Passed, 0),
        ("not_null_shop_city", Failed, 1),
        ("range_dim_customer_hist_born", Failed, 1),
        ("range_dim_customer_hist_score", Failed, 2),
        ("range_fact_sale_amount", Failed, 2),
        ("relationship_dim_customer_hist_shop_id", Failed, 1),
        ("relationship_fact_sale_customer_id", Failed, 1),
        ("row_count_shop", Passed, 0),
        ("sql_sales_by_customer", Warned, 1),
        ("sum_equals_sales_by_customer_revenue", Failed, 1),
        ("unique_dim_customer_hist_customer_id", Proved, 0),
        // Two are put up with.
        ("unique_dim_customer_hist_email", Passed, 1),
        ("unique_fact_sale_sale_id", Failed, 1),
        ("unique_fact_sale_sale_id_sold_at", Proved, 0),
        ("unique_sales_by_customer_customer_id", Proved, 0),
        ("unique_sales_by_day_day", Passed, 0),
    ];
    assert_eq!(found(&tested), expected);
    let one = |name: &str| tested.iter().find(|one| one.name == name).unwrap();
    assert_eq!(
        one("sum_equals_sales_by_customer_revenue").message.as_deref(),
        Some("the sum is 20015.5, and should be 21916.00")
    );
    assert_eq!(one("unique_fact_sale_sale_id").rows, ["{\"m$rows\": 2, \"sale_id\": 1}"]);
    assert_eq!(one("sql_sales_by_customer").rows, ["{\"revenue\": 20000.5, \"customer_id\": 4}"]);
    let falls = &one("increasing_fact_sale_amount").rows;
    assert!(falls.len() == 1 && falls[0].contains("\"m$before\": 1001.00"), "{falls:?}");
    let orphan = &one("relationship_fact_sale_customer_id").rows;
    assert!(orphan.len() == 1 && orphan[0].contains("\"customer_id\": 77"), "{orphan:?}");
}

#[tokio::test]
async fn what_is_old_or_empty_is_not_fresh() {
    let (warehouse, place, mut connection) = bench("old").await;
    let fresh = |tested: &[Tested]| {
        let one = tested.iter().find(|one| one.name == "freshness_br_sale_commit_ts").unwrap();
        (one.status, one.message.clone())
    };
    connection
        .execute(
            "BEGIN; SELECT medallion.prune(); DELETE FROM bronze.br_sale;
            INSERT INTO bronze.br_sale (lsn, op, full_row, commit_ts, seq) VALUES
                (1, 'I', '{}', clock_timestamp() - interval '60 hours 5 minutes', 0); COMMIT",
        )
        .await
        .unwrap();
    let (status, message) = fresh(&test(&warehouse, &place).await);
    assert_eq!(status, Status::Failed);
    assert!(message.as_deref().unwrap().ends_with(", 2 days ago"), "{message:?}");
    connection.execute("BEGIN; SELECT medallion.prune(); DELETE FROM bronze.br_sale; COMMIT").await.unwrap();
    let none = Some("there is none".to_owned());
    assert_eq!(fresh(&test(&warehouse, &place).await), (Status::Failed, none));
}

/// A test that cannot be asked says so, and keeps no other from being asked in the same scan.
#[tokio::test]
async fn one_that_cannot_be_asked_stands_alone() {
    let (mut warehouse, place, _) = bench("broken").await;
    let relation = Name::new("silver", "fact_sale");
    for (name, rule, error_above) in [
        ("divides", "1 / (sale_id - 1) > 0", Some(0)),
        ("divides_and_warns", "1 / (sale_id - 2) > 0", None),
        ("stands", "sale_id > 0", Some(0)),
    ] {
        warehouse.tests.push(DataTest {
            name,
            description: None,
            relation: relation.clone(),
            stored: relation.clone(),
            key: vec!["sale_id".to_owned()],
            reads: vec![relation.clone()],
            rule: Rule::Each(rule),
            warn_above: 0,
            error_above,
        });
    }
    let tested = test(&warehouse, &place).await;
    let found = found(&tested);
    for expected in [
        ("divides", Status::Broken, 1),
        ("divides_and_warns", Status::Warned, 1),
        ("stands", Status::Passed, 0),
        ("range_fact_sale_amount", Status::Passed, 0),
    ] {
        assert!(found.contains(&expected), "{expected:?} of {found:?}");
    }
    let broken = tested.iter().find(|one| one.name == "divides").unwrap();
    assert_eq!(
        broken.message.as_deref(),
        Some("the test cannot be asked\n  because: division by zero (SQLSTATE 22012)")
    );
}

#[tokio::test]
async fn other_programs_are_told() {
    let (warehouse, place, mut connection) = bench("told").await;
    connection.execute(BAD).await.unwrap();
    let mut tested = test(&warehouse, &place).await;
    for one in &mut tested {
        one.elapsed = Duration::from_millis(20);
    }
    let started: DateTime<Utc> = "2026-01-01T00:00:00Z".parse().unwrap();
    let results = data_test::run_results(&warehouse, &tested, started, Duration::from_secs(1));
    let schema = results["metadata"]["dbt_schema_version"].as_str().unwrap();
    assert!(schema.ends_with("/run-results/v6.json"), "{schema}");
    let rows = results["results"].as_array().unwrap();
    assert_eq!(rows.len(), warehouse.tests.len());
    for required in ["status", "timing", "thread_id", "execution_time", "adapter_response", "unique_id"] {
        assert!(rows.iter().all(|row| !row[required].is_null()), "{required}");
    }
    let fails = rows.iter().filter(|row| row["status"] == "fail").count();
    let junit = data_test::junit(&warehouse, &tested).unwrap();
    assert!(junit.contains(&format!("failures=\"{fails}\" errors=\"0\"")), "{junit}");
    assert_eq!(junit.matches("<failure message=").count(), fails, "{junit}");
    assert!(
        junit.contains("<testcase name=\"it&apos;s\"") || junit.contains("<testcase name=\"it's\""),
        "{junit}"
    );
}
