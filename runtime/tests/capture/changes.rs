//! The stream: all kinds of changes land once, whole and in order, wherever the loader was stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use medallion_runtime::capture::Point;
use medallion_server::Server;

use crate::bench::{At, Bench, Writer};

const TABLES: &str = "
    CREATE TABLE item (id integer PRIMARY KEY, name text, note text);
    ALTER TABLE item REPLICA IDENTITY FULL;
    ALTER TABLE item ALTER note SET STORAGE EXTERNAL;
    CREATE TABLE payment (id integer, paid date, amount numeric(6, 2), PRIMARY KEY (id, paid))
        PARTITION BY RANGE (paid);
    CREATE TABLE payment_1 PARTITION OF payment FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');
    CREATE TABLE payment_2 PARTITION OF payment FOR VALUES FROM ('2024-02-01') TO ('2024-03-01');
    ALTER TABLE payment REPLICA IDENTITY FULL;
    ALTER TABLE payment_1 REPLICA IDENTITY FULL;
    ALTER TABLE payment_2 REPLICA IDENTITY FULL;
    CREATE TABLE ignored (id integer PRIMARY KEY)";

async fn bench(name: &str) -> Bench {
    let mut bench = Bench::new(name, TABLES, &[("item", &["id"]), ("payment", &["id", "paid"])]).await;
    bench.audit("item", "id").await;
    bench
}

#[tokio::test]
async fn all_kinds_of_changes_land_once() {
    let mut bench = bench("kinds").await;
    let captured = bench.capture().await;
    assert_eq!(captured.rows(), 0);

    // Two transactions interleave, and the one that began first commits last.
    let (first, second) = (Writer::new(&bench.source_url), Writer::new(&bench.source_url));
    first.run("BEGIN; INSERT INTO item VALUES (1, 'a', NULL)");
    second.run("BEGIN; INSERT INTO item VALUES (2, 'b', NULL)");
    first.run("UPDATE item SET name = 'a2' WHERE id = 1");
    second.run("INSERT INTO item VALUES (3, 'c', 'x'); COMMIT");
    first.run("DELETE FROM item WHERE id = 3; COMMIT");

    // A savepoint rolled back, and a whole transaction too.
    bench
        .on_source(
            "BEGIN;
            INSERT INTO item VALUES (4, 'd', NULL);
            SAVEPOINT s;
            INSERT INTO item VALUES (5, 'gone', NULL);
            ROLLBACK TO s;
            INSERT INTO item VALUES (6, 'f', NULL);
            COMMIT;
            BEGIN; DELETE FROM item; ROLLBACK;
            INSERT INTO ignored VALUES (1)",
        )
        .await;

    // A value stored out of line that an update leaves alone; many rows in one record; a changed key.
    for sql in [
        "INSERT INTO item SELECT 7, 'long', repeat('0123456789', 2000)",
        "UPDATE item SET name = 'longer' WHERE id = 7",
        "INSERT INTO item SELECT n, 'n' || n, NULL FROM generate_series(100, 999) AS n",
        "UPDATE item SET id = 8 WHERE id = 7",
    ] {
        bench.on_source(sql).await;
    }

    let captured = bench.capture().await;
    assert!(captured.findings.is_empty(), "{:?}", captured.findings);
    assert_eq!(captured.transactions, 7);
    bench.assert_once().await;
    bench.assert_fold().await;

    // A row that moves to another partition; two tables in one transaction; a truncate of both.
    bench
        .on_source(
            "INSERT INTO payment VALUES (1, '2024-01-05', 9.90), (2, '2024-01-06', 1.00);
            UPDATE payment SET paid = '2024-02-07' WHERE id = 1;
            BEGIN; UPDATE item SET name = 'both' WHERE id = 8; UPDATE payment SET amount = 2.50; COMMIT",
        )
        .await;
    bench.capture().await;
    bench.assert_fold().await;
    bench.on_source("TRUNCATE item, payment; INSERT INTO payment VALUES (3, '2024-01-05', 1.1)").await;
    bench.capture().await;
    bench.assert_fold().await;
    bench.assert_times().await;
    let truncates: i64 = bench
        .target_value(
            "SELECT count(DISTINCT lsn) * 10 + count(*)
            FROM (SELECT lsn, op FROM bronze.item UNION ALL SELECT lsn, op FROM bronze.payment) AS landed
            WHERE op = 'T'",
        )
        .await;
    assert_eq!(truncates, 12, "two rows of one transaction");
}

#[tokio::test]
async fn nothing_new_lands_nothing_and_the_slot_moves_on() {
    let mut bench = bench("idle").await;
    bench.on_source("INSERT INTO item VALUES (1, 'a', NULL)").await;
    assert_eq!(bench.capture().await.rows(), 1);
    let confirmed = "SELECT (confirmed_flush_lsn - '0/0')::bigint FROM pg_replication_slots
        WHERE slot_name = 'bench_idle'";
    let before: i64 = bench.source_value(confirmed).await;
    // What is not captured moves the slot too.
    bench.on_source("INSERT INTO ignored SELECT generate_series(1, 1000)").await;
    let captured = bench.capture().await;
    assert_eq!((captured.rows(), captured.transactions), (0, 0));
    let after: i64 = bench.source_value(confirmed).await;
    assert!(after > before, "{after} after {before}");
    assert_eq!(captured.position.0, after);
    bench.assert_fold().await;
}

#[tokio::test]
async fn stopped_at_any_point_nothing_is_lost_or_doubled() {
    let mut bench = bench("stops").await;
    bench.capture().await;
    for (round, point) in
        [Point::BatchCopied, Point::BatchLanded, Point::SlotAdvanced].into_iter().enumerate()
    {
        let first = round * 100;
        bench
            .on_source(&format!(
                "INSERT INTO item SELECT n, 'a', NULL FROM generate_series({first}, {first} + 49) AS n;
                UPDATE item SET name = 'b' WHERE id = {first}"
            ))
            .await;
        bench.capture_until(point).await;
        bench.on_source(&format!("UPDATE item SET name = 'c' WHERE id > {first}")).await;
        bench.capture_until(point).await;
        bench.capture_until(point).await;
    }
    bench.capture().await;
    bench.assert_once().await;
    bench.assert_fold().await;
}

/// The loader reads up to the end of the log, and the next record there is a commit.
#[tokio::test]
async fn a_commit_record_at_the_position_asked_for_lands() {
    let server = Server::shared_scratch().expect("a scratch server");
    let alone = Server::scratch().expect("a source of its own");
    let tables: &[(&str, &[&str])] = &[("item", &["id"])];
    let mut bench = Bench::on(server, &alone, "edge", TABLES, tables).await;
    bench.capture().await;
    let writer = Writer::new(&bench.source_url);
    let mut exactly = 0;
    for id in 0..200 {
        // The other session's commit forces the writer's change to disk, so the log ends behind it.
        writer.run(&format!("BEGIN; INSERT INTO item VALUES ({id}, 'edge', NULL)"));
        bench.on_source(&format!("INSERT INTO ignored VALUES ({id})")).await;
        let mut commit = At(|point| {
            if point == Point::BatchCopied {
                writer.run("COMMIT");
            }
        });
        let captured = bench.capture_with(&mut commit).await.expect("captured");
        assert_eq!(captured.rows(), 0);
        bench.capture().await;
        let lsn: Option<i64> = bench
            .target_value(&format!("SELECT max(lsn) FROM bronze.item WHERE full_row ->> 'id' = '{id}'"))
            .await;
        let lsn = lsn.expect("landed");
        assert!(lsn >= captured.position.0);
        exactly += usize::from(lsn == captured.position.0);
        // Another process of the server may have written between the two.
        if exactly == 10 {
            break;
        }
    }
    assert_eq!(exactly, 10, "how often the record started where the log had ended");
    bench.assert_fold().await;
}

/// Writers go on while batches land, one batch after another.
#[tokio::test]
async fn writers_at_work_are_caught_up_with() {
    let mut bench = bench("busy").await;
    bench.capture().await;
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..3)
        .map(|number| {
            let (url, stop) = (bench.source_url.clone(), stop.clone());
            std::thread::spawn(move || {
                let writer = Writer::new(&url);
                let mut round = 0;
                while !stop.load(Ordering::Relaxed) {
                    let id = number * 1_000_000 + round;
                    writer.run(&format!(
                        "BEGIN;
                        INSERT INTO item VALUES ({id}, 'new', NULL);
                        UPDATE item SET name = name || 'x' WHERE id % 7 = {} AND id < {id};
                        DELETE FROM item WHERE id = {id} - 20;
                        COMMIT",
                        round % 7
                    ));
                    round += 1;
                }
            })
        })
        .collect();
    let mut transactions = 0;
    while transactions < 300 {
        transactions += bench.capture().await.transactions;
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.join().expect("a writer");
    }
    bench.capture().await;
    bench.assert_once().await;
    bench.assert_fold().await;
}

/// Another session reads the slot for a while, as one that a killed loader left behind would.
#[tokio::test]
async fn a_slot_in_use_is_waited_for() {
    let mut bench = bench("in_use").await;
    bench.capture().await;
    let other = Writer::new(&bench.source_url);
    for round in 0..3 {
        bench
            .on_source(&format!(
                "INSERT INTO item SELECT n, 'a', NULL FROM generate_series({round} * 30000 + 1, {round} * 30000 + 30000) AS n"
            ))
            .await;
        let reading = other.begin(
            "SELECT count(*) FROM pg_logical_slot_peek_binary_changes('bench_in_use', NULL, NULL,
                'proto_version', '1', 'publication_names', 'bench')",
        );
        assert_eq!(bench.capture().await.rows(), 30_000);
        reading.wait();
    }
    bench.assert_fold().await;
}

/// More messages than one batch asks for, in transactions of one row and in one of very many.
#[tokio::test]
async fn more_than_a_batch_lands_in_whole_transactions() {
    let mut bench = Bench::new("many", TABLES, &[("item", &["id"]), ("payment", &["id", "paid"])]).await;
    bench.capture().await;
    bench
        .on_source(
            "CREATE PROCEDURE fill(until integer) LANGUAGE plpgsql AS $$
            BEGIN
                FOR n IN 1..until LOOP
                    INSERT INTO item VALUES (n, 'tiny', NULL);
                    COMMIT;
                END LOOP;
            END
            $$;
            SET synchronous_commit = off",
        )
        .await;
    bench.on_source("CALL fill(40000)").await;
    bench
        .on_source("INSERT INTO item SELECT n, 'large', NULL FROM generate_series(100001, 220000) AS n")
        .await;
    bench.on_source("SET synchronous_commit = on").await;
    bench
        .on_source("INSERT INTO payment SELECT n, '2024-01-05', 1 FROM generate_series(1, 20000) AS n")
        .await;
    let captured = bench.capture().await;
    assert_eq!(captured.transactions, 40_002);
    assert_eq!(captured.rows(), 180_000);
    assert_eq!(bench.capture().await.rows(), 0);
    bench.assert_times().await;
    bench.assert_fold().await;
}
