//! The sample that the warehouse brings along: a year of a recorded log, then live traffic. The inventory
//! that the README states, the past as the log has it, the present as the source has it.

use medallion_runtime::connection::Database;
use medallion_runtime::script;
use medallion_server::Server;

use crate::support::{Shop, State, asking, compare, figures, laws, program, state};

/// Rounds of traffic after the sample.
const ROUNDS: u32 = 3;

#[tokio::test]
async fn the_sample_fills_the_warehouse_and_its_year_can_be_travelled_through() {
    let server = Server::shared_scratch().unwrap();
    let mut shop = Shop::open(server, "sample").await;
    let sample = shop.descriptor.scripts.sample.expect("Pagila brings a sample");
    script::execute(Database::Source, &shop.place.source, "sample.sql", sample).await.unwrap();
    compare::execute(&mut shop.source, "ANALYZE").await;
    shop.migrate().await;

    let outcome = shop.run().await;
    let recorded = compare::value(&mut shop.source, "SELECT count(*) FROM change_log").await;
    let landed: u64 = outcome.landed.values().sum();
    assert_eq!(landed.to_string(), recorded, "the log lands, and the snapshot after it finds no difference");
    assert_inventory(&mut shop).await;

    let whole = State::fold(&mut shop.source, "folded", "infinity").await;
    figures::assert_now(&mut shop, &whole, "the log, folded").await;
    state::record_stock_of_log(&mut shop.source).await;
    let kept = State::keep(&mut shop.source, "kept").await;
    figures::assert_now(&mut shop, &kept, "the tables, as the sample leaves them").await;
    laws::assert_hold(&mut shop, "the sample").await;

    for (number, time) in (1..).zip(times(&mut shop).await) {
        let past = State::fold(&mut shop.source, &format!("folded_{number}"), &time).await;
        figures::assert_as_of(&mut shop, &past, &time, "the log, folded").await;
        asking::assert_agree(&mut shop, &time, "the log, folded").await;
    }

    let traffic = shop.descriptor.scripts.traffic.expect("Pagila brings traffic");
    let mut past = Vec::new();
    for round in 1..=ROUNDS {
        compare::execute(&mut shop.source, &format!("SELECT setseed(0.{round})")).await;
        compare::execute(&mut shop.source, traffic).await;
        let state = State::keep(&mut shop.source, &format!("round_{round}")).await;
        let outcome = shop.run().await;
        assert!(!outcome.is_empty(), "round {round} brought nothing");
        figures::assert_now(&mut shop, &state, &format!("round {round} of traffic")).await;
        laws::assert_hold(&mut shop, &format!("round {round} of traffic")).await;
        past.push(state);
    }
    for (round, state) in (1..).zip(&past) {
        let time = shop.time_of(state.position).await;
        let position = format!("{:X}/{:X}", state.position >> 32, state.position & 0xffff_ffff);
        assert_eq!(asked_as_of(&shop, &position), asked_as_of(&shop, &time), "round {round} by its position");
        figures::assert_as_of(&mut shop, state, &time, &format!("round {round} of traffic")).await;
        asking::assert_joined(&mut shop, state, &time, &format!("round {round} of traffic")).await;
    }
    let outcome = shop.run().await;
    assert!(outcome.is_empty(), "{outcome:?}");
}

/// The counts that the design and the README state, from the catalog and the tables.
async fn assert_inventory(shop: &mut Shop) {
    let layers = "('cdc_bronze', 'temporal_silver', 'simple_gold')";
    let stored = compare::rows(
        &mut shop.warehouse,
        &format!(
            "SELECT relation.oid::regclass FROM pg_class AS relation
            WHERE relnamespace::regnamespace::text IN {layers}
            AND relkind IN ('r', 'p', 'm') AND NOT relispartition"
        ),
    )
    .await;
    let expected = [
        "cdc_bronze.br_customer_cdc",
        "cdc_bronze.br_payment_cdc",
        "cdc_bronze.br_rental_cdc",
        "simple_gold.vw_monthly_revenue",
        "simple_gold.vw_top_titles",
        "temporal_silver.dim_customer_hist",
        "temporal_silver.dim_film_hist",
        "temporal_silver.fact_payment",
        "temporal_silver.fact_rental",
    ];
    assert_eq!(stored, expected, "nine stored tables");
    let views = compare::rows(
        &mut shop.warehouse,
        &format!(
            "SELECT relation.oid::regclass FROM pg_class AS relation
            WHERE relnamespace::regnamespace::text IN {layers}
            AND relkind = 'v' AND relname NOT LIKE 'lookup%'"
        ),
    )
    .await;
    let expected =
        ["simple_gold.vw_store_scorecard", "temporal_silver.dim_customer", "temporal_silver.dim_film"];
    assert_eq!(views, expected, "three views");

    for (table, count) in [
        ("temporal_silver.dim_customer", 599..=599),
        ("temporal_silver.dim_film", 1_000..=1_000),
        ("temporal_silver.fact_rental", 16_000..=16_100),
        ("temporal_silver.fact_payment", 15_000..=15_100),
        ("simple_gold.vw_monthly_revenue", 84..=84),
        ("cdc_bronze.br_customer_cdc", 5_000..=u64::MAX),
        ("cdc_bronze.br_rental_cdc", 16_000..=u64::MAX),
        ("cdc_bronze.br_payment_cdc", 15_000..=u64::MAX),
    ] {
        let found = compare::value(&mut shop.warehouse, &format!("SELECT count(*) FROM {table}")).await;
        assert!(count.contains(&found.parse().unwrap()), "{table} has {found} rows, not {count:?}");
    }
    let grid = compare::value(
        &mut shop.warehouse,
        "SELECT count(DISTINCT store_id), count(DISTINCT month), min(month), max(month)
        FROM simple_gold.vw_monthly_revenue",
    )
    .await;
    assert_eq!(grid, "7\t12\t2025-01-01\t2025-12-01", "seven stores, twelve months");

    for fact in ["fact_rental", "fact_payment"] {
        let months = compare::rows(
            &mut shop.warehouse,
            &format!("SELECT DISTINCT tableoid::regclass FROM temporal_silver.{fact}"),
        )
        .await;
        let expected: Vec<String> =
            (1..=12).map(|month| format!("temporal_silver.{fact}_2025_{month:02}")).collect();
        assert_eq!(months, expected, "a partition a month");
    }
}

/// Times to ask for: round ones, the moment of a commit and the one just before it.
async fn times(shop: &mut Shop) -> Vec<String> {
    let mut times: Vec<String> =
        ["2025-01-15 12:00:00+00", "2025-07-01 00:00:00+00"].map(str::to_owned).to_vec();
    for condition in [
        "relation = 'inventory' AND op = 'U'",
        "relation = 'customer' AND op = 'D'",
        "relation = 'staff' AND op = 'U'",
    ] {
        let sql = format!(
            "SELECT max(committed_at), max(committed_at) - interval '1 microsecond' FROM change_log WHERE {condition}"
        );
        times.extend(compare::value(&mut shop.source, &sql).await.split('\t').map(str::to_owned));
    }
    times
}

/// What the binary answers as of a time or a position.
fn asked_as_of(shop: &Shop, when: &str) -> String {
    let sql = "SELECT customer_id, email, sys_start FROM dim_customer ORDER BY customer_id";
    let output =
        program::command(shop, &["query", "--format", "csv", "--as-of", when, sql]).output().unwrap();
    assert!(output.status.success(), "{}", program::stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}
