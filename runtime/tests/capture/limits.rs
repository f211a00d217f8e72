//! Limits of servers and of rows: a slot that was ended because it kept too much log, a disk that is full, a row that
//! is large. Each on servers of its own, where others would suffer.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::Command;

use medallion_server::Server;

use crate::bench::Bench;

const TABLES: &str = "
    CREATE TABLE item (id integer PRIMARY KEY, name text);
    INSERT INTO item SELECT n, 'old' FROM generate_series(1, 20) AS n";

const CAPTURED: &[(&str, &[&str])] = &[("item", &["id"])];

/// What the slot kept was more than it may: a gap, refused, and a resnapshot lands what was missed.
#[tokio::test]
async fn a_slot_that_kept_too_much_log_is_a_gap() {
    let source = Server::scratch().expect("a scratch server");
    let target = Server::shared_scratch().expect("a scratch server");
    let mut bench = Bench::on(target, &source, "invalidated", TABLES, CAPTURED).await;
    bench.capture().await;
    bench.on_source("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'").await;
    bench.on_source("SELECT pg_reload_conf()").await;
    bench.on_source("UPDATE item SET name = 'missed' WHERE id < 5").await;
    let status = "SELECT wal_status FROM pg_replication_slots WHERE slot_name = 'bench_invalidated'";
    for _ in 0..20 {
        bench
            .on_source(
                "SELECT pg_logical_emit_message(false, 'filler', repeat('x', 20000000)), pg_switch_wal()",
            )
            .await;
        bench.on_source("CHECKPOINT").await;
        if bench.source_value::<String>(status).await == "lost" {
            break;
        }
    }
    assert_eq!(bench.source_value::<String>(status).await, "lost");
    let error = bench.error().await;
    assert!(error.contains("has been invalidated"), "{error}");
    assert!(error.contains("max_slot_wal_keep_size"), "{error}");
    assert!(error.contains("medallion source resnapshot"), "{error}");
    bench.resnapshot().await;
    bench.on_source("DELETE FROM item WHERE id = 6").await;
    bench.capture().await;
    bench.assert_fold().await;
    bench.assert_times().await;
}

/// A file system of its own, which is gone with the test.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Owned by whom the server runs as; none where it may not be mounted.
    fn mount(megabytes: u32, data: &str) -> Option<Self> {
        let owner = std::fs::metadata(data).ok()?;
        let place = std::env::temp_dir().join(format!("medallion_small_disk_{}", std::process::id()));
        std::fs::create_dir_all(&place).ok()?;
        let options = format!("size={megabytes}m,mode=700,uid={},gid={}", owner.uid(), owner.gid());
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&place).output();
        match mounted {
            Ok(done) if done.status.success() => Some(Self(place)),
            _ => {
                let _ = std::fs::remove_dir(&place);
                None
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// A batch that does not fit on the warehouse's disk leaves nothing, and lands once there is room.
#[tokio::test]
async fn what_does_not_fit_on_the_disk_lands_when_there_is_room() {
    let server = Server::scratch().expect("a scratch server");
    let mut bench = Bench::on(&server, &server, "disk", TABLES, CAPTURED).await;
    let data: String = bench.target_value("SELECT current_setting('data_directory')").await;
    let Some(disk) = SmallDisk::mount(24, &data) else {
        let _ = writeln!(std::io::stderr(), "PASSED BY: no small file system may be mounted here");
        return;
    };
    bench.on_source("DELETE FROM item").await;
    bench.capture().await;
    bench.on_target(&format!("CREATE TABLESPACE small LOCATION '{}'", disk.0.display())).await;
    bench.on_target("ALTER TABLE bronze.item SET TABLESPACE small").await;
    bench
        .on_target(
            "CREATE TABLE ballast (t text) TABLESPACE small; ALTER TABLE ballast ALTER t SET STORAGE PLAIN",
        )
        .await;
    bench.on_target("INSERT INTO ballast SELECT repeat('x', 6000) FROM generate_series(1, 1600)").await;
    bench.on_source("INSERT INTO item SELECT n, repeat('n', 200) FROM generate_series(1, 60000) AS n").await;
    for _ in 0..2 {
        let error = bench.try_capture().await.expect_err("no room");
        assert_eq!(error.sqlstate().as_deref(), Some("53100"), "{error}");
        assert!(error.is_passing(), "it is waited for");
        assert!(error.to_string().contains("free space on the server's disk"), "{error}");
    }
    bench.on_target("DROP TABLE ballast").await;
    bench.on_source("UPDATE item SET name = 'short' WHERE id <= 10").await;
    bench.on_target("CHECKPOINT; ALTER TABLE bronze.item SET TABLESPACE pg_default").await;
    bench.capture().await;
    bench.assert_fold().await;
    bench.on_target("DROP TABLESPACE small").await;
}

/// A row of a hundred million characters, by snapshot and by stream, changed and left alone.
#[tokio::test]
async fn a_row_of_100_mb_lands() {
    let sql = "
        CREATE TABLE item (id integer PRIMARY KEY, name text, n integer);
        INSERT INTO item VALUES (1, repeat('snapshot', 12500000), 0)";
    // Its long transactions would keep the slots of others back.
    let server = Server::scratch().expect("a scratch server");
    let mut bench = Bench::on(&server, &server, "row_100_mb", sql, CAPTURED).await;
    bench.capture().await;
    bench.on_source("INSERT INTO item VALUES (2, repeat('streamed', 12500000), 0)").await;
    bench.on_source("UPDATE item SET n = 1").await;
    bench.capture().await;
    let lengths: Vec<i32> = bench
        .target_value("SELECT array_agg(length(full_row ->> 'name') ORDER BY lsn, seq) FROM bronze.item")
        .await;
    assert_eq!(lengths, [100_000_000; 4]);
    let hashes = "SELECT string_agg(md5(name), ' ' ORDER BY id) FROM item";
    let landed = "SELECT string_agg(md5(full_row ->> 'name'), ' ' ORDER BY full_row -> 'id')
        FROM (SELECT DISTINCT ON (full_row -> 'id') full_row FROM bronze.item
            ORDER BY full_row -> 'id', lsn DESC, seq DESC) AS latest";
    assert_eq!(bench.target_value::<String>(landed).await, bench.source_value::<String>(hashes).await);
}
