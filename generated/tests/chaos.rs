//! The compiled binary between two servers while the source goes on, and anything is killed at any step, in an
//! order that a seed decides: the loader, either server, their connections. Each change is in bronze once, in
//! commit order, and the warehouse comes to equal the source, now and as it was.
//!
//! `make chaos SEED=7 KILLS=300` runs it for longer, or again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use medallion_runtime::connection::Database;
use medallion_runtime::script;
use medallion_server::Server;
use rustix::process::Signal;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _};
use tokio::task::JoinHandle;

use crate::support::audit::{self, Landed};
use crate::support::program::{self, Running};
use crate::support::{Shop, State, compare, figures, laws, state};

/// How often something dies, unless `MEDALLION_CHAOS_KILLS` says otherwise.
const KILLS: u64 = 24;

/// What decides the order, unless `MEDALLION_CHAOS_SEED` says otherwise.
const SEED: u64 = 1;

/// How many sessions write at the source.
const WRITERS: u64 = 3;

/// How long a server may take to come back.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_change_lands_once_whatever_dies() {
    let (seed, kills) = (of_environment("SEED", SEED), of_environment("KILLS", KILLS));
    let mut chaos = Chaos::begin(seed).await;
    let mut writers = Writers::start(&chaos.shop.place.source, seed);
    for kill in 1..=kills {
        let context = chaos.kill().await;
        if kill % 8 == 0 {
            chaos.finish_a_run().await;
            audit::assert_once(&mut chaos.shop, Landed::SoFar, &format!("kill {kill}: {context}")).await;
        }
        if kill == kills / 2 {
            writers.stop().await;
            chaos.keep("halfway").await;
            writers = Writers::start(&chaos.shop.place.source, seed + kill);
        }
    }
    chaos.interrupt().await;
    chaos.run_two_at_once().await;
    writers.stop().await;

    chaos.finish_a_run().await;
    let shop = &mut chaos.shop;
    let context = &format!("in the end, seed {seed}");
    audit::assert_once(shop, Landed::Everything, context).await;
    let last = State::keep(&mut shop.source, "last").await;
    figures::assert_now(shop, &last, context).await;
    for kept in &chaos.kept {
        let time = shop.time_of(kept.position).await;
        figures::assert_as_of(shop, kept, &time, &kept.schema).await;
    }
    laws::assert_hold(shop, context).await;
    let statuses = compare::rows(
        &mut shop.warehouse,
        "SELECT DISTINCT status, end_time IS NOT NULL FROM medallion.pipeline_metadata",
    )
    .await;
    assert_eq!(statuses, ["failed\tt", "succeeded\tt"], "no run is left running");
}

fn of_environment(name: &str, otherwise: u64) -> u64 {
    let name = format!("MEDALLION_CHAOS_{name}");
    match std::env::var(&name) {
        Ok(value) if !value.is_empty() => {
            value.parse().unwrap_or_else(|_| panic!("{name} is no whole number: {value}"))
        }
        _ => otherwise,
    }
}

/// Two servers, the shop between them, and what is to die next.
struct Chaos {
    source: medallion_server::Scratch,
    warehouse: medallion_server::Scratch,
    shop: Shop,
    watches: [PgConnection; 2],
    dice: Dice,
    kept: Vec<State>,
}

impl Chaos {
    async fn begin(seed: u64) -> Self {
        // Servers of its own: the binary's slot has one name, and the servers die too.
        let (source, warehouse) = (Server::scratch().unwrap(), Server::scratch().unwrap());
        let mut shop = Shop::open_between(&source, &warehouse, "chaos").await;
        let sample = shop.descriptor.scripts.sample.expect("Pagila brings a sample");
        script::execute(Database::Source, &shop.place.source, "sample.sql", sample).await.unwrap();
        state::record_stock_of_log(&mut shop.source).await;
        audit::begin(&mut shop.source).await;
        shop.migrate().await;
        let watches = watches(&shop).await;
        Self { source, warehouse, shop, watches, dice: Dice(seed), kept: Vec::new() }
    }

    /// Starts a run and lets something die on its way; says what.
    async fn kill(&mut self) -> String {
        let most = if self.dice.roll(4) == 0 { 90 } else { 18 };
        let steps = 1 + self.dice.roll(most);
        let mut running = Running::start(&self.shop);
        running.reach(usize::try_from(steps).unwrap(), &mut self.watches).await;
        let what = self.dice.roll(10);
        let said = match what {
            0..4 => {
                running.signal(Signal::KILL);
                running.wait();
                "the loader"
            }
            4 | 5 => {
                self.drop_connections(0).await;
                self.ended(running);
                "its connections to the source"
            }
            6 | 7 => {
                self.drop_connections(1).await;
                self.ended(running);
                "its connections to the warehouse"
            }
            8 => {
                self.source.stop_immediate().unwrap();
                self.source.start().unwrap();
                self.reconnect().await;
                self.ended(running);
                "the source"
            }
            _ => {
                self.warehouse.stop_immediate().unwrap();
                self.warehouse.start().unwrap();
                self.reconnect().await;
                self.ended(running);
                "the warehouse"
            }
        };
        format!("{said} after {steps} steps")
    }

    /// A run that loses what it works with waits for it and goes on; before it has begun it says so and ends.
    fn ended(&self, running: Running) {
        let output = running.wait();
        let said = program::stderr(&output);
        match output.status.code() {
            Some(0) => {}
            Some(2) => assert!(said.contains("error: ") && said.contains("\n  = "), "{said}"),
            _ => panic!("{output:?}"),
        }
    }

    async fn drop_connections(&mut self, server: usize) {
        compare::execute(
            &mut self.watches[server],
            "SELECT pg_terminate_backend(pid)
            FROM pg_stat_activity
            WHERE application_name = 'medallion' AND pid <> pg_backend_pid()",
        )
        .await;
        // The shop's own sessions have the same name.
        self.shop.reconnect().await;
    }

    async fn reconnect(&mut self) {
        self.shop.reconnect().await;
        self.watches = watches(&self.shop).await;
    }

    /// Brings the warehouse up to the source, whatever has died before.
    async fn finish_a_run(&mut self) {
        let output = Running::start(&self.shop).wait();
        assert!(output.status.success(), "{}", program::stderr(&output));
    }

    /// Keeps the source as it is; nobody writes meanwhile.
    async fn keep(&mut self, name: &str) {
        let kept = State::keep(&mut self.shop.source, name).await;
        // What is not logged is empty after a crash.
        let sql = format!(
            "SELECT coalesce(string_agg(format('ALTER TABLE %s SET LOGGED', oid::regclass), ';'), '')
            FROM pg_class
            WHERE relnamespace = '{name}'::regnamespace AND relkind = 'r'"
        );
        let sql = compare::value(&mut self.shop.source, &sql).await;
        compare::execute(&mut self.shop.source, &sql).await;
        self.kept.push(kept);
    }

    /// An interrupt is no kill: the program says what has happened and leaves whole batches.
    async fn interrupt(&mut self) {
        let mut running = Running::start(&self.shop);
        running.reach(5, &mut self.watches).await;
        running.signal(Signal::INT);
        let output = running.wait();
        let said = program::stderr(&output);
        if output.status.code() != Some(0) {
            assert_eq!(output.status.code(), Some(2), "{said}");
            assert!(said.contains("error: interrupted\n"), "{said}");
        }
        audit::assert_once(&mut self.shop, Landed::SoFar, "interrupted").await;
    }

    /// One waits for the other or refuses.
    async fn run_two_at_once(&mut self) {
        let both = [Running::start(&self.shop), Running::start(&self.shop)].map(Running::wait);
        assert!(both.iter().any(|output| output.status.success()), "{both:?}");
        for output in both.iter().filter(|output| !output.status.success()) {
            assert_eq!(output.status.code(), Some(2), "{output:?}");
            assert!(program::stderr(output).contains("another run or migration is at work"), "{output:?}");
        }
    }
}

/// A session on each server, which looks at what goes on there.
async fn watches(shop: &Shop) -> [PgConnection; 2] {
    [connect(&shop.place.source).await, connect(&shop.place.warehouse).await]
}

/// Sessions that write to the source without a pause, whether it is there or not.
pub struct Writers {
    going: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<u64>>,
}

/// Where the keys of the next writer start: none uses another's.
static NEXT_KEY: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(10_000_000);

impl Writers {
    pub fn start(source: &str, seed: u64) -> Self {
        let going = Arc::new(AtomicBool::new(true));
        let write = |writer| {
            let key = NEXT_KEY.fetch_add(10_000_000, Ordering::Relaxed);
            tokio::spawn(write(source.to_owned(), Dice(seed * WRITERS + writer), key, Arc::clone(&going)))
        };
        let tasks = (0..WRITERS).map(write).collect();
        Self { going, tasks }
    }

    /// Lets each end its transaction.
    pub async fn stop(self) {
        self.going.store(false, Ordering::Relaxed);
        for task in self.tasks {
            assert!(task.await.unwrap() > 0, "a writer has written nothing");
        }
    }
}

/// One transaction after the other; how many there were.
async fn write(source: String, mut dice: Dice, mut key: u64, going: Arc<AtomicBool>) -> u64 {
    let mut session = connect(&source).await;
    let mut written = 0;
    while going.load(Ordering::Relaxed) {
        key += 1_000;
        match transaction(&mut session, &mut dice, key).await {
            Ok(()) => written += 1,
            // The writers may get in each other's way: one of them starts over.
            Err(error) if is_conflict(&error) => compare::execute(&mut session, "ROLLBACK").await,
            // The source has died, and what it was told last is there or not.
            Err(error) if is_loss(&error) => session = connect(&source).await,
            Err(error) => panic!("{error}"),
        }
        // Leaves the processors to the program now and then; the outcome does not hang on it.
        tokio::time::sleep(Duration::from_millis(dice.roll(60))).await;
    }
    session.close().await.unwrap();
    written
}

fn is_conflict(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.code().is_some_and(|code| code.starts_with("40")))
}

fn is_loss(error: &sqlx::Error) -> bool {
    match error.as_database_error() {
        Some(error) => error.code().is_some_and(|code| code.starts_with("57P")),
        None => matches!(error, sqlx::Error::Io(_) | sqlx::Error::Protocol(_)),
    }
}

/// A transaction of some kind, a statement after the other; some are not committed.
async fn transaction(session: &mut PgConnection, dice: &mut Dice, key: u64) -> Result<(), sqlx::Error> {
    let body = body(dice, key);
    session.execute("BEGIN").await?;
    for sql in body.split(";\n") {
        session.execute(AssertSqlSafe(sql)).await?;
    }
    if dice.roll(6) == 0 {
        let day = 1 + dice.roll(28);
        let mut copy = session
            .copy_in_raw(
                "COPY payment (payment_id, customer_id, staff_id, rental_id, amount, payment_date) FROM STDIN (FORMAT csv)",
            )
            .await?;
        let rows: String = (500..700)
            .map(|n| format!("{},{},1,1,1.25,2025-03-{day:02} 11:00+00\n", key + n, n % 400 + 1))
            .collect();
        copy.send(rows.as_bytes()).await?;
        copy.finish().await?;
    }
    session.execute(if dice.roll(12) == 0 { "ROLLBACK" } else { "COMMIT" }).await?;
    Ok(())
}

/// What a transaction does; its new keys start at a number that no other uses.
fn body(dice: &mut Dice, key: u64) -> String {
    let customer = 1 + dice.roll(400);
    let film = 1 + dice.roll(900);
    let rental = 1 + dice.roll(15_000);
    let day = 1 + dice.roll(28);
    let month = 1 + dice.roll(12);
    match dice.roll(10) {
        0 | 1 => format!(
            "INSERT INTO rental (rental_id, rental_date, inventory_id, customer_id, staff_id)
            SELECT {key}, now(), min(inventory_id), {customer}, (SELECT min(staff_id) FROM staff) FROM inventory;
            INSERT INTO payment (payment_id, customer_id, staff_id, rental_id, amount, payment_date)
            VALUES ({key}, {customer}, (SELECT min(staff_id) FROM staff), {key}, 4.99, now())"
        ),
        2 => format!("UPDATE customer SET email = '{key}@post.example' WHERE customer_id BETWEEN {customer} AND {customer} + 20"),
        3 => format!("UPDATE film SET rental_rate = ({key} / 1000) % 10 WHERE film_id = {film}"),
        4 => format!("DELETE FROM payment WHERE rental_id = {rental}"),
        5 => format!(
            "UPDATE payment SET payment_date = '2025-{month:02}-{day:02} 10:00+00' WHERE rental_id = {rental};
            UPDATE customer SET last_name = '{key}' WHERE customer_id = {customer}"
        ),
        6 => format!(
            "INSERT INTO payment (payment_id, customer_id, staff_id, rental_id, amount, payment_date)
            SELECT {key} + n, {customer}, (SELECT min(staff_id) FROM staff), (SELECT min(rental_id) FROM rental),
                n / 100.0, '2025-{month:02}-{day:02} 10:00+00'::timestamptz + n * interval '1 minute'
            FROM generate_series(1, 300) AS n"
        ),
        7 => format!(
            "UPDATE customer SET store_id = 1 + {key} / 1000 % 7 WHERE customer_id = {customer};
            SAVEPOINT doubt;
            DELETE FROM payment WHERE rental_id < 300;
            ROLLBACK TO doubt;
            UPDATE address SET phone = '{key}' WHERE address_id = {customer}"
        ),
        8 => format!(
            "TRUNCATE film_category;
            INSERT INTO film_category (film_id, category_id)
            SELECT film_id, 1 + (film_id + {key} / 1000) % 10 FROM film WHERE film_id < 100"
        ),
        _ => format!("UPDATE rental SET return_date = now() WHERE rental_id BETWEEN {rental} AND {rental} + 50"),
    }
}

/// Numbers that are the same each time.
pub struct Dice(pub u64);

impl Dice {
    /// One from 0, below so many.
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// A session that does not look like the program's, as soon as the server takes one.
async fn connect(url: &str) -> PgConnection {
    let options: PgConnectOptions = url.parse().unwrap();
    let options = options.application_name("test");
    let started = Instant::now();
    loop {
        match options.connect().await {
            Ok(session) => return session,
            Err(error) => assert!(started.elapsed() < PATIENCE, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
