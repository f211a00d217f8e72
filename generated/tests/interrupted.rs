//! The compiled binary, killed at any step while the source goes on: whatever was killed and whenever, each
//! change is in bronze once, in commit order, and the warehouse comes to equal the source.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

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

/// After how many steps a run is killed: of the first one, and of those that follow.
const KILLED_AFTER: [usize; 14] = [1, 2, 4, 7, 12, 18, 27, 40, 60, 90, 3, 9, 15, 25];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_change_lands_once_whatever_is_killed() {
    // A server of its own: the binary's slot has one name, and the server is killed too.
    let server = Server::scratch().unwrap();
    let mut shop = Shop::open_as_is(&server, "killed").await;
    let sample = shop.descriptor.scripts.sample.expect("Pagila brings a sample");
    script::execute(Database::Source, &shop.place.source, "sample.sql", sample).await.unwrap();
    state::record_stock_of_log(&mut shop.source).await;
    audit::begin(&mut shop.source).await;
    shop.migrate().await;
    let mut watch = connect(&shop.place.warehouse).await;

    let writers = Writers::start(&shop.place.source).await;
    for (round, steps) in KILLED_AFTER.into_iter().enumerate() {
        let mut running = Running::start(&shop);
        running.reach(steps, &mut watch).await;
        running.signal(Signal::KILL);
        running.wait();
        if round % 5 == 4 {
            audit::assert_once(&mut shop, Landed::SoFar, &format!("killed after {steps} steps")).await;
        }
    }

    // An interrupt is no kill: the program says what has happened and leaves whole batches.
    let mut running = Running::start(&shop);
    running.reach(5, &mut watch).await;
    running.signal(Signal::INT);
    let output = running.wait();
    let said = program::stderr(&output);
    if output.status.code() != Some(0) {
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("error: interrupted\n"), "{said}");
    }
    audit::assert_once(&mut shop, Landed::SoFar, "interrupted").await;

    // Two at a time: one waits for the other or refuses.
    let both = [Running::start(&shop), Running::start(&shop)].map(Running::wait);
    assert!(both.iter().any(|output| output.status.success()), "{both:?}");
    for output in both.iter().filter(|output| !output.status.success()) {
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(program::stderr(output).contains("another run or migration is at work"), "{output:?}");
    }
    writers.stop().await;

    // The server dies under a run, and with it what the slot has been told since its last checkpoint.
    let mut running = Running::start(&shop);
    running.reach(4, &mut watch).await;
    server.stop_immediate().unwrap();
    let output = running.wait();
    assert!(matches!(output.status.code(), Some(0 | 2)), "{output:?}");
    server.start().unwrap();
    shop.reconnect().await;

    let output = Running::start(&shop).wait();
    assert!(output.status.success(), "{}", program::stderr(&output));
    audit::assert_once(&mut shop, Landed::Everything, "in the end").await;
    let last = State::keep(&mut shop.source, "last").await;
    figures::assert_now(&mut shop, &last, "in the end").await;
    laws::assert_hold(&mut shop, "in the end").await;
    let statuses = compare::rows(
        &mut shop.warehouse,
        "SELECT DISTINCT status, end_time IS NOT NULL FROM medallion.pipeline_metadata",
    )
    .await;
    assert_eq!(statuses, ["failed\tt", "succeeded\tt"], "no run is left running");
}

/// Sessions that write to the source without a pause.
pub struct Writers {
    going: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<u64>>,
}

impl Writers {
    pub async fn start(source: &str) -> Self {
        let going = Arc::new(AtomicBool::new(true));
        let mut tasks = Vec::new();
        for writer in 1..=2 {
            let session = connect(source).await;
            tasks.push(tokio::spawn(write(session, writer, Arc::clone(&going))));
        }
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
async fn write(mut session: PgConnection, writer: u64, going: Arc<AtomicBool>) -> u64 {
    let mut dice = Dice(writer);
    let mut written = 0;
    while going.load(Ordering::Relaxed) {
        let sql = transaction(&mut dice, writer * 10_000_000 + written * 1_000);
        match session.execute(AssertSqlSafe(sql.as_str())).await {
            Ok(_) => written += 1,
            Err(error) => {
                // The writers may lock each other out: one of them starts over.
                let code = error.as_database_error().and_then(|error| error.code());
                assert_eq!(code.as_deref(), Some("40P01"), "{error}\nin\n{sql}");
                compare::execute(&mut session, "ROLLBACK").await;
            }
        }
        // Leaves the processors to the program now and then; the outcome does not hang on it.
        tokio::time::sleep(Duration::from_millis(dice.roll(20))).await;
    }
    session.close().await.unwrap();
    written
}

/// A transaction of some kind, whose new keys start at a number that no other uses.
fn transaction(dice: &mut Dice, key: u64) -> String {
    let customer = 1 + dice.roll(400);
    let film = 1 + dice.roll(900);
    let rental = 1 + dice.roll(15_000);
    let day = 1 + dice.roll(28);
    let month = 1 + dice.roll(12);
    let body = match dice.roll(10) {
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
    };
    format!("BEGIN;\n{body};\nCOMMIT")
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

/// A session that does not look like the program's.
async fn connect(url: &str) -> PgConnection {
    let options: PgConnectOptions = url.parse().unwrap();
    options.application_name("test").connect().await.unwrap()
}
