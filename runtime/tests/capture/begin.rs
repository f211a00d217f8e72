//! The first time: recorded log, snapshot and hand-over to the stream, with writers at work and stops.

use medallion_runtime::capture::Point;
use medallion_runtime::connection::{self, Database};
use medallion_runtime::descriptor::Name;

use crate::bench::{At, Bench, Writer};

const TABLES: &str = "
    CREATE TABLE item (id integer PRIMARY KEY, name text);
    ALTER TABLE item REPLICA IDENTITY FULL;
    CREATE TABLE entry (id integer PRIMARY KEY, name text);
    ALTER TABLE entry REPLICA IDENTITY FULL;
    INSERT INTO item SELECT n, 'old' FROM generate_series(1, 500) AS n";

const CAPTURED: &[(&str, &[&str])] = &[("item", &["id"]), ("entry", &["id"])];

const LOG: &str = "
    CREATE TABLE change_log (
        position bigint,
        seq bigint,
        committed_at timestamptz NOT NULL,
        relation text NOT NULL,
        op char(1) NOT NULL,
        full_row jsonb,
        PRIMARY KEY (position, seq)
    )";

#[tokio::test]
async fn stopped_anywhere_in_the_beginning_the_past_lands_once() {
    let mut bench = Bench::new("stops_early", TABLES, CAPTURED).await;
    let points = [Point::SlotAnnounced, Point::SlotCreated, Point::SnapshotTaken, Point::PastCopied];
    for point in points {
        bench.capture_until(point).await;
        let landed: i64 = bench.target_value("SELECT count(*) FROM bronze.item").await;
        assert_eq!(landed, 0, "{point:?}");
        bench.on_source("UPDATE item SET name = name || '!' WHERE id % 5 = 0").await;
    }
    bench.capture_until(Point::PastLanded).await;
    bench.on_source("INSERT INTO entry VALUES (1, 'later')").await;
    let captured = bench.capture().await;
    assert_eq!(captured.rows(), 1, "the past had landed");
    let landed: i64 = bench.target_value("SELECT count(*) FROM bronze.item").await;
    assert_eq!(landed, 500);
    bench.assert_fold().await;
    bench.assert_times().await;
}

/// What has landed of the first snapshot stays; the tables that are left come with a snapshot of their own.
#[tokio::test]
async fn killed_between_two_tables_the_rest_joins() {
    let mut bench = Bench::new("begin_rest", TABLES, CAPTURED).await;
    bench.on_source("INSERT INTO entry SELECT n, 'old' FROM generate_series(1, 300) AS n").await;
    bench.capture_until(Point::TableLanded).await;
    let landed = "SELECT (SELECT count(*) FROM bronze.item) || ' ' || (SELECT count(*) FROM bronze.entry)";
    assert_eq!(bench.target_value::<String>(landed).await, "500 0");
    bench.on_source("UPDATE item SET name = 'new' WHERE id <= 10; DELETE FROM entry WHERE id <= 5; UPDATE entry SET name = 'new' WHERE id = 6").await;
    // Killed again, while the rest joins.
    bench.capture_until(Point::PastCopied).await;
    bench.on_source("INSERT INTO entry VALUES (301, 'newer'); INSERT INTO item VALUES (501, 'newer')").await;
    bench.capture().await;
    assert_eq!(bench.target_value::<String>(landed).await, "511 296");
    bench.assert_fold().await;
    bench.assert_times().await;
    bench.on_source("DELETE FROM entry WHERE id = 7").await;
    assert_eq!(bench.capture().await.rows(), 1);
    bench.assert_fold().await;
}

/// Several tables at a time see one moment, whatever is written meanwhile, and each stops where it is killed.
#[tokio::test]
async fn tables_that_land_at_a_time_are_of_one_moment() {
    let names = ["a", "b", "c", "d", "e", "f"];
    let sql: String = names
        .iter()
        .map(|name| {
            format!(
                "CREATE TABLE {name} (id integer PRIMARY KEY, n integer);
                INSERT INTO {name} SELECT n, 0 FROM generate_series(1, 200) AS n;"
            )
        })
        .collect();
    let captured: Vec<(&str, &[&str])> = names.iter().map(|name| (*name, &["id"][..])).collect();
    let mut bench = Bench::new("begin_parallel", &sql, &captured).await;
    let place = bench.place();
    let writer = Writer::new(&bench.source_url);
    let mut round = 0;
    let mut tables = 0;
    let mut meanwhile = At(|point| {
        tables += usize::from(point == Point::TableLanded);
        if matches!(point, Point::SlotCreated | Point::SnapshotTaken | Point::PastCopied) {
            round += 1;
            let all: Vec<String> =
                names.iter().map(|name| format!("UPDATE {name} SET n = {round} WHERE id = 1")).collect();
            writer.run(&format!("BEGIN; {}; COMMIT", all.join("; ")));
        }
    });
    let mut target = connection::connect(Database::Warehouse, &bench.target_url).await.expect("a session");
    medallion_runtime::capture::capture_at(&bench.warehouse, &place, &mut target, &mut meanwhile)
        .await
        .expect("captured");
    assert_eq!(tables, names.len());
    let all = bench.all_landed();
    let moments: Vec<i64> = bench
        .target_value(&format!(
            "SELECT array_agg(DISTINCT (full_row -> 'n')::bigint)
            FROM ({all}) AS landed
            WHERE op = 'I' AND full_row ->> 'id' = '1'"
        ))
        .await;
    assert_eq!(moments, [1], "the snapshot is of one moment");
    bench.capture().await;
    bench.assert_fold().await;
    bench.assert_times().await;
}

/// Transactions that are open, that commit or that begin around the snapshot are in it or in the stream.
#[tokio::test]
async fn what_the_snapshot_saw_does_not_come_again() {
    let mut bench = Bench::new("handover", TABLES, CAPTURED).await;
    let open = Writer::new(&bench.source_url);
    let quick = Writer::new(&bench.source_url);
    let mut actions = At(|point| match point {
        Point::SlotCreated => {
            quick.run("INSERT INTO entry VALUES (1, 'after the slot, before the snapshot')");
            quick.run("UPDATE item SET name = 'between' WHERE id = 1");
            open.run(
                "BEGIN; INSERT INTO entry VALUES (2, 'open'); UPDATE item SET name = 'open' WHERE id = 2",
            );
        }
        Point::SnapshotTaken => {
            quick.run("INSERT INTO entry VALUES (3, 'while it is read')");
            quick.run("DELETE FROM item WHERE id = 3");
        }
        Point::PastLanded => open.run("INSERT INTO entry VALUES (4, 'at last'); COMMIT"),
        _ => {}
    });
    let captured = bench.capture_with(&mut actions).await.expect("captured");
    assert_eq!(captured.rows(), 500 + 1 + 3 + 2, "each change once: {captured:?}");
    let entries: Vec<i64> = bench
        .target_value("SELECT array_agg((full_row ->> 'id')::bigint ORDER BY lsn, seq) FROM bronze.entry")
        .await;
    assert_eq!(entries, [1, 3, 2, 4]);
    let doubled: i64 =
        bench.target_value("SELECT count(*) FROM bronze.item WHERE full_row ->> 'name' = 'between'").await;
    assert_eq!(doubled, 1);
    bench.assert_fold().await;
    bench.assert_times().await;
}

#[tokio::test]
async fn writers_at_work_while_it_begins_lose_nothing() {
    let mut bench = Bench::new("begin_busy", TABLES, CAPTURED).await;
    let url = bench.source_url.clone();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let writers = std::thread::spawn(move || {
        let writers = [Writer::new(&url), Writer::new(&url)];
        let mut id = 0;
        while stopped.try_recv().is_err() {
            for writer in &writers {
                id += 1;
                writer.run(&format!("BEGIN; INSERT INTO entry VALUES ({id}, 'a'); UPDATE item SET name = 'n{id}' WHERE id = {id} % 500"));
            }
            for writer in &writers {
                writer.run("COMMIT");
            }
        }
        id
    });
    bench.capture().await;
    bench.capture().await;
    stop.send(()).expect("the writers live");
    let written = writers.join().expect("the writers");
    bench.capture().await;
    let entries: i64 = bench.target_value("SELECT count(*) FROM bronze.entry").await;
    assert_eq!(entries, i64::from(written), "each insert once");
    bench.assert_fold().await;
    bench.assert_times().await;
}

#[tokio::test]
async fn after_a_recorded_log_the_snapshot_lands_differences_only() {
    let mut bench = Bench::new("recorded", TABLES, CAPTURED).await;
    bench.warehouse.source.recorded_log = Some(Name::new("public", "change_log"));
    bench.on_source(LOG).await;
    bench
        .on_source(
            "INSERT INTO change_log
            SELECT n, 1, TIMESTAMPTZ '2023-01-01 00:00:00+00' + n * INTERVAL '1 hour', 'item', 'I',
                jsonb_build_object('id', n, 'name', 'old')
            FROM generate_series(1, 400) AS n;
            INSERT INTO change_log VALUES
                (500, 1, '2023-02-01 00:00:00+00', 'public.item', 'U', '{\"id\": 1, \"name\": \"other\"}'),
                (500, 2, '2023-02-01 00:00:00+00', 'item', 'I', '{\"id\": 1000, \"name\": \"gone unseen\"}'),
                (501, 1, '2023-02-02 00:00:00+00', 'item', 'D', '{\"id\": 2, \"name\": \"old\"}'),
                (502, 1, '2023-02-03 00:00:00+00', 'elsewhere', 'I', '{\"id\": 1}')",
        )
        .await;
    let captured = bench.capture().await;
    assert!(captured.findings.is_empty(), "{:?}", captured.findings);
    assert_eq!(captured.transactions, 402);
    // 1 differs, 2 is back, 401 to 500 are new, 1000 is gone.
    let differences: Vec<String> = bench
        .target_value(
            "SELECT array_agg(op || ' ' || n ORDER BY op)
            FROM (SELECT op, count(*) AS n FROM bronze.item WHERE lsn > 501 GROUP BY op) AS counted",
        )
        .await;
    assert_eq!(differences, ["D 1", "I 101", "U 1"]);
    let exact: bool = bench
        .target_value("SELECT commit_ts = '2023-02-02 00:00:00+00' FROM bronze.item WHERE lsn = 501")
        .await;
    assert!(exact, "recorded times are kept");
    let before: String =
        bench.target_value("SELECT full_row ->> 'name' FROM bronze.item WHERE lsn > 501 AND op = 'D'").await;
    assert_eq!(before, "gone unseen");
    bench.assert_fold().await;
    bench.assert_times().await;
    bench.on_source("UPDATE item SET name = 'live' WHERE id = 1").await;
    bench.capture().await;
    bench.assert_fold().await;
    bench.assert_times().await;
}

#[tokio::test]
async fn recorded_times_that_do_not_rise_are_raised() {
    let mut bench = Bench::new("raised", TABLES, CAPTURED).await;
    bench.warehouse.source.recorded_log = Some(Name::new("public", "change_log"));
    bench.on_source(LOG).await;
    bench
        .on_source(
            "INSERT INTO change_log VALUES
                (1, 1, '2023-01-01 00:00:00+00', 'item', 'I', '{\"id\": 1, \"name\": \"a\"}'),
                (2, 1, '2023-01-01 00:00:00+00', 'item', 'U', '{\"id\": 1, \"name\": \"b\"}'),
                (3, 1, '2022-01-01 00:00:00+00', 'entry', 'I', '{\"id\": 1, \"name\": \"c\"}'),
                (3, 2, '2022-01-02 00:00:00+00', 'item', 'T', NULL),
                (4, 1, '2023-01-01 00:00:00.000002+00', 'item', 'I', '{\"id\": 2, \"name\": \"old\"}'),
                (5, 1, '2023-01-05 00:00:00+00', 'item', 'D', '{\"id\": 3, \"name\": \"d\"}')",
        )
        .await;
    let captured = bench.capture().await;
    assert_eq!(captured.findings.len(), 1, "{:?}", captured.findings);
    let times: Vec<String> = bench
        .target_value(
            "SELECT array_agg(to_char(commit_ts AT TIME ZONE 'UTC', 'DD US') ORDER BY lsn)
            FROM (
                SELECT DISTINCT lsn, commit_ts FROM bronze.item WHERE lsn < 10
                UNION
                SELECT DISTINCT lsn, commit_ts FROM bronze.entry WHERE lsn < 10
            ) AS landed",
        )
        .await;
    assert_eq!(times, ["01 000000", "01 000001", "01 000002", "01 000003", "05 000000"]);
    bench.assert_fold().await;
    bench.assert_times().await;
}
