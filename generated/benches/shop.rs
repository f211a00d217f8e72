//! How long a day's order lines take in `spec/ecommerce`, of the time that computing all of the same warehouse anew takes:
//! 3,000 lines on 66,000, both by the binary, by turns, on a server for the source and one for the warehouse.
//!
//! `make bench-shop` runs it: `BENCH_ROWS` lines a day (3,000 unless said otherwise), `BENCH_RUNS` days (3) after one
//! that does not count. It fails where a day takes a tenth of a full refresh, unless the day is longer than that.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a measurement fails by it")]

#[path = "../tests/support/compare.rs"]
#[allow(dead_code, unreachable_pub, reason = "the tests use the rest of it")]
mod compare;
#[path = "../../benches/spent.rs"]
mod spent;

use std::process::{Command, ExitCode};

use medallion_runtime::connection::{self, Database};
use medallion_runtime::script;
use medallion_server::Server;

use crate::spent::{Spent, middle, sorted};

/// A day's lines, up to which what they take is held to.
const DAY: u64 = 3_000;
/// What part of a full refresh a day may take.
const PART: f64 = 10.0;

const FILES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../spec/ecommerce/files");

/// Orders of three lines each, as they come from the end of the sample on, and the last ones delivered.
const LINES: &str = "
    BEGIN;
    INSERT INTO orders
    SELECT 30000 + {day} * {lines} + id, 1 + id % 1000, timestamptz '2026-01-01 12:00+00' + {day} * interval '1 day',
        'placed', 30
    FROM generate_series(1, {lines} / 3) AS id;
    INSERT INTO order_items
    SELECT 90000 + {day} * {lines} + id, 30001 + {day} * {lines} + (id - 1) / 3, 1 + id % 20, 1, 10, 0,
        timestamptz '2026-01-01 12:00+00' + {day} * interval '1 day'
    FROM generate_series(1, {lines} / 3 * 3) AS id;
    COMMIT";

/// What the lines say, at the source and in the star.
const SAID: [&str; 2] = [
    "SELECT md5(string_agg(concat_ws('|', order_item_id, order_id, customer_id, product_id, quantity, discount,
        order_total, status), ',' ORDER BY order_item_id))
    FROM order_items
    JOIN orders USING (order_id)",
    "SELECT md5(string_agg(concat_ws('|', order_item_id, order_id, customer_id, product_id, quantity, discount,
        order_total, order_status), ',' ORDER BY order_item_id))
    FROM silver.fact_orders",
];

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(measure())
}

async fn measure() -> ExitCode {
    let (lines, runs) = (option("BENCH_ROWS", DAY), option("BENCH_RUNS", 3));
    let servers = [Server::scratch().unwrap(), Server::scratch().unwrap()];
    let [from, to]: [&Server; 2] = [&servers[0], &servers[1]];
    from.ensure_database("shop").unwrap();
    to.ensure_database("warehouse").unwrap();
    let scripts = warehouse::ecommerce::warehouse().scripts;
    for (name, sql) in [("source.sql", scripts.source.unwrap()), ("sample.sql", scripts.sample.unwrap())] {
        script::execute(Database::Source, &from.url("shop"), name, sql).await.unwrap();
    }
    for arguments in [&["migrate", "up"][..], &["run"]] {
        carry_out(from, to, arguments);
    }
    let mut source = connection::connect(Database::Source, &from.url("shop")).await.unwrap();
    let mut target = connection::connect(Database::Warehouse, &to.url("warehouse")).await.unwrap();
    println!("{lines} lines a day on 66,000; {runs} days");
    let (mut days, mut wholes) = (Vec::new(), Vec::new());
    for day in 0..=runs {
        let come = LINES.replace("{day}", &day.to_string()).replace("{lines}", &lines.to_string());
        compare::execute(&mut source, &come).await;
        let of_day = carry_out(from, to, &["run"]);
        let said = compare::value(&mut source, SAID[0]).await;
        assert_eq!(compare::value(&mut target, SAID[1]).await, said, "the star says what the shop says");
        let of_all = carry_out(from, to, &["run", "--full-refresh"]);
        assert_eq!(compare::value(&mut target, SAID[1]).await, said, "anew, too");
        // The first day is for the caches.
        if day > 0 {
            days.push(of_day);
            wholes.push(of_all);
        }
    }
    println!("a day: {}", spent::told(&days));
    println!("all of it: {}", spent::told(&wholes));
    let times = |of: fn(&Spent) -> f64| {
        sorted(days.iter().zip(&wholes).map(|(day, whole)| of(whole) / of(day)).collect())
    };
    let (by_clock, by_processor) = (times(Spent::seconds), times(|spent| spent.own + spent.served));
    let parts = middle(&by_clock);
    println!(
        "a day is a {parts:.1}th of all of it ({:.1} to {:.1}); of processors a {:.1}th",
        by_clock[0],
        by_clock[by_clock.len() - 1],
        middle(&by_processor),
    );
    match parts < PART && lines <= DAY {
        true => {
            println!("too slow: a {PART}th of all of it is what a day may take");
            ExitCode::FAILURE
        }
        false => ExitCode::SUCCESS,
    }
}

/// The binary's verb, and what it took.
fn carry_out(from: &Server, to: &Server, arguments: &[&str]) -> Spent {
    let servers = [from, to];
    let spending = spent::begin(&servers);
    let output = Command::new(env!("CARGO_BIN_EXE_warehouse"))
        .args(arguments)
        .env("MEDALLION_WAREHOUSE", "ecommerce")
        .env("DATABASE_URL", to.url("warehouse"))
        .env("SOURCE_DATABASE_URL", from.url("shop"))
        .env("FILES_URL", FILES)
        .output()
        .unwrap();
    let spent = spending.end();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    spent
}

fn option(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |given| given.parse().unwrap_or_else(|_| panic!("{name}: {given}")))
}
