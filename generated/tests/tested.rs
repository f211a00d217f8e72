//! Tests of the data where they count: what breaks them is never published, whatever comes and goes at the source,
//! while landing goes on; in a run, under a watch, and by the command that only looks.

use std::collections::BTreeSet;

use medallion_runtime::{connection, data_test};
use medallion_server::Server;
use rustix::process::Signal;
use tokio::sync::watch;

use crate::chaos::Dice;
use crate::support::program::{self, Watching};
use crate::support::{Shop, compare, laws};

/// A small shop: twenty rentals, each with its payment.
pub const STOCK: &str = "
    INSERT INTO country (country) VALUES ('Country');
    INSERT INTO city (city, country_id) VALUES ('City', 1);
    INSERT INTO address (address, district, city_id, phone) VALUES ('Street', 'District', 1, '0');
    INSERT INTO language (name) VALUES ('English');
    INSERT INTO store (manager_staff_id, address_id) VALUES (1, 1);
    INSERT INTO staff (first_name, last_name, address_id, store_id, username) VALUES ('Ann', 'Ott', 1, 1, 'ann');
    INSERT INTO film (title, language_id) VALUES ('Film', 1);
    INSERT INTO inventory (film_id, store_id) SELECT 1, 1 FROM generate_series(1, 20);
    INSERT INTO customer (store_id, first_name, last_name, email, address_id)
    SELECT 1, 'First', 'Last ' || n, n || '@post.example', 1 FROM generate_series(1, 20) AS n;
    INSERT INTO rental (rental_date, inventory_id, customer_id, staff_id)
    SELECT timestamptz '2025-01-01' + n * interval '1 day', n, n, 1 FROM generate_series(1, 20) AS n;
    INSERT INTO payment (customer_id, staff_id, rental_id, amount, payment_date)
    SELECT n, 1, n, n, timestamptz '2025-01-01' + n * interval '1 day' FROM generate_series(1, 20) AS n";

/// What the spec's tests say, asked of the source itself.
const BROKEN: &str = "SELECT EXISTS (SELECT FROM payment WHERE amount < 0)
    OR EXISTS (SELECT FROM rental WHERE return_date < rental_date)
    OR EXISTS (SELECT FROM payment GROUP BY date_trunc('month', payment_date AT TIME ZONE 'UTC') HAVING sum(amount) < 0)";

/// What readers see that the tests are about.
const SEEN: &str = "SELECT md5(string_agg(one::text, ' ' ORDER BY one::text)) FROM (
    SELECT payment_id::text, amount::text, snapshot_ts::text FROM temporal_silver.fact_payment
    UNION ALL SELECT rental_id::text, return_date::text, snapshot_ts::text FROM temporal_silver.fact_rental
    UNION ALL SELECT store_id::text, month::text, revenue::text FROM simple_gold.vw_monthly_revenue
) AS one";

/// What no reader may ever see.
const POISONED: &str = "SELECT EXISTS (SELECT FROM temporal_silver.fact_payment WHERE amount < 0)
    OR EXISTS (SELECT FROM temporal_silver.fact_rental WHERE return_date < rental_date)
    OR EXISTS (SELECT FROM simple_gold.vw_monthly_revenue WHERE revenue < 0)
    OR (SELECT sum(revenue) FROM simple_gold.vw_monthly_revenue)
        IS DISTINCT FROM (SELECT sum(amount) FROM temporal_silver.fact_payment)";

/// What somebody does at the source.
fn change(dice: &mut Dice) -> String {
    let key = dice.roll(20) + 1;
    match dice.roll(9) {
        0 => format!("UPDATE payment SET amount = -{key} WHERE payment_id = {key}"),
        1 => {
            format!("UPDATE rental SET return_date = rental_date - interval '1 day' WHERE rental_id = {key}")
        }
        2 | 3 => "UPDATE payment SET amount = 7 WHERE amount < 0".to_owned(),
        4 | 5 => {
            "UPDATE rental SET return_date = rental_date + interval '3 days' WHERE return_date < rental_date"
                .to_owned()
        }
        6 => format!("UPDATE payment SET amount = amount + 1 WHERE payment_id = {key}"),
        7 => format!("DELETE FROM payment WHERE payment_id = {key}"),
        _ => format!("UPDATE customer SET first_name = 'First {key}' WHERE customer_id = {key}"),
    }
}

#[tokio::test]
async fn what_breaks_a_test_is_never_published() {
    let server = Server::shared_scratch().unwrap();
    let mut shop = Shop::open(server, "tested").await;
    shop.change(STOCK).await;
    shop.migrate().await;
    assert!(!shop.run().await.is_held());
    // All the while somebody reads.
    let url = shop.place.warehouse.clone();
    let (stop, mut stopped) = watch::channel(false);
    let reader = tokio::spawn(async move {
        let mut session = connection::connect(connection::Database::Warehouse, &url).await.unwrap();
        let mut seen = Vec::new();
        while !*stopped.borrow_and_update() {
            seen.push(compare::value(&mut session, POISONED).await);
        }
        seen
    });
    let mut dice = Dice(7);
    let mut ways = BTreeSet::new();
    for round in 0..40 {
        let before = compare::value(&mut shop.warehouse, SEEN).await;
        for _ in 0..=dice.roll(3) {
            let sql = change(&mut dice);
            shop.change(&sql).await;
        }
        let outcome = shop.run().await;
        let broken = compare::value(&mut shop.source, BROKEN).await == "t";
        assert_eq!(outcome.is_held(), broken, "round {round}: {:?}", outcome.tested);
        let after = compare::value(&mut shop.warehouse, SEEN).await;
        assert!(!broken || before == after, "round {round} has published something");
        let all = data_test::test(&shop.descriptor, &shop.place, |_| ()).await.unwrap();
        let wrong: Vec<String> =
            all.iter().filter(|one| one.status.holds_back()).map(data_test::finding).collect();
        assert!(wrong.is_empty(), "round {round}: readers see {wrong:?}");
        ways.insert((broken, before == after));
    }
    assert!(ways.contains(&(true, true)) && ways.contains(&(false, false)), "{ways:?}");
    stop.send(true).unwrap();
    let seen = reader.await.unwrap();
    assert!(seen.len() > 40 && seen.iter().all(|poisoned| poisoned == "f"), "{} times: {seen:?}", seen.len());
    shop.change("UPDATE payment SET amount = 7 WHERE amount < 0").await;
    shop.change("UPDATE rental SET return_date = NULL").await;
    assert!(!shop.run().await.is_held());
    laws::assert_hold(&mut shop, "tested").await;

    // A round costs as much as it changes, also where no mart follows the relation.
    shop.change("UPDATE customer SET email = 'new@post.example' WHERE customer_id = 1").await;
    let outcome = shop.run().await;
    let asked = outcome.tested.iter().find(|one| one.name == "email_is_an_address").unwrap();
    assert!(asked.sql.contains("FROM pg_temp.change_"), "{}", asked.sql);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn landing_goes_on_while_a_test_holds_silver_back() {
    let server = Server::scratch().unwrap();
    let mut shop = Shop::open_as_is(&server, "tested_watch").await;
    shop.change(STOCK).await;
    shop.migrate().await;
    let target = shop.place.warehouse.clone();
    let mut watching = Watching::start(&shop);
    watching.until(&target, "SELECT count(*) = 20 FROM temporal_silver.fact_payment").await;

    shop.change("UPDATE payment SET amount = -1 WHERE payment_id = 3").await;
    watching
        .says(
            "silver and gold stay as they are, landing goes on: \
             test `range_fact_payment_amount` of `temporal_silver.fact_payment` failed: 1 row",
        )
        .await;
    shop.change("UPDATE customer SET last_name = 'Landed' WHERE customer_id = 1").await;
    let landed =
        "SELECT count(*) = 1 FROM cdc_bronze.br_customer_cdc WHERE full_row ->> 'last_name' = 'Landed'";
    watching.until(&target, landed).await;
    let health = watching.get("/health").await;
    assert!(health.starts_with("HTTP/1.1 503"), "{health}");
    let kept = "SELECT count(*) || ' ' || min(full_row ->> 'amount') FROM medallion.failed_row
        WHERE test = 'range_fact_payment_amount'";
    assert_eq!(compare::value(&mut shop.warehouse, kept).await, "1 -1.00");
    let published = "SELECT min(amount) >= 0 FROM temporal_silver.fact_payment";
    assert_eq!(compare::value(&mut shop.warehouse, published).await, "t");

    shop.change("UPDATE payment SET amount = 1 WHERE payment_id = 3").await;
    watching.says("silver and gold move on again").await;
    let seen = "SELECT last_name = 'Landed' FROM temporal_silver.dim_customer WHERE customer_id = 1";
    watching.until(&target, seen).await;
    watching.signal(Signal::TERM);
    let (status, said, _) = watching.wait();
    assert_eq!(status.code(), Some(0), "{said}");
    assert_eq!(said.matches("silver and gold stay as they are").count(), 1, "told once: {said}");
}

#[tokio::test]
async fn the_command_line_says_what_is_wrong() {
    let server = Server::scratch().unwrap();
    let mut shop = Shop::open_as_is(&server, "tested_said").await;
    shop.change(STOCK).await;
    shop.migrate().await;
    shop.run().await;
    let good = program::command(&shop, &["test"]).output().unwrap();
    let said = String::from_utf8(good.stdout).unwrap();
    assert_eq!(good.status.code(), Some(0), "{said}");
    assert!(said.ends_with("\n9 tests: 7 passed, 2 proved\n"), "{said}");

    shop.change("UPDATE payment SET amount = -1 WHERE payment_id = 3").await;
    shop.change("UPDATE customer SET email = 'none' WHERE customer_id = 3").await;
    let run = program::command(&shop, &["run"]).output().unwrap();
    let said = program::stderr(&run);
    assert_eq!(run.status.code(), Some(1), "{said}");
    assert!(said.ends_with("not published: silver and gold are as they were\n"), "{said}");
    assert!(
        said.contains("WARN test `email_is_an_address` of `temporal_silver.dim_customer` warns: 1 row\n"),
        "{said}"
    );

    // What the owner does past the pipeline is not tested until somebody looks.
    let damage = "UPDATE temporal_silver.fact_payment SET amount = -2 WHERE payment_id < 9";
    compare::execute(&mut shop.warehouse, damage).await;
    let folder = tempfile::tempdir().unwrap();
    let results = folder.path().join("results");
    let bad = program::command(&shop, &["test", "--results", results.to_str().unwrap()]).output().unwrap();
    let said = String::from_utf8(bad.stdout).unwrap();
    assert_eq!(bad.status.code(), Some(1), "{said}");
    assert!(
        said.contains(" FAIL range_fact_payment_amount on temporal_silver.fact_payment: 8 rows ["),
        "{said}"
    );
    assert!(said.contains("\n  …\n"), "five rows and no more: {said}");
    assert!(said.contains(" FAIL sum_equals_vw_monthly_revenue_revenue on "), "{said}");
    let written = std::fs::read_to_string(results.join("run_results.json")).unwrap();
    assert!(written.contains("\"status\": \"fail\""), "{written}");
    assert!(std::fs::read_to_string(results.join("junit.xml")).unwrap().contains("<failure "));
}
