//! The compiled binary's `watch` on real servers: silver and marts follow the source; whatever is killed and
//! restarted, each change lands once; what silver refuses holds back silver alone; who else wants the warehouse
//! gets it.

use std::time::Duration;

use medallion_runtime::connection::Database;
use medallion_runtime::{connection, lock, script};
use medallion_server::Server;
use rustix::process::Signal;

use crate::chaos::{Dice, Writers};
use crate::support::audit::{self, Landed};
use crate::support::program::{self, Watching};
use crate::support::{Shop, State, compare, figures, laws, state};

/// The marts tell of all payments, and all of the source's are there.
async fn level(shop: &mut Shop) -> String {
    let payments = compare::value(&mut shop.source, "SELECT count(*) FROM payment").await;
    format!(
        "SELECT count(*) = {payments} AND count(*) = (SELECT sum(payments) FROM simple_gold.vw_monthly_revenue)
        FROM temporal_silver.fact_payment"
    )
}

/// Traffic at a set rate is followed, too.
async fn simulated(shop: &mut Shop, watching: &Watching) {
    let arguments = ["simulate", "--rate", "10", "--for", "2", "--rounds", "15", "--seed", "7"];
    let output = program::command(shop, &arguments).output().unwrap();
    assert!(output.status.success(), "{}", program::stderr(&output));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains(" of traffic on the source"), "{said}");
    let level = level(shop).await;
    watching.until(&shop.place.warehouse.clone(), &level).await;
}

async fn load(shop: &mut Shop) {
    let sample = shop.descriptor.scripts.sample.expect("Pagila brings a sample");
    script::execute(Database::Source, &shop.place.source, "sample.sql", sample).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silver_and_marts_follow_and_others_get_their_turn() {
    let server = Server::scratch().unwrap();
    let mut shop = Shop::open_as_is(&server, "watched").await;
    load(&mut shop).await;
    shop.migrate().await;
    let target = shop.place.warehouse.clone();
    let mut watching = Watching::start(&shop);
    let loaded = level(&mut shop).await;
    watching.until(&target, &loaded).await;

    shop.change("DELETE FROM payment WHERE payment_id % 7 = 0").await;
    shop.change("UPDATE customer SET email = 'new@post.example' WHERE customer_id = 1").await;
    let changed = level(&mut shop).await;
    watching.until(&target, &changed).await;
    let seen = "SELECT email = 'new@post.example' FROM temporal_silver.dim_customer WHERE customer_id = 1";
    watching.until(&target, seen).await;
    simulated(&mut shop, &watching).await;
    let metrics = watching.get("/metrics").await;
    assert!(metrics.starts_with("HTTP/1.1 200 OK"), "{metrics}");
    assert!(
        metrics.contains("medallion_landed_rows_total{table=\"cdc_bronze.br_payment_cdc\"} "),
        "{metrics}"
    );
    assert!(metrics.contains("\nmedallion_behind_bytes "), "{metrics}");
    let health = watching.get("/health").await;
    assert!(health.starts_with("HTTP/1.1 200 OK") && health.contains("true as of "), "{health}");

    others_get_their_turn(&mut shop, &mut watching).await;
    refused_values_hold_back_silver_alone(&mut shop, &mut watching).await;
    laws::assert_hold(&mut shop, "watched").await;

    watching.signal(Signal::TERM);
    let (status, said, took) = watching.wait();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(took < Duration::from_secs(20), "it took {took:?} to stop");
    assert!(said.contains("\nstopped: "), "{said}");
    // A row for each stretch, and for the run between two of them; none for a round.
    let records =
        "SELECT count(*), count(*) FILTER (WHERE status <> 'succeeded') FROM medallion.pipeline_metadata";
    let stretches = 1 + said.matches("making way for another run or migration").count();
    assert_eq!(compare::value(&mut shop.warehouse, records).await, format!("{}\t0", stretches + 1), "{said}");
    changed_objects_end_it(&mut shop).await;
}

/// A run and a migration find the warehouse free, a second watch does not.
async fn others_get_their_turn(shop: &mut Shop, watching: &mut Watching) {
    for arguments in [&["run"][..], &["migrate", "up"]] {
        let output = program::command(shop, arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", program::stderr(&output));
    }
    // The second may have come while it still waited for the first.
    assert!(watching.said().contains("making way for another run or migration"), "{}", watching.said());
    let second = program::command(shop, &["watch"]).output().unwrap();
    assert_eq!(second.status.code(), Some(2), "{second:?}");
    assert!(program::stderr(&second).contains("another `medallion watch` is at work"), "{second:?}");
    shop.change("DELETE FROM payment WHERE payment_id % 11 = 0").await;
    let changed = level(shop).await;
    watching.until(&shop.place.warehouse, &changed).await;
}

/// What silver refuses is told with its remedy, landing goes on, and silver follows when it can.
async fn refused_values_hold_back_silver_alone(shop: &mut Shop, watching: &mut Watching) {
    let target = shop.place.warehouse.clone();
    compare::execute(&mut shop.source, "ALTER TABLE film ALTER rental_duration DROP NOT NULL").await;
    shop.change("UPDATE film SET rental_duration = NULL WHERE film_id = 1").await;
    watching.says("silver and gold stay as they are, landing goes on: cannot apply changes to").await;
    watching.says("a landed value does not fit its column").await;
    shop.change("INSERT INTO language (name) VALUES ('Latin')").await;
    let landed =
        "SELECT count(*) = 1 FROM medallion.lookup_language_cdc WHERE full_row ->> 'name' LIKE 'Latin%'";
    watching.until(&target, landed).await;
    let held =
        compare::value(&mut shop.source, "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint").await;
    let released = format!("SELECT confirmed_flush_lsn - '0/0'::pg_lsn >= {held} FROM pg_replication_slots");
    watching.until(&shop.place.source, &released).await;
    let latin = "SELECT count(*) > 0 FROM temporal_silver.lookup_language WHERE name LIKE 'Latin%'";
    assert_eq!(compare::value(&mut shop.warehouse, latin).await, "f");
    let health = watching.get("/health").await;
    assert!(health.starts_with("HTTP/1.1 503") && health.contains("do not move on"), "{health}");
    assert_eq!(watching.said().matches("silver and gold stay as they are").count(), 1, "told once");

    for relation in ["temporal_silver.dim_film_hist", "medallion.lookup_film_hist"] {
        let sql = format!("ALTER TABLE {relation} ALTER rental_duration DROP NOT NULL");
        compare::execute(&mut shop.warehouse, &sql).await;
    }
    watching.says("silver and gold move on again").await;
    watching.until(&target, latin).await;
}

/// A watch of the old shape leaves when a migration has changed the objects.
async fn changed_objects_end_it(shop: &mut Shop) {
    let mut watching = Watching::start(shop);
    let running = "SELECT count(*) = 1 FROM medallion.pipeline_metadata WHERE status = 'running'";
    watching.until(&shop.place.warehouse, running).await;
    let mut migration = connection::connect(Database::Warehouse, &shop.place.warehouse).await.unwrap();
    lock::take(&mut migration).await.unwrap();
    compare::execute(&mut migration, "UPDATE medallion.warehouse SET objects_hash = 'changed'").await;
    drop(migration);
    watching.says("error: the database's objects are not those that this binary was built for").await;
    let (status, said, _) = watching.wait();
    assert_eq!(status.code(), Some(2), "{said}");
    assert!(said.contains("run `medallion migrate up`"), "{said}");
}

/// After how long a watch is killed, in tenths of a second from when its first round begins.
const KILLED_AFTER: [u64; 4] = [0, 3, 7, 1];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_change_lands_once_whatever_is_killed_under_a_watch() {
    let (source, target) = (Server::scratch().unwrap(), Server::scratch().unwrap());
    let mut shop = Shop::open_between(&source, &target, "restarted").await;
    load(&mut shop).await;
    state::record_stock_of_log(&mut shop.source).await;
    audit::begin(&mut shop.source).await;
    shop.migrate().await;
    let running = "SELECT count(*) = 1 FROM medallion.pipeline_metadata WHERE status = 'running'";

    let writers = Writers::start(&shop.place.source, 11);
    let mut dice = Dice(11);
    for tenths in KILLED_AFTER {
        let watching = Watching::start(&shop);
        watching.until(&shop.place.warehouse, running).await;
        tokio::time::sleep(Duration::from_millis(tenths * 100 + dice.roll(100))).await;
        watching.signal(Signal::KILL);
        watching.wait();
    }
    let mut watching = Watching::start(&shop);
    watching.until(&shop.place.warehouse, "SELECT count(*) > 0 FROM temporal_silver.fact_payment").await;
    writers.stop().await;
    for (server, number) in [(&source, "41"), (&target, "42")] {
        server.stop_immediate().unwrap();
        watching.says("waiting, and trying again: ").await;
        server.start().unwrap();
        shop.reconnect().await;
        shop.change(&format!("UPDATE customer SET last_name = '{number}' WHERE customer_id = 1")).await;
        let seen =
            format!("SELECT last_name = '{number}' FROM temporal_silver.dim_customer WHERE customer_id = 1");
        watching.until(&shop.place.warehouse, &seen).await;
    }
    watching.signal(Signal::INT);
    let (status, said, _) = watching.wait();
    assert_eq!(status.code(), Some(0), "{said}");
    audit::assert_once(&mut shop, Landed::Everything, "in the end").await;
    let last = State::keep(&mut shop.source, "last").await;
    figures::assert_now(&mut shop, &last, "in the end").await;
    laws::assert_hold(&mut shop, "in the end").await;
}
