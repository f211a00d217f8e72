//! Where much waits, the source is read ahead while the warehouse takes in what came before, in one session or in two:
//! in whole transactions still, each change once, wherever it is killed; and nothing of it stays at the source.

use medallion_runtime::capture::follow::Follower;
use medallion_runtime::capture::{Point, Progress};
use medallion_runtime::connection::{self, Database};
use medallion_runtime::descriptor::{Name, Warehouse};
use medallion_runtime::error::{Error, Result};
use medallion_server::Server;

use crate::bench::{At, Bench, Quiet, Writer, capture};

const TABLES: &str = "
    CREATE TABLE item (id integer PRIMARY KEY, name text, j json, long text);
    ALTER TABLE item ALTER long SET STORAGE EXTERNAL;
    CREATE TABLE part (id integer PRIMARY KEY, item_id integer)";

const CAPTURED: &[(&str, &[&str])] = &[("item", &["id"]), ("part", &["id"])];

/// Slots of the source that outlive their work.
const LEFT: &str = "SELECT count(*) FROM pg_replication_slots
    WHERE database = current_database() AND slot_name LIKE 'medallion_ahead%'";

async fn bench(name: &str) -> Bench {
    prepared(Bench::new(name, TABLES, CAPTURED).await).await
}

/// The same with a source of its own: what other databases of a server write counts as log, too.
async fn bench_alone(alone: &Server, name: &str) -> Bench {
    let server = Server::shared_scratch().expect("a server");
    prepared(Bench::on(server, alone, name, TABLES, CAPTURED).await).await
}

async fn prepared(mut bench: Bench) -> Bench {
    bench.audit("item", "id").await;
    bench.audit("part", "id").await;
    bench.capture().await;
    bench
}

/// Changes of both tables, again and again, with much log in between that carries none.
async fn pile_up(bench: &mut Bench, first: i32) {
    for id in (first..).step_by(10).take(6) {
        bench
            .on_source(&format!(
                "INSERT INTO item SELECT n, 'new' FROM generate_series({id}, {id} + 9) AS n;
                INSERT INTO part SELECT n, n FROM generate_series({id}, {id} + 9) AS n;
                UPDATE item SET name = 'changed' WHERE id % 3 = 0 AND id >= {id};
                DELETE FROM part WHERE id = {id};
                SELECT pg_logical_emit_message(false, 'filler', repeat('x', 24000000))"
            ))
            .await;
    }
}

/// Counts the batches; stops where a point is reached for so many times.
struct Counting {
    stop: Option<(Point, usize)>,
    landed: usize,
    advanced: usize,
}

impl Counting {
    fn to(stop: Option<(Point, usize)>) -> Self {
        Self { stop, landed: 0, advanced: 0 }
    }
}

impl Progress for Counting {
    fn landed(&mut self, _: &Name, _: u64) {}
    fn note(&mut self, _: &str) {}

    fn reached(&mut self, point: Point) -> Result<()> {
        self.landed += usize::from(point == Point::BatchLanded);
        self.advanced += usize::from(point == Point::SlotAdvanced);
        match &mut self.stop {
            Some((at, times)) if *at == point => {
                *times -= 1;
                if *times == 0 { Err(Error::new("stopped")) } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }
}

#[tokio::test]
async fn what_waits_lands_in_batches_that_are_read_ahead() {
    let alone = Server::scratch().expect("a source of its own");
    let mut bench = bench_alone(&alone, "ahead").await;
    pile_up(&mut bench, 0).await;
    let mut counting = Counting::to(None);
    let captured = bench.capture_with(&mut counting).await.expect("captured");
    assert!(counting.landed >= 2, "{} batches", counting.landed);
    assert_eq!(counting.advanced, 1, "the source forgets at the end");
    assert!(captured.transactions > 0);
    bench.assert_once().await;
    bench.assert_fold().await;
    assert_eq!(bench.source_value::<i64>(LEFT).await, 0, "no slot is left");
    // What has landed does not come again.
    assert_eq!(bench.capture().await.rows(), 0);
}

/// Transactions of half a piece each: what is read at a time lands in several.
async fn pile_up_pieces(bench: &mut Bench, first: i32) {
    for id in (first..).step_by(400).take(12) {
        bench
            .on_source(&format!(
                "INSERT INTO item SELECT n, repeat('x', 6000) FROM generate_series({id}, {id} + 399) AS n;
                INSERT INTO part SELECT n, n FROM generate_series({id}, {id} + 9) AS n;
                UPDATE item SET name = 'changed' WHERE id % 7 = 0 AND id >= {id};
                SELECT pg_logical_emit_message(false, 'filler', repeat('x', 4000000))"
            ))
            .await;
    }
}

#[tokio::test]
async fn what_is_read_at_once_lands_in_pieces_by_two_sessions() {
    let mut bench = bench("ahead_pieces").await;
    pile_up_pieces(&mut bench, 0).await;
    let mut counting = Counting::to(None);
    let captured = bench.capture_by_two(&mut counting).await.expect("captured");
    assert!(counting.landed >= 4, "{} pieces", counting.landed);
    assert_eq!(counting.advanced, 1, "the source forgets at the end");
    assert_eq!(captured.transactions, 12);
    bench.assert_once().await;
    bench.assert_fold().await;
    bench.assert_times().await;
    assert_eq!(bench.source_value::<i64>(LEFT).await, 0, "no slot is left");
}

const KILLS: [(Point, usize); 5] = [
    (Point::BatchCopied, 1),
    (Point::BatchCopied, 2),
    (Point::BatchLanded, 1),
    (Point::BatchLanded, 3),
    (Point::SlotAdvanced, 1),
];

#[tokio::test]
async fn killed_at_any_batch_nothing_is_lost_or_doubled() {
    let alone = Server::scratch().expect("a source of its own");
    let mut bench = bench_alone(&alone, "ahead_killed").await;
    for (round, kill) in KILLS.into_iter().enumerate() {
        let first = i32::try_from(round).expect("few") * 10_000;
        pile_up_pieces(&mut bench, first).await;
        let error = bench.capture_with(&mut Counting::to(Some(kill))).await.expect_err("it stops");
        assert!(error.to_string().contains("stopped"), "{error}");
    }
    bench.capture().await;
    bench.assert_once().await;
    bench.assert_fold().await;
}

#[tokio::test]
async fn killed_at_any_piece_nothing_is_lost_or_doubled() {
    let mut bench = bench("ahead_killed_two").await;
    for (round, kill) in KILLS.into_iter().enumerate() {
        let first = i32::try_from(round).expect("few") * 10_000;
        pile_up_pieces(&mut bench, first).await;
        let error = bench.capture_by_two(&mut Counting::to(Some(kill))).await.expect_err("it stops");
        assert!(error.to_string().contains("stopped"), "{error}");
    }
    bench.capture_by_two(&mut Quiet).await.expect("captured");
    bench.assert_once().await;
    bench.assert_fold().await;
}

/// A row that does not tell all of itself takes the rest from a version that another session has not committed: one
/// session lands then.
#[tokio::test]
async fn rows_that_take_values_from_the_version_before_find_it() {
    let mut bench = bench("ahead_before").await;
    for id in (0..).step_by(400).take(12) {
        bench
            .on_source(&format!(
                "INSERT INTO item SELECT n, 'new', NULL, repeat('long', 1500) || n
                FROM generate_series({id}, {id} + 399) AS n;
                UPDATE item SET name = 'changed' WHERE id % 7 = 0 AND id >= {id} - 800;
                SELECT pg_logical_emit_message(false, 'filler', repeat('x', 4000000))"
            ))
            .await;
    }
    bench.capture_by_two(&mut Quiet).await.expect("captured");
    bench.assert_once().await;
    bench.assert_fold().await;
}

/// A transaction that is as long as all that waits is read no more often than need be, and lands whole.
#[tokio::test]
async fn a_transaction_longer_than_what_is_read_at_a_time_lands_whole() {
    let mut bench = bench("ahead_long").await;
    bench
        .on_source(
            "DO $$
            BEGIN
                FOR part IN 0 .. 5 LOOP
                    INSERT INTO item SELECT n, 'new' FROM generate_series(part * 100, part * 100 + 99) AS n;
                    PERFORM pg_logical_emit_message(false, 'filler', repeat('x', 24000000));
                END LOOP;
            END
            $$",
        )
        .await;
    let mut counting = Counting::to(None);
    bench.capture_by_two(&mut counting).await.expect("captured");
    assert_eq!(counting.landed, 1);
    bench.assert_once().await;
    bench.assert_fold().await;
}

/// What commits while batches land comes with them or after them.
#[tokio::test]
async fn writers_at_work_while_it_is_read_ahead_lose_nothing() {
    let mut bench = bench("ahead_writers").await;
    pile_up(&mut bench, 0).await;
    let writer = Writer::new(&bench.source_url);
    let open = Writer::new(&bench.source_url);
    open.run("BEGIN; INSERT INTO part VALUES (5000, 1)");
    let mut id = 1_000;
    let mut between = At(|point| {
        id += 1;
        writer.run(&format!("INSERT INTO item VALUES ({id}, '{point:?}')"));
        if id == 1_003 {
            open.run("UPDATE part SET item_id = 2 WHERE id = 5000; COMMIT");
        }
    });
    bench.capture_with(&mut between).await.expect("captured");
    bench.capture().await;
    bench.assert_once().await;
    bench.assert_fold().await;
}

/// One row that `jsonb` refuses is looked at by itself, and all the others land as ever.
#[tokio::test]
async fn a_row_that_is_refused_is_kept_aside_and_the_rest_lands() {
    let mut bench = bench("ahead_refused").await;
    pile_up(&mut bench, 0).await;
    bench.on_source("ALTER TABLE item DISABLE TRIGGER audit; INSERT INTO item VALUES (901, 'bad', '{\"a\":\"\\u0000\"}'); ALTER TABLE item ENABLE TRIGGER audit").await;
    pile_up(&mut bench, 100).await;
    let captured = bench.capture().await;
    assert!(
        captured.findings.iter().any(|finding| finding.contains("quarantine")),
        "{:?}",
        captured.findings
    );
    bench.assert_once().await;
    assert_eq!(bench.source_value::<i64>(LEFT).await, 0, "no slot is left");
}

#[tokio::test]
async fn who_follows_and_is_far_behind_reads_ahead() {
    let alone = Server::scratch().expect("a source of its own");
    let mut bench = bench_alone(&alone, "ahead_following").await;
    pile_up(&mut bench, 0).await;
    let (place, mut counting) = (bench.place(), Counting::to(None));
    let mut target = connection::connect(Database::Warehouse, &bench.target_url).await.expect("a session");
    let mut follower =
        Follower::begin(&bench.warehouse, &place, &mut target, &mut counting).await.expect("it begins");
    let mut more = true;
    while more {
        more = follower.next().await.expect("a round").is_full;
    }
    drop(follower);
    assert!(counting.landed >= 2, "{} batches", counting.landed);
    bench.assert_once().await;
    bench.assert_fold().await;
    assert_eq!(bench.source_value::<i64>(LEFT).await, 0, "no slot is left");
}

/// Another process that lands meanwhile is noticed, and nothing lands twice.
#[tokio::test]
async fn two_at_once_land_nothing_twice() {
    let mut bench = bench("ahead_two").await;
    pile_up(&mut bench, 0).await;
    let Bench { warehouse, source_url, target_url, .. } = &bench;
    let mut begun = false;
    let mut meanwhile = At(|point| {
        if point == Point::BatchLanded && !begun {
            begun = true;
            capture_elsewhere(warehouse, source_url, target_url);
        }
    });
    let error = capture(warehouse, source_url, target_url, &mut meanwhile).await.expect_err("it came second");
    assert!(error.to_string().contains("another process lands"), "{error}");
    bench.capture().await;
    bench.assert_once().await;
    bench.assert_fold().await;
}

/// Captures to the end, in a thread of its own, as another process would.
fn capture_elsewhere(warehouse: &Warehouse, source_url: &str, target_url: &str) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(capture(warehouse, source_url, target_url, &mut Quiet)).expect("captured");
        });
    });
}
