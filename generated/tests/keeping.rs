//! Retention on a year of the sample, run by the loader's role: from the horizon on every state is what it was,
//! marts included, and life goes on.

use medallion_runtime::connection::Database;
use medallion_runtime::script;

use crate::support::{Shop, State, compare, figures, laws, staff, state};

#[tokio::test]
async fn from_the_horizon_on_the_past_is_what_it_was() {
    let (mut shop, ..) = staff::open("kept").await;
    compare::execute(&mut shop.source, "TRUNCATE language, category CASCADE").await;
    let sample = shop.descriptor.scripts.sample.expect("Pagila brings a sample");
    script::execute(Database::Source, &shop.place.source, "sample.sql", sample).await.unwrap();
    compare::execute(&mut shop.source, "ANALYZE").await;
    let outcome = shop.run().await;
    assert_eq!(outcome.retained, None, "ten years are kept");

    let horizon = keep_since(&mut shop, "2025-07-01 00:00+00").await;
    let size = "SELECT count(*) FROM cdc_bronze.br_customer_cdc";
    let before: u64 = compare::value(&mut shop.warehouse, size).await.parse().unwrap();
    let retained = shop.run().await.retained.expect("the horizon moves");
    assert_eq!(retained.horizon, horizon);
    let gone = retained.gone["cdc_bronze.br_customer_cdc"];
    assert!(gone > 1_000, "{retained:?}");
    let after: u64 = compare::value(&mut shop.warehouse, size).await.parse().unwrap();
    assert_eq!(before - gone, after);
    assert!(!retained.gone.contains_key("medallion.lookup_inventory_cdc"), "{retained:?}");
    assert_eq!(shop.run().await.retained, None, "once a day");

    laws::assert_hold(&mut shop, "folded").await;
    let times = [horizon.as_str(), "2025-07-03 12:00+00", "2025-09-15 03:14+00"];
    for (number, time) in (1..).zip(times) {
        let past = State::fold(&mut shop.source, &format!("folded_{number}"), time).await;
        figures::assert_as_of(&mut shop, &past, time, "the log, folded").await;
    }
    let whole = State::fold(&mut shop.source, "folded", "infinity").await;
    figures::assert_now(&mut shop, &whole, "the log, folded").await;

    // Rows older than the horizon change and go, as others do.
    state::record_stock_of_log(&mut shop.source).await;
    shop.change(
        "UPDATE customer SET last_name = last_name || '!' WHERE customer_id < 100;
        UPDATE inventory SET store_id = 1 + store_id % 7 WHERE inventory_id < 50;
        UPDATE rental SET staff_id = 1 WHERE rental_id < 200;
        DELETE FROM payment WHERE payment_id < 100",
    )
    .await;
    let state = State::keep(&mut shop.source, "later").await;
    assert!(!shop.run().await.is_empty());
    figures::assert_now(&mut shop, &state, "changes after it").await;
    laws::assert_hold(&mut shop, "changes after it").await;
    let time = "2025-10-01 00:00+00";
    let past = State::fold(&mut shop.source, "once_more", time).await;
    figures::assert_as_of(&mut shop, &past, time, "after further changes").await;
}

/// Has the warehouse keep what is younger than about a time, and returns the horizon that this makes.
async fn keep_since(shop: &mut Shop, time: &str) -> String {
    let days = format!("SELECT (extract(epoch FROM medallion.now() - '{time}') / 86400)::integer");
    let days = compare::value(&mut shop.warehouse, &days).await;
    let function = "pg_get_functiondef('medallion.retain()'::regprocedure)";
    let changed = format!("replace({function}, '''10 years''', '''{days} days''')");
    compare::execute(&mut shop.warehouse, &format!("DO $do$BEGIN EXECUTE {changed}; END$do$")).await;
    let horizon = format!("date_trunc('day', medallion.now() AT TIME ZONE 'UTC' - interval '{days} days')");
    compare::value(&mut shop.warehouse, &format!("SELECT ({horizon} AT TIME ZONE 'UTC')::text")).await
}
