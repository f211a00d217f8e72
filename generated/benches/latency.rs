//! How long a change takes from the source's commit until it is seen in the warehouse, under `watch` and a
//! steady thousand changes a second: told for every row by the warehouse's own commit timestamps. Silver and the
//! stored marts are published in one transaction, so that one figure is that of both.
//!
//!     cargo bench -p warehouse --bench latency -- [--seconds 20] [--rate 1000] [--one-server]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a measurement fails by it")]

#[path = "../tests/support/mod.rs"]
#[allow(dead_code, unreachable_pub, reason = "the tests use the rest of it")]
mod support;

use std::io::Write as _;
use std::time::Duration;

use medallion_runtime::connection::{self, Database};
use medallion_runtime::place::Place;
use medallion_runtime::script;
use medallion_server::Server;
use rustix::process::{Pid, Signal, kill_process};
use sqlx::{AssertSqlSafe, Executor as _, PgConnection, Row as _};

use crate::support::{compare, program};

/// Sessions that write.
const WRITERS: u64 = 4;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(measure());
}

async fn measure() {
    let seconds = option("--seconds", 20);
    let rate = option("--rate", 1_000);
    let source_server = Server::scratch().unwrap();
    let other =
        (!std::env::args().any(|argument| argument == "--one-server")).then(|| Server::scratch().unwrap());
    let target_server: &Server = other.as_deref().unwrap_or(&source_server);
    let place = open(&source_server, target_server).await;

    let mut watch = program::command_on(&place.source, &place.warehouse, &["watch"]).spawn().unwrap();
    let mut target = connection::connect(Database::Warehouse, &place.warehouse).await.unwrap();
    let customers = "SELECT count(*) > 0 FROM temporal_silver.dim_customer";
    while compare::value(&mut target, customers).await != "t" {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let began = compare::value(&mut target, "SELECT clock_timestamp()").await;

    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| tokio::spawn(write(place.source.clone(), writer, rate / WRITERS, seconds)))
        .collect();
    let mut written = 0;
    for writer in writers {
        written += writer.await.unwrap();
    }
    let rate = written / seconds;
    wait_until_level(&mut target, &place).await;
    say(&format!("{written} changes in {seconds}s, {rate} a second, a transaction each"));
    for (what, relation, time) in [
        ("current view of customers", "temporal_silver.dim_customer_hist", "sys_start"),
        ("rentals", "temporal_silver.fact_rental", "snapshot_ts"),
        ("payments, and the marts with them", "temporal_silver.fact_payment", "snapshot_ts"),
    ] {
        say(&format!("{what}: {}", percentiles(&mut target, relation, time, &began).await));
    }
    let marts = "SELECT (SELECT sum(payments) FROM simple_gold.vw_monthly_revenue) = (SELECT count(*) FROM temporal_silver.fact_payment)";
    assert_eq!(compare::value(&mut target, marts).await, "t", "the marts have followed");

    kill_process(Pid::from_child(&watch), Signal::TERM).unwrap();
    let ended = watch.wait().unwrap();
    assert!(ended.success(), "{ended}");
}

fn option(name: &str, otherwise: u64) -> u64 {
    let arguments: Vec<String> = std::env::args().collect();
    let given = arguments.iter().position(|argument| argument == name);
    given.and_then(|place| arguments.get(place + 1)?.parse().ok()).unwrap_or(otherwise)
}

/// The sample's source and an empty warehouse that keeps the time of each commit.
async fn open(source_server: &Server, target_server: &Server) -> Place {
    source_server.ensure_database("shop").unwrap();
    target_server.ensure_database("warehouse").unwrap();
    let place = Place {
        source: source_server.url("shop"),
        warehouse: target_server.url("warehouse"),
        embedded: None,
    };
    let mut target = connection::connect(Database::Warehouse, &place.warehouse).await.unwrap();
    compare::execute(&mut target, "ALTER SYSTEM SET track_commit_timestamp = on").await;
    drop(target);
    target_server.stop().unwrap();
    target_server.start().unwrap();
    let descriptor = warehouse::pagila::warehouse();
    let scripts = [descriptor.scripts.source.unwrap(), descriptor.scripts.sample.unwrap()];
    for script in scripts {
        script::execute(Database::Source, &place.source, "script.sql", script).await.unwrap();
    }
    medallion_runtime::migrate::up(&descriptor, &place).await.unwrap();
    place
}

/// One change a transaction, at a steady pace; how many there were.
async fn write(url: String, writer: u64, rate: u64, seconds: u64) -> u64 {
    let mut session: PgConnection = connection::connect(Database::Source, &url).await.unwrap();
    let mut ticks = tokio::time::interval(Duration::from_micros(1_000_000 / rate));
    let mut dice = writer + 1;
    let mut roll = |sides: u64| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) % sides
    };
    for change in 0..rate * seconds {
        ticks.tick().await;
        let key = 1_000_000 * (writer + 1) + change;
        let customer = 1 + roll(400);
        // What happens in the shops: something goes out, it is paid, a customer moves on.
        let sql = match change % 4 {
            0 => format!(
                "INSERT INTO rental (rental_id, rental_date, inventory_id, customer_id, staff_id)
                VALUES ({key}, now(), {}, {customer}, 1)",
                1 + roll(2_000)
            ),
            1 => format!("UPDATE customer SET email = '{key}@post.example' WHERE customer_id = {customer}"),
            paid => format!(
                "INSERT INTO payment (payment_id, customer_id, staff_id, rental_id, amount, payment_date)
                VALUES ({key}, {customer}, 1, {}, 4.99, now())",
                key - paid
            ),
        };
        session.execute(AssertSqlSafe(sql.as_str())).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    rate * seconds
}

async fn wait_until_level(target: &mut PgConnection, place: &Place) {
    let mut source = connection::connect(Database::Source, &place.source).await.unwrap();
    let payments = compare::value(&mut source, "SELECT count(*) FROM payment").await;
    while compare::value(target, "SELECT count(*) FROM temporal_silver.fact_payment").await != payments {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// From the source's commit to the warehouse's, in milliseconds. Who ended a version has written it last, so that
/// of dimensions only current ones tell.
async fn percentiles(target: &mut PgConnection, relation: &str, time: &str, began: &str) -> String {
    let current = if time == "sys_start" { " AND sys_end = 'infinity'" } else { "" };
    let sql = format!(
        "SELECT count(*), percentile_disc('{{0.5, 0.9, 0.99, 1}}'::float8[]) WITHIN GROUP (ORDER BY age)
        FROM (
            SELECT 1000 * extract(epoch FROM pg_xact_commit_timestamp(xmin) - {time})::float8 AS age
            FROM {relation}
            WHERE {time} > '{began}'{current}
        ) AS rows"
    );
    let row = sqlx::query(AssertSqlSafe(sql)).fetch_one(target).await.unwrap();
    let (rows, ages): (i64, Vec<f64>) = (row.get(0), row.get(1));
    format!(
        "{rows} rows; p50 {:.0} ms, p90 {:.0} ms, p99 {:.0} ms, slowest {:.0} ms",
        ages[0], ages[1], ages[2], ages[3]
    )
}

fn say(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}
