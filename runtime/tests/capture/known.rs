//! Ways in which captures are known to lose or double changes, each of them made to happen. Where others have met one, it
//! is named.

use medallion_runtime::capture::Point;
use medallion_server::Server;

use crate::bench::{At, Bench, Writer};

const TABLES: &str = "
    CREATE TABLE item (id integer PRIMARY KEY, name text, n numeric(22, 7));
    CREATE TABLE other (id integer PRIMARY KEY)";

const CAPTURED: &[(&str, &[&str])] = &[("item", &["id"])];

const CONFIRMED: &str = "SELECT (confirmed_flush_lsn - '0/0')::bigint FROM pg_replication_slots
    WHERE database = current_database()";

async fn bench(name: &str) -> Bench {
    let mut bench = Bench::new(name, TABLES, CAPTURED).await;
    bench.audit("item", "id").await;
    bench.capture().await;
    bench
}

/// Every point at which a capture can stop, twice each, with changes coming in between.
#[tokio::test]
async fn stopped_at_every_point_nothing_is_lost_or_doubled() {
    for point in Point::ALL {
        let name = format!("point_{point:?}").to_lowercase();
        let mut bench = Bench::new(&name, TABLES, CAPTURED).await;
        bench.audit("item", "id").await;
        let first = matches!(point, Point::BatchCopied | Point::BatchLanded | Point::SlotAdvanced);
        if first {
            bench.capture().await;
        }
        for round in 0..2 {
            bench.on_source(&format!("INSERT INTO item SELECT n, 'a' FROM generate_series({round} * 10, {round} * 10 + 9) AS n; UPDATE item SET name = name || 'b'")).await;
            // What has begun does not begin again.
            if round == 0 || !matches!(point, Point::TableLanded | Point::PastLanded) {
                bench.capture_until(point).await;
            }
        }
        bench.capture().await;
        bench.assert_fold().await;
        bench.assert_times().await;
        if first {
            bench.assert_once().await;
        }
    }
}

/// A COPY puts many rows into one record of the log, so that they share a position (debezium/debezium#7531).
#[tokio::test]
async fn rows_that_share_a_position_all_land_after_a_stop() {
    let mut bench = bench("shared_position").await;
    for (round, point) in
        [Point::BatchCopied, Point::BatchLanded, Point::SlotAdvanced].into_iter().enumerate()
    {
        let first = round * 1_000;
        bench.on_source(&format!("COPY item (id) FROM PROGRAM 'seq {first} {}'", first + 499)).await;
        let shared: i64 = bench
            .source_value(
                "SELECT count(*) - count(DISTINCT lsn)
                FROM pg_logical_slot_peek_binary_changes('bench_shared_position', NULL, NULL,
                    'proto_version', '1', 'publication_names', 'bench')",
            )
            .await;
        assert!(shared > 100, "the rows do share positions: {shared}");
        bench.capture_until(point).await;
    }
    bench.capture().await;
    bench.assert_once().await;
    bench.assert_fold().await;
}

/// A transaction has written before the position that was confirmed, and commits after the restart
/// (debezium/debezium#7760).
#[tokio::test]
async fn a_transaction_open_across_a_restart_lands_whole() {
    let mut bench = bench("open_across").await;
    let open = Writer::new(&bench.source_url);
    open.run("BEGIN; INSERT INTO item VALUES (1, 'early')");
    for round in 0..3 {
        bench.on_source(&format!("INSERT INTO item VALUES ({round} + 10, 'quick')")).await;
        bench.capture().await;
        open.run(&format!("INSERT INTO item VALUES ({round} + 20, 'slow')"));
        bench.capture_until(Point::BatchLanded).await;
    }
    let before: i64 = bench.source_value(CONFIRMED).await;
    let landed: i64 = bench.target_value("SELECT max(lsn) FROM bronze.item").await;
    assert!(before > landed, "the slot is past all that has landed");
    open.run("UPDATE item SET name = 'late' WHERE id = 1; COMMIT");
    bench.capture().await;
    bench.assert_once().await;
    bench.assert_fold().await;
}

/// The source forgets nothing that has not landed: wherever it stops, the slot is never past the warehouse
/// (airbytehq/airbyte#55846).
#[tokio::test]
async fn the_slot_is_never_confirmed_past_what_has_landed() {
    let mut bench = bench("never_past").await;
    for (round, point) in
        [Point::BatchCopied, Point::BatchLanded, Point::SlotAdvanced].into_iter().enumerate()
    {
        bench
            .on_source(&format!("INSERT INTO item VALUES ({round}, 'a'); INSERT INTO other VALUES ({round})"))
            .await;
        bench.capture_until(point).await;
        let confirmed: i64 = bench.source_value(CONFIRMED).await;
        let landed_to: i64 = bench.target_value("SELECT landed_to FROM medallion.source_position").await;
        assert!(confirmed <= landed_to, "{point:?}: {confirmed} is past {landed_to}");
    }
    // A capture that fails again and again confirms nothing.
    bench.on_source("INSERT INTO item VALUES (9, 'z')").await;
    let confirmed: i64 = bench.source_value(CONFIRMED).await;
    for _ in 0..3 {
        bench.capture_until(Point::BatchCopied).await;
    }
    assert_eq!(bench.source_value::<i64>(CONFIRMED).await, confirmed);
    bench.capture().await;
    bench.assert_once().await;
}

/// Changes written after another transaction's commit belong to where their own transaction commits, and the
/// other way about: what counts is the commit (airbytehq/airbyte#35963).
#[tokio::test]
async fn changes_count_by_where_their_transaction_commits() {
    let mut bench = bench("by_commit").await;
    let (one, two) = (Writer::new(&bench.source_url), Writer::new(&bench.source_url));
    for round in 0..10 {
        let (a, b) = (round * 10, round * 10 + 1);
        one.run(&format!("BEGIN; INSERT INTO item VALUES ({a}, 'one')"));
        two.run(&format!("BEGIN; INSERT INTO item VALUES ({b}, 'two'); COMMIT"));
        // Lands to between the commit of the second and that of the first, which began before it.
        bench.capture_until(Point::BatchLanded).await;
        one.run(&format!("UPDATE item SET name = 'one again' WHERE id = {a}"));
        two.run(&format!("BEGIN; UPDATE item SET name = 'two again' WHERE id = {b}"));
        one.run("COMMIT");
        bench.capture_until(Point::SlotAdvanced).await;
        two.run("COMMIT");
    }
    bench.capture().await;
    bench.assert_once().await;
    let names: Vec<String> = bench
        .target_value("SELECT array_agg(full_row ->> 'name' ORDER BY lsn, seq) FROM bronze.item WHERE lsn <= (SELECT max(lsn) FROM bronze.item)")
        .await;
    assert_eq!(names[..4], ["two", "one", "one again", "two again"]);
}

/// Nothing is written to the captured tables, and much to others: the source's log must not pile up (supabase/etl#429).
/// A server of its own: a transaction that is open in any database keeps the log from where it began.
#[tokio::test]
async fn a_quiet_table_among_busy_ones_lets_the_slot_move_on() {
    let alone = Server::scratch().expect("a source of its own");
    let server = Server::shared_scratch().expect("a server");
    let mut bench = Bench::on(server, &alone, "quiet_among_busy", TABLES, CAPTURED).await;
    bench.capture().await;
    let restart =
        "SELECT (restart_lsn - '0/0')::bigint FROM pg_replication_slots WHERE database = current_database()";
    let before: (i64, i64) = (bench.source_value(CONFIRMED).await, bench.source_value(restart).await);
    for round in 0..3 {
        bench
            .on_source(&format!("INSERT INTO other SELECT generate_series({round} * 20000, {round} * 20000 + 19999); CHECKPOINT"))
            .await;
        let captured = bench.capture().await;
        assert_eq!(captured.rows(), 0);
    }
    let after: (i64, i64) = (bench.source_value(CONFIRMED).await, bench.source_value(restart).await);
    assert!(after.0 - before.0 > 1_000_000 && after.1 > before.1, "{after:?} after {before:?}");
}

/// Numbers that JSON has no numbers for are told as what they are, by snapshot and by stream (eulerto/wal2json#265).
#[tokio::test]
async fn numbers_that_are_none_do_not_become_null() {
    let mut bench =
        Bench::new("no_numbers", &format!("{TABLES}; INSERT INTO item VALUES (1, 'a', 'NaN')"), CAPTURED)
            .await;
    bench.capture().await;
    bench.on_source("INSERT INTO item VALUES (2, 'b', 'NaN'), (3, 'c', NULL); ALTER TABLE item ADD f real; UPDATE item SET f = '-Infinity'").await;
    bench.capture().await;
    let values: Vec<String> = bench
        .target_value(
            "SELECT array_agg(concat(full_row -> 'n', full_row -> 'f') ORDER BY lsn, seq) FROM bronze.item",
        )
        .await;
    assert_eq!(
        values,
        ["\"NaN\"", "\"NaN\"", "null", "\"NaN\"\"-Infinity\"", "\"NaN\"\"-Infinity\"", "null\"-Infinity\""]
    );
    bench.assert_fold().await;
}

/// Gives the warehouse something to do at a point, so that the source's commits fall between.
#[tokio::test]
async fn what_commits_while_a_batch_lands_lands_with_the_next() {
    let mut bench = bench("commits_between").await;
    let writer = Writer::new(&bench.source_url);
    let mut id = 0;
    let mut between = At(|point| {
        id += 1;
        writer.run(&format!("INSERT INTO item VALUES ({id}, '{point:?}')"));
    });
    for _ in 0..3 {
        bench.capture_with(&mut between).await.expect("captured");
    }
    bench.capture().await;
    bench.assert_once().await;
    bench.assert_fold().await;
}
