//! Computing everything anew: what is wrong is right again, readers see it as it was until then, and what a test refuses
//! is never published, by whatever verb.

use medallion_runtime::forget::{self, Current, Extent, Subject};
use medallion_runtime::progress::Silent;
use medallion_runtime::{connection, rebuild, run};
use medallion_server::Server;

use crate::support::program::{command, stderr};
use crate::support::{Shop, compare, laws};
use crate::tested::STOCK;

/// What is stored is not what landed.
const DAMAGE: &str = "BEGIN;
    SELECT medallion.backfill();
    DELETE FROM temporal_silver.fact_payment WHERE payment_id = 3;
    UPDATE temporal_silver.dim_customer_hist SET last_name = 'Nobody' WHERE customer_id = 4;
    UPDATE simple_gold.vw_monthly_revenue SET revenue = 1;
    COMMIT";

/// A state that landed can only have come past the tests.
const POISON: &str = "BEGIN;
    INSERT INTO cdc_bronze.br_payment_cdc (lsn, op, full_row, commit_ts, seq)
    SELECT lsn, 'U', full_row || '{\"amount\": -5}', commit_ts, seq + 1000
    FROM cdc_bronze.br_payment_cdc WHERE full_row ->> 'payment_id' = '7';
    DELETE FROM medallion.late_change;
    COMMIT";

const SEEN: &str = "SELECT (SELECT count(*) FROM temporal_silver.fact_payment)::text || ' '
    || (SELECT sum(revenue) FROM simple_gold.vw_monthly_revenue) || ' '
    || (SELECT count(*) FROM temporal_silver.dim_customer WHERE last_name = 'Nobody')";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_see_what_was_until_all_of_it_is_right() {
    let server = Server::shared_scratch().unwrap();
    let mut shop = Shop::open(server, "refreshed").await;
    shop.change(STOCK).await;
    shop.migrate().await;
    shop.run().await;
    let right = compare::value(&mut shop.warehouse, SEEN).await;
    compare::execute(&mut shop.warehouse, DAMAGE).await;
    let wrong = compare::value(&mut shop.warehouse, SEEN).await;
    assert_ne!(right, wrong);
    shop.change("UPDATE customer SET first_name = 'New' WHERE customer_id = 1").await;

    let url = shop.place.warehouse.clone();
    let (stop, mut stopped) = tokio::sync::watch::channel(false);
    let reader = tokio::spawn(async move {
        let mut session = connection::connect(connection::Database::Warehouse, &url).await.unwrap();
        let mut seen = Vec::new();
        while !*stopped.borrow_and_update() {
            seen.push(compare::value(&mut session, SEEN).await);
        }
        seen
    });
    let whole = rebuild::everything(&shop.descriptor);
    let outcome = run::run_anew(&shop.descriptor, &shop.place, run::PATIENCE, &whole, &mut Silent).await;
    let outcome = outcome.unwrap_or_else(|error| panic!("{error}"));
    stop.send(true).unwrap();
    assert!(!outcome.is_held() && outcome.tested.len() > 5, "{outcome:#?}");
    for state in reader.await.unwrap() {
        assert!(state == wrong || state == right, "a reader saw {state}");
    }
    assert_eq!(compare::value(&mut shop.warehouse, SEEN).await, right);
    let new = "SELECT count(*) FROM temporal_silver.dim_customer WHERE first_name = 'New'";
    assert_eq!(compare::value(&mut shop.warehouse, new).await, "1");
    laws::assert_hold(&mut shop, "refreshed").await;
}

/// What was kept of the last that was held back, with what it was: taken away.
async fn take_kept(shop: &mut Shop) -> String {
    let kept = "SELECT coalesce(run.performance_metrics ->> 'held', 'none') || ' '
        || (run.performance_metrics -> 'tests' ->> 'failed') || ' ' || (failed.full_row ->> 'amount')::numeric::integer
        FROM medallion.failed_row AS failed JOIN medallion.pipeline_metadata AS run ON run.id = failed.run
        WHERE failed.test = 'range_fact_payment_amount' AND run.status = 'failed'";
    let kept = compare::value(&mut shop.warehouse, kept).await;
    compare::execute(&mut shop.warehouse, "DELETE FROM medallion.failed_row").await;
    kept
}

#[tokio::test]
async fn what_a_test_refuses_is_published_by_no_verb() {
    let server = Server::scratch().unwrap();
    let mut shop = Shop::open_as_is(&server, "refused").await;
    shop.change(STOCK).await;
    shop.migrate().await;
    shop.run().await;
    let right = compare::value(&mut shop.warehouse, SEEN).await;
    compare::execute(&mut shop.warehouse, POISON).await;

    for arguments in [&["run", "--full-refresh"][..], &["rebuild"], &["rebuild", "--select", "tag:finance"]] {
        let output = command(&shop, arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        let said = stderr(&output);
        assert!(
            said.contains("test `range_fact_payment_amount` of `temporal_silver.fact_payment` failed: 1 row"),
            "{said}"
        );
        assert!(said.contains("not published: silver and gold are as they were"), "{said}");
        assert_eq!(compare::value(&mut shop.warehouse, SEEN).await, right, "{arguments:?}");
        let held = if arguments[0] == "run" { "none" } else { "rebuild" };
        assert_eq!(take_kept(&mut shop).await, format!("{held} 1 -5"), "{arguments:?}");
    }
    // What is rebuilt and has nothing to do with it is published.
    let output = command(&shop, &["rebuild", "dim_film"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");

    // The copy's film and store are in the payment, which is computed anew without them.
    let key = ["7".to_owned()];
    let subject = Subject::find(&shop.descriptor, "lookup_inventory", &key).unwrap();
    let outcome =
        forget::forget(&shop.descriptor, &shop.place, &subject, Current::Erase, Extent::Keep).await.unwrap();
    let forget::Outcome::Held(refused) = &outcome else { panic!("{outcome:?}") };
    assert!(refused.iter().any(|one| one.contains("range_fact_payment_amount")), "{refused:?}");
    assert_eq!(take_kept(&mut shop).await, "forget 2 -5");
    assert_eq!(compare::value(&mut shop.warehouse, SEEN).await, right);
    let kept = "SELECT count(*) FROM medallion.lookup_inventory_cdc WHERE full_row ->> 'inventory_id' = '7'";
    assert_eq!(compare::value(&mut shop.warehouse, kept).await, "1");
    let arguments = ["forget", "lookup_inventory", "7", "--even-if-current"];
    let output = command(&shop, &arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stderr(&output).contains("nothing was erased; --even-if-tests-fail erases it"), "{output:?}");
    let arguments = [&arguments[..], &["--even-if-tests-fail"]].concat();
    let output = command(&shop, &arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(compare::value(&mut shop.warehouse, kept).await, "0");
}
