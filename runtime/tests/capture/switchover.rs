//! A source that is switched over to its standby, slot and all, goes on where it was: each change lands once, and what
//! the standby never had of what landed is not passed over in silence. From PostgreSQL 17 on, whose standbys keep slots.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use medallion_runtime::capture::readiness;
use medallion_runtime::connection::{self, Database};
use medallion_server::Server;

use crate::bench::{Bench, run, value};

const TABLES: &str = "
    CREATE TABLE item (id integer PRIMARY KEY, name text);
    CREATE TABLE other (id integer);
    INSERT INTO item SELECT n, 'old' FROM generate_series(1, 20) AS n";

const CAPTURED: &[(&str, &[&str])] = &[("item", &["id"])];

/// A primary and its standby, and a warehouse that follows the first.
struct Pair {
    bench: Bench,
    primary: medallion_server::Scratch,
    standby: medallion_server::Scratch,
}

impl Pair {
    /// None where standbys keep no slots.
    async fn new(name: &str) -> Option<Self> {
        let (primary, standby) = (Server::scratch().expect("a server"), Server::scratch().expect("a server"));
        let warehouses = Server::shared_scratch().expect("a server");
        let mut bench = Bench::on(warehouses, &primary, name, TABLES, CAPTURED).await;
        if bench.source_version().await < 17 {
            return None;
        }
        // The first run makes the slot, which standbys are to keep from then on.
        bench.capture().await;
        let slot = bench.warehouse.source.slot.clone();
        bench
            .on_source(&format!(
                "SELECT pg_drop_replication_slot('{slot}');
                SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput', failover => true);
                SELECT pg_create_physical_replication_slot('standby', true)"
            ))
            .await;
        bench.resnapshot().await;
        let socket: String = bench.source_value("SELECT current_setting('unix_socket_directories')").await;
        primary.stop().expect("stopped");
        standby.stop().expect("stopped");
        copy(primary.data_directory(), standby.data_directory());
        let settings = format!(
            "primary_conninfo = 'host={} port=5432 user=medallion dbname=postgres'
            primary_slot_name = 'standby'
            hot_standby_feedback = on\n",
            socket.trim_matches('"')
        );
        let data = standby.data_directory();
        std::fs::write(data.join("postgresql.auto.conf"), settings).expect("written");
        std::fs::write(data.join("standby.signal"), "").expect("written");
        primary.start().expect("started");
        standby.start().expect("started");
        bench.source = connection::connect(Database::Source, &bench.source_url).await.expect("a session");
        Some(Self { bench, primary, standby })
    }

    /// Writes, lands that, and waits until the standby has the slot where it is by then.
    async fn land_and_sync(&mut self, sql: &str) {
        self.bench.on_source(sql).await;
        self.bench.capture().await;
        let there = self.standby.url("postgres");
        let mut there = connection::connect(Database::Source, &there).await.expect("a session");
        let slot = self.bench.warehouse.source.slot.clone();
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            // Where its slot can begin, the standby learns of it by this.
            self.bench.on_source("SELECT pg_log_standby_snapshot()").await;
            let landed_to: i64 =
                self.bench.target_value("SELECT landed_to FROM medallion.source_position").await;
            // Refused as long as the slot is ahead of the log that has come.
            let _ = sqlx::raw_sql("SELECT pg_sync_replication_slots()").execute(&mut there).await;
            let synced: bool = value(
                &mut there,
                &format!(
                    "SELECT EXISTS (
                        SELECT FROM pg_replication_slots
                        WHERE slot_name = '{slot}' AND synced AND NOT temporary
                        AND confirmed_flush_lsn - '0/0'::pg_lsn >= {landed_to}
                    )"
                ),
            )
            .await;
            if synced {
                return;
            }
            assert!(Instant::now() < deadline, "the standby does not keep the slot");
            self.bench.capture().await;
        }
    }

    /// The primary ends, and has sent all there is.
    async fn switch_over(&mut self) {
        self.primary.stop().expect("stopped");
        self.promote().await;
    }

    async fn promote(&mut self) {
        let url = self.standby.url(&database(&self.bench));
        self.bench.source = connection::connect(Database::Source, &url).await.expect("a session");
        self.bench.source_url = url;
        self.bench.on_source("SELECT pg_promote()").await;
    }

    async fn landed_to(&mut self) -> i64 {
        self.bench.target_value("SELECT landed_to FROM medallion.source_position").await
    }
}

fn database(bench: &Bench) -> String {
    bench.warehouse.source.slot.trim_start_matches("bench_").to_owned() + "_source"
}

/// A copy of a server's files, but for its slots: a base backup has none.
fn copy(from: &Path, to: &Path) {
    std::fs::remove_dir_all(to).expect("removed");
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp");
    assert!(status.success());
    for slot in std::fs::read_dir(to.join("pg_replslot")).expect("a folder") {
        std::fs::remove_dir_all(slot.expect("a slot").path()).expect("removed");
    }
}

#[tokio::test]
async fn a_standby_that_kept_the_slot_is_gone_on_with() {
    let Some(mut pair) = Pair::new("switch_planned").await else { return };
    pair.land_and_sync("UPDATE item SET name = 'landed' WHERE id <= 10").await;
    let before = pair.landed_to().await;
    pair.bench.on_source("UPDATE item SET name = 'sent, and not landed' WHERE id = 11").await;
    pair.switch_over().await;
    let Bench { warehouse, source_url, target, .. } = &mut pair.bench;
    let looked = readiness::check(warehouse, source_url, Some(target)).await.expect("it can be asked");
    assert!(looked.is_ready(), "who only looks says the same: {looked:?}");
    pair.bench.on_source("DELETE FROM item WHERE id = 1; INSERT INTO item VALUES (21, 'new')").await;
    assert_eq!(pair.bench.capture().await.rows(), 3, "each once");
    assert!(pair.landed_to().await > before);
    pair.bench.on_source("UPDATE item SET name = 'and on' WHERE id = 2").await;
    assert_eq!(pair.bench.capture().await.rows(), 1);
    pair.bench.assert_fold().await;
    pair.bench.assert_times().await;
}

/// The standby was cut off: of what it lacks nothing has landed, though the slot went on with what nobody captures.
#[tokio::test]
async fn what_is_written_anew_below_what_was_read_lands() {
    let Some(mut pair) = Pair::new("switch_short").await else { return };
    pair.land_and_sync("UPDATE item SET name = 'landed' WHERE id <= 10").await;
    pair.standby.stop().expect("stopped");
    pair.bench.on_source("INSERT INTO other SELECT generate_series(1, 20000)").await;
    pair.bench.capture().await;
    let before = pair.landed_to().await;
    pair.primary.stop().expect("stopped");
    pair.standby.start().expect("started");
    pair.promote().await;
    pair.bench.on_source("DELETE FROM item WHERE id = 1").await;
    assert_eq!(pair.bench.capture().await.rows(), 1);
    assert!(pair.landed_to().await < before, "the positions are given twice");
    pair.bench.assert_fold().await;
    pair.bench.assert_times().await;
}

/// What landed last the standby never had, or cannot be told to have had.
#[tokio::test]
async fn what_landed_beyond_the_slot_is_refused() {
    let Some(mut pair) = Pair::new("switch_behind").await else { return };
    pair.land_and_sync("UPDATE item SET name = 'landed' WHERE id <= 10").await;
    pair.standby.stop().expect("stopped");
    pair.bench.on_source("DELETE FROM item WHERE id = 20").await;
    pair.bench.capture().await;
    pair.primary.stop().expect("stopped");
    pair.standby.start().expect("started");
    pair.promote().await;
    for _ in 0..2 {
        let error = pair.bench.error().await;
        assert!(error.contains("it is on timeline 2") && error.contains("resnapshot"), "{error}");
        // However far it is written by then.
        pair.bench.on_source("INSERT INTO other SELECT generate_series(1, 20000)").await;
    }
    assert!(pair.bench.resnapshot().await.drops_slot);
    pair.bench.assert_fold().await;
    pair.bench.assert_times().await;
}

/// One that was made there by hand says nothing of the time before.
#[tokio::test]
async fn a_slot_that_was_made_after_the_switch_is_refused() {
    let Some(mut pair) = Pair::new("switch_by_hand").await else { return };
    pair.land_and_sync("UPDATE item SET name = 'landed' WHERE id <= 10").await;
    pair.standby.stop().expect("stopped");
    pair.bench.on_source("DELETE FROM item WHERE id = 20").await;
    pair.bench.on_source("INSERT INTO other SELECT generate_series(1, 200000)").await;
    pair.bench.capture().await;
    pair.primary.stop().expect("stopped");
    pair.standby.start().expect("started");
    pair.promote().await;
    let slot = pair.bench.warehouse.source.slot.clone();
    // Beyond what landed last, and below what was read.
    pair.bench.on_source("INSERT INTO other SELECT generate_series(1, 20000)").await;
    run(&mut pair.bench.source, &format!("SELECT pg_drop_replication_slot('{slot}')")).await;
    let create = format!("SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')");
    run(&mut pair.bench.source, &create).await;
    let error = pair.bench.error().await;
    assert!(error.contains("it is on timeline 2") && error.contains("resnapshot"), "{error}");
}
