//! How long changed orders take from a source to `dim_orders_history`: by polling, as `spec/orders` has it, and by log, as
//! the same warehouse has it where it may read one, each a whole run with its marts and tests; and beside them a loop in
//! Python that takes one row after the other, as tutorials have it, with a commit a row and with a commit a thousand rows.
//! All of them by turns, on a server for the source and one for the warehouses. The loop gets the first rows of each
//! round only, and what is compared is rows a second.
//!
//! `make bench-orders` runs it: `BENCH_ROWS` orders (100,000 unless said otherwise), each changed once a round, in
//! transactions of their own; `BENCH_RUNS` rounds (3) after one that does not count. At 100,000 it fails where polling takes
//! 3 seconds, or is not 30 times as fast as the loop that commits each row. The loop's driver comes from PyPI into
//! `target/`; where that cannot be, the loop is left out.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a measurement fails by it")]

#[path = "../tests/support/compare.rs"]
#[allow(dead_code, unreachable_pub, reason = "the tests use the rest of it")]
mod compare;
#[path = "../../benches/spent.rs"]
mod spent;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use medallion_runtime::connection::{self, Database};
use medallion_runtime::descriptor::Warehouse;
use medallion_runtime::place::Place;
use medallion_runtime::progress::Silent;
use medallion_runtime::{migrate, run, script};
use medallion_server::Server;
use sqlx::PgConnection;

use crate::spent::{Spent, middle, sorted};

/// From so many rows on what they take is held to.
const LARGE: u64 = 100_000;
/// What polling them may take, in seconds.
const MAY_TAKE: f64 = 3.0;
/// How many times as fast as the loop it has to be.
const TIMES: f64 = 30.0;

/// How many rows the loop gets a round.
const OF_THE_LOOP: u64 = 5_000;
/// After how many rows the loops commit.
const COMMITS: [u64; 2] = [1, 1_000];

const LOOP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../benches/row_by_row/load.py");
const HISTORY: &str = include_str!("../../benches/row_by_row/history.sql");

/// Orders as they come, in the source's columns.
const ORDERS: &str = "
    SELECT id, 1 + id * 7 % 400, 1 + id * 13 % 40, 1 + id % 5, 9.99, (1 + id % 5) * 9.99, 'placed', came, came, came
    FROM generate_series(1, {rows}) AS id
    CROSS JOIN (VALUES (timestamptz '2026-01-01 00:00+00')) AS at (came)";

/// Each order moves on, in no order of theirs.
const CHANGES: &str = "
    DO $$
    DECLARE
        one integer;
    BEGIN
        FOR one IN SELECT id FROM orders ORDER BY md5(id::text || '{round}') LOOP
            UPDATE orders
            SET
                order_status = (ARRAY['confirmed', 'shipped', 'delivered', 'cancelled'])[1 + (id + {round}) % 4],
                last_updated = clock_timestamp()
            WHERE id = one;
            COMMIT;
        END LOOP;
    END
    $$";

/// What stands at the source, or as current versions.
const STANDING: &str = "
    SELECT md5(string_agg(concat_ws('|', {key}, customer_id, product_id, quantity, unit_price, total_amount, order_status), ','
        ORDER BY {key}))
    FROM {relation}";

/// A way from the source to a history.
struct Way {
    name: &'static str,
    descriptor: Warehouse,
    place: Place,
    spent: Vec<Spent>,
    /// Of the warehouse's log, in bytes a row.
    logged: Vec<f64>,
}

/// A loop, and how many rows a second it made in each round.
struct Loop {
    database: String,
    commit_every: u64,
    rates: Vec<f64>,
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(measure())
}

async fn measure() -> ExitCode {
    let (rows, runs) = (option("BENCH_ROWS", LARGE), option("BENCH_RUNS", 3));
    let servers = [Server::scratch().unwrap(), Server::scratch().unwrap()];
    let [from, to]: [&Server; 2] = [&servers[0], &servers[1]];
    from.ensure_database("shop").unwrap();
    let mut source = connection::connect(Database::Source, &from.url("shop")).await.unwrap();
    let descriptor = warehouse::orders::warehouse();
    compare::execute(&mut source, descriptor.scripts.source.unwrap()).await;
    let orders = ORDERS.replace("{rows}", &rows.to_string());
    compare::execute(&mut source, &format!("INSERT INTO orders {orders}")).await;
    compare::execute(&mut source, "VACUUM ANALYZE orders").await;

    let mut ways = [open("polled", descriptor, from, to).await, open("by log", by_log(), from, to).await];
    let (python, mut loops) = match python() {
        Ok(python) => (python, loops(to, &orders).await),
        Err(why) => {
            println!("no loop in Python: {why}");
            (PathBuf::new(), Vec::new())
        }
    };
    let before = spent::peak_memory();
    println!("{rows} orders, each changed once a round in a transaction of its own; {runs} rounds");
    for round in 0..=runs {
        compare::execute(&mut source, &CHANGES.replace("{round}", &round.to_string())).await;
        for way in &mut ways {
            let (spent, logged) = way.bring(&[from, to], to, rows).await;
            way.agrees(&mut source).await;
            // The first round is for the caches.
            if round > 0 {
                way.spent.push(spent);
                way.logged.push(logged);
            }
        }
        for one in &mut loops {
            let rate = one.bring(&python, from, to, rows.min(OF_THE_LOOP));
            if round > 0 {
                one.rates.push(rate);
            }
        }
    }
    tell(&ways, &loops, rows, before)
}

/// The same warehouse, of a source whose log may be read.
fn by_log() -> Warehouse {
    let mut descriptor = warehouse::orders::warehouse();
    descriptor.source.polling = None;
    descriptor
}

/// A warehouse that has all that there is so far.
async fn open(name: &'static str, descriptor: Warehouse, from: &Server, to: &Server) -> Way {
    let database = name.replace(' ', "_");
    to.ensure_database(&database).unwrap();
    let place = Place { source: from.url("shop"), warehouse: to.url(&database), embedded: None };
    migrate::up(&descriptor, &place).await.unwrap();
    run::run(&descriptor, &place, &mut Silent).await.unwrap();
    Way { name, descriptor, place, spent: Vec::new(), logged: Vec::new() }
}

impl Way {
    /// One run; what it took, and how much of the warehouse's log a row.
    async fn bring(&self, servers: &[&Server], to: &Server, rows: u64) -> (Spent, f64) {
        let mut target = connection::connect(Database::Warehouse, &to.url("postgres")).await.unwrap();
        let began = compare::value(&mut target, "SELECT pg_current_wal_insert_lsn()").await;
        let spending = spent::begin(servers);
        let outcome = run::run(&self.descriptor, &self.place, &mut Silent).await;
        let spent = spending.end();
        let outcome = outcome.unwrap_or_else(|error| panic!("{}: {error}", self.name));
        assert!(!outcome.is_held(), "{}: {:#?}", self.name, outcome.tested);
        assert_eq!(outcome.landed.values().sum::<u64>(), rows, "{}: every change lands", self.name);
        let logged = format!("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '{began}')");
        let logged: f64 = compare::value(&mut target, &logged).await.parse().unwrap();
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let each = logged / rows as f64;
        (spent, each)
    }

    /// Fails unless its current versions are what the source holds.
    async fn agrees(&self, source: &mut PgConnection) {
        let mut target = connection::connect(Database::Warehouse, &self.place.warehouse).await.unwrap();
        let standing =
            |key: &str, relation: &str| STANDING.replace("{key}", key).replace("{relation}", relation);
        let wanted = compare::value(source, &standing("id", "orders")).await;
        let current = standing("order_key", "history.dim_orders_history WHERE is_current");
        assert_eq!(compare::value(&mut target, &current).await, wanted, "{}", self.name);
    }
}

/// A history for each loop, with all orders as they came.
async fn loops(to: &Server, orders: &str) -> Vec<Loop> {
    let mut loops = Vec::new();
    for commit_every in COMMITS {
        let database = format!("row_by_row_{commit_every}");
        to.ensure_database(&database).unwrap();
        script::execute(Database::Warehouse, &to.url(&database), "history.sql", HISTORY).await.unwrap();
        let mut target = connection::connect(Database::Warehouse, &to.url(&database)).await.unwrap();
        let loaded = format!(
            "INSERT INTO dim_orders_history (order_key, customer_id, product_id, quantity, unit_price, total_amount,
                order_status, order_date, valid_from, is_current, cdc_operation, cdc_timestamp, batch_id)
            SELECT id, customer, product, quantity, price, total, status, came, came, true, 'INSERT', came, 'first'
            FROM ({orders}) AS it (id, customer, product, quantity, price, total, status, came, updated, created)"
        );
        compare::execute(&mut target, &loaded).await;
        compare::execute(&mut target, "VACUUM ANALYZE dim_orders_history").await;
        loops.push(Loop { database, commit_every, rates: Vec::new() });
    }
    loops
}

impl Loop {
    /// Lets it bring the first of what has changed; how many rows a second it made.
    fn bring(&self, python: &Path, from: &Server, to: &Server, rows: u64) -> f64 {
        let output = Command::new(python)
            .arg(LOOP)
            .args([from.url("shop"), to.url(&self.database), rows.to_string(), self.commit_every.to_string()])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        let (brought, seconds) = said.trim().split_once(' ').unwrap();
        assert_eq!(brought, rows.to_string(), "rows that the loop found");
        let (brought, seconds): (f64, f64) = (brought.parse().unwrap(), seconds.parse().unwrap());
        brought / seconds
    }

    fn named(&self) -> String {
        match self.commit_every {
            1 => "row by row, a commit each".to_owned(),
            every => format!("row by row, a commit after {every}"),
        }
    }
}

/// An interpreter that has the driver; where there is none yet, it is made below `target/`.
fn python() -> Result<PathBuf, String> {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("row_by_row");
    let python = home.join("bin/python");
    let done = |command: &mut Command| match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(error.to_string()),
    };
    if done(Command::new(&python).args(["-c", "import psycopg"])).is_err() {
        done(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&home))?;
        done(Command::new(&python).args(["-m", "pip", "install", "--quiet", "psycopg[binary]>=3.2,<4"]))?;
    }
    Ok(python)
}

/// Says what was measured; failure where it was too slow.
fn tell(ways: &[Way], loops: &[Loop], rows: u64, before: Option<u64>) -> ExitCode {
    let mut slow = false;
    for one in loops {
        let rates = sorted(one.rates.clone());
        let (least, most) = (rates[0], rates[rates.len() - 1]);
        println!("{}: {:.0} rows a second ({least:.0} to {most:.0})", one.named(), middle(&rates));
    }
    for way in ways {
        let seconds = middle(&sorted(way.spent.iter().map(Spent::seconds).collect()));
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let rate = rows as f64 / seconds;
        println!("{}: {rate:.0} rows a second, {}", way.name, spent::told(&way.spent));
        println!(
            "{}: {:.0} bytes of the warehouse's log a row",
            way.name,
            middle(&sorted(way.logged.clone()))
        );
        for one in loops {
            let times = rate / middle(&sorted(one.rates.clone()));
            println!("{}: {times:.0} times as fast as {}", way.name, one.named());
            slow |= one.commit_every == 1 && times < TIMES;
        }
        slow |= seconds > MAY_TAKE;
    }
    if let Some((before, most)) = before.zip(spent::peak_memory()) {
        println!("memory of this process: {before} kB before, {most} kB at most");
    }
    match slow && rows >= LARGE {
        true => {
            println!("too slow: at most {MAY_TAKE} s, and {TIMES} times as fast as a loop");
            ExitCode::FAILURE
        }
        false => ExitCode::SUCCESS,
    }
}

fn option(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |given| given.parse().unwrap_or_else(|_| panic!("{name}: {given}")))
}
