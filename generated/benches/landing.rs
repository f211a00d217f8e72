//! How long changes take to land in bronze, as a multiple of merely counting them with the peek function on the
//! same slot, in the same run; and how much memory that takes. Single-row changes of Pagila's rentals, a table of
//! seven columns, written in transactions of several sizes.
//!
//!     cargo bench -p warehouse --bench landing -- [--changes 1000000] [--repeat 3] [--rows 1,1000,1000000]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a measurement fails by it")]

use std::io::Write as _;
use std::time::{Duration, Instant};

use medallion_runtime::capture::{self, Captured};
use medallion_runtime::connection::{self, Database};
use medallion_runtime::descriptor::{Name, Warehouse};
use medallion_runtime::place::Place;
use medallion_runtime::{migrate, script};
use medallion_server::Server;
use sqlx::{AssertSqlSafe, Executor as _, PgConnection};

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(measure());
}

async fn measure() {
    let changes = number("--changes", 1_000_000);
    let repeat = number("--repeat", 3);
    let sizes = option("--rows").unwrap_or(format!("1,1000,{changes}"));
    let server = Server::scratch().unwrap();
    let warehouse = warehouse::pagila::warehouse();
    let place = open(&server, &warehouse).await;
    let mut source = connection::connect(Database::Source, &place.source).await.unwrap();
    let before = peak_memory();

    let sizes: Vec<u64> = sizes.split(',').map(|size| size.parse().unwrap()).collect();
    let mut ratios = vec![Vec::new(); sizes.len()];
    for _ in 0..repeat {
        for (size, ratios) in sizes.iter().zip(&mut ratios) {
            write(&mut source, changes, *size).await;
            let counted = count(&mut source, &warehouse).await;
            let started = Instant::now();
            let captured = land(&warehouse, &place).await;
            let landed = started.elapsed();
            assert_eq!(captured.rows(), changes, "all of them land");
            let ratio = landed.as_secs_f64() / counted.as_secs_f64();
            ratios.push(ratio);
            say(&format!(
                "{changes} changes, {size} a transaction: counted in {:.2} s, landed in {:.2} s: {ratio:.2}",
                counted.as_secs_f64(),
                landed.as_secs_f64(),
            ));
        }
    }
    for (size, mut ratios) in sizes.iter().zip(ratios) {
        ratios.sort_by(f64::total_cmp);
        say(&format!("{size} a transaction: {:.2} times as long, the median", ratios[ratios.len() / 2]));
    }
    say(&format!("the loader's memory: {before} kB before, {} kB at most", peak_memory()));
}

/// The sample's source, captured up to now.
async fn open(server: &Server, warehouse: &Warehouse) -> Place {
    server.ensure_database("shop").unwrap();
    server.ensure_database("warehouse").unwrap();
    let place = Place { source: server.url("shop"), warehouse: server.url("warehouse"), embedded: None };
    for script in [warehouse.scripts.source.unwrap(), warehouse.scripts.sample.unwrap()] {
        script::execute(Database::Source, &place.source, "script.sql", script).await.unwrap();
    }
    migrate::up(warehouse, &place).await.unwrap();
    land(warehouse, &place).await;
    place
}

/// An insert and an update, over and over.
async fn write(source: &mut PgConnection, changes: u64, rows: u64) {
    let sql = format!(
        "DO $$
        DECLARE
            first bigint := (SELECT max(rental_id) FROM rental);
        BEGIN
            FOR change IN 1 .. {changes} LOOP
                IF change % 2 = 1 THEN
                    INSERT INTO rental (rental_id, rental_date, inventory_id, customer_id, staff_id)
                    VALUES (first + change, clock_timestamp(), 1 + change % 2000, 1 + change % 400, 1);
                ELSE
                    UPDATE rental SET return_date = clock_timestamp() WHERE rental_id = first + change - 1;
                END IF;
                IF change % {rows} = 0 THEN
                    COMMIT;
                END IF;
            END LOOP;
        END
        $$"
    );
    source.execute(AssertSqlSafe(sql.as_str())).await.unwrap();
}

/// How long it takes to count the messages of everything that waits.
async fn count(source: &mut PgConnection, warehouse: &Warehouse) -> Duration {
    let sql = format!(
        "SELECT count(*) FROM pg_logical_slot_peek_binary_changes(
            '{}', NULL, NULL, 'proto_version', '1', 'publication_names', '{}'
        )",
        warehouse.source.slot, warehouse.source.publication
    );
    let started = Instant::now();
    source.execute(AssertSqlSafe(sql.as_str())).await.unwrap();
    started.elapsed()
}

async fn land(warehouse: &Warehouse, place: &Place) -> Captured {
    let mut target = connection::connect(Database::Warehouse, &place.warehouse).await.unwrap();
    capture::capture_at(warehouse, place, &mut target, &mut Quiet).await.unwrap()
}

struct Quiet;

impl capture::Progress for Quiet {
    fn landed(&mut self, _: &Name, _: u64) {}
    fn note(&mut self, _: &str) {}
}

/// The most memory that this process has had, in kB.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}

fn number(name: &str, otherwise: u64) -> u64 {
    option(name).map_or(otherwise, |given| given.parse().unwrap())
}

fn option(name: &str) -> Option<String> {
    let arguments: Vec<String> = std::env::args().collect();
    let given = arguments.iter().position(|argument| argument == name)?;
    arguments.get(given + 1).cloned()
}

fn say(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}
