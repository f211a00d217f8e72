//! Where the source's log is held back for a time, a warehouse restored from a backup, or one whose slot is gone,
//! goes on by itself, and no change is lost or doubled; beyond that time it is refused as ever.

use std::time::Duration;

use medallion_runtime::capture::prepare;
use medallion_runtime::connection::{self, Database};
use medallion_server::Server;

use crate::bench::{Bench, run};

const TABLES: &str = "
    CREATE TABLE item (id integer PRIMARY KEY, name text);
    CREATE TABLE entry (id integer PRIMARY KEY, name text)";

const CAPTURED: &[(&str, &[&str])] = &[("item", &["id"]), ("entry", &["id"])];

async fn bench(name: &str) -> Bench {
    let mut bench = Bench::new(name, TABLES, CAPTURED).await;
    bench.warehouse.source.keep_log = Some(Duration::from_secs(3_600));
    for (table, key) in [("item", "id"), ("entry", "id")] {
        bench.audit(table, key).await;
    }
    bench.capture().await;
    write(&mut bench, 1).await;
    bench.capture().await;
    bench
}

async fn write(bench: &mut Bench, round: i32) {
    bench
        .on_source(&format!(
            "INSERT INTO item SELECT {round} * 100 + n, 'new' FROM generate_series(1, 20) AS n;
            BEGIN; UPDATE item SET name = 'round {round}' WHERE id % 3 = 0; INSERT INTO entry VALUES ({round}); COMMIT;
            DELETE FROM item WHERE id % 7 = {round}"
        ))
        .await;
}

/// Puts the warehouse back to what it was; what is done in between it has never seen.
struct Backup {
    name: String,
}

impl Backup {
    async fn take(bench: &mut Bench, name: &str) -> Self {
        let name = format!("{name}_warehouse");
        Self::control(bench, &[format!("CREATE DATABASE {name}_backup TEMPLATE {name}")]).await;
        Self { name }
    }

    async fn restore(self, bench: &mut Bench) {
        let name = self.name;
        let sql = [
            format!("DROP DATABASE {name} WITH (FORCE)"),
            format!("ALTER DATABASE {name}_backup RENAME TO {name}"),
        ];
        Self::control(bench, &sql).await;
    }

    /// From elsewhere: nobody may be connected to what is copied.
    async fn control(bench: &mut Bench, statements: &[String]) {
        let server = Server::shared_scratch().expect("a server");
        let url = server.url("postgres");
        bench.target = connection::connect(Database::Warehouse, &url).await.expect("a session");
        for sql in statements {
            run(&mut bench.target, sql).await;
        }
        bench.target = connection::connect(Database::Warehouse, &bench.target_url).await.expect("a session");
    }
}

#[tokio::test]
async fn a_restored_warehouse_heals_itself() {
    let mut bench = bench("held_backup").await;
    let backup = Backup::take(&mut bench, "held_backup").await;
    for round in 2..4 {
        write(&mut bench, round).await;
        bench.capture().await;
    }
    bench.assert_once().await;
    backup.restore(&mut bench).await;
    write(&mut bench, 4).await;
    bench.capture().await;
    bench.assert_once().await;
    bench.assert_fold().await;
    write(&mut bench, 5).await;
    bench.capture().await;
    bench.assert_once().await;
    bench.assert_fold().await;
}

#[tokio::test]
async fn a_slot_that_is_gone_comes_back_from_the_one_behind() {
    let mut bench = bench("held_gone").await;
    bench.on_source("SELECT pg_drop_replication_slot('bench_held_gone')").await;
    write(&mut bench, 2).await;
    bench.capture().await;
    bench.assert_once().await;
    // Read by others: the same.
    write(&mut bench, 3).await;
    bench.on_source("SELECT pg_replication_slot_advance('bench_held_gone', pg_current_wal_lsn())").await;
    bench.capture().await;
    bench.assert_once().await;
    bench.assert_fold().await;
}

#[tokio::test]
async fn beyond_its_time_the_log_is_let_go() {
    let mut bench = bench("held_time").await;
    let backup = Backup::take(&mut bench, "held_time").await;
    let behind = "SELECT (confirmed_flush_lsn - '0/0')::bigint FROM pg_replication_slots
        WHERE slot_name = 'bench_held_time_held'";
    let at_first: i64 = bench.source_value(behind).await;
    write(&mut bench, 2).await;
    bench.capture().await;
    assert_eq!(bench.source_value::<i64>(behind).await, at_first, "it stays behind");

    // Two hours go by.
    bench
        .on_target(
            "UPDATE medallion.source_position
            SET held = jsonb_build_array(jsonb_build_array((held #>> '{-1, 0}')::bigint - 7200, landed_to))",
        )
        .await;
    write(&mut bench, 3).await;
    bench.capture().await;
    let landed_to: i64 = bench.target_value("SELECT landed_to FROM medallion.source_position").await;
    let now: i64 = bench.source_value(behind).await;
    assert!(at_first < now && now < landed_to, "it follows: {at_first} {now} {landed_to}");
    bench.assert_once().await;

    backup.restore(&mut bench).await;
    let error = bench.error().await;
    assert!(error.contains("those between are gone") && error.contains("source resnapshot"), "{error}");
    bench.resnapshot().await;
    bench.capture().await;
    bench.assert_fold().await;
}

#[tokio::test]
async fn what_is_no_longer_held_goes() {
    let mut bench = bench("held_no_more").await;
    let slots = "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()";
    assert_eq!(bench.source_value::<i64>(slots).await, 2);
    let drop = prepare::plan_drop(&bench.warehouse, &mut bench.source).await.expect("a plan");
    assert_eq!(drop.slots, ["bench_held_no_more", "bench_held_no_more_held"]);
    bench.warehouse.source.keep_log = None;
    bench.capture().await;
    assert_eq!(bench.source_value::<i64>(slots).await, 1);
    write(&mut bench, 2).await;
    bench.capture().await;
    bench.assert_once().await;
}
