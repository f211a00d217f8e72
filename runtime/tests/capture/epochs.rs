//! Where the stream has broken off, a resnapshot goes on above all that landed: only what differs lands, a delete
//! for what is gone, and what was there stays as it was. Killed anywhere, whoever comes next finishes it.

use std::process::Command;

use medallion_runtime::capture::Point;
use medallion_runtime::capture::readiness::{self, Readiness, Severity};
use medallion_runtime::capture::resnapshot::Differences;
use medallion_runtime::connection::{self, Database};
use medallion_runtime::descriptor::Name;
use medallion_server::Server;

use crate::bench::{At, Bench, Quiet, Stop, Writer, run};

const TABLES: &str = "
    CREATE TABLE item (id integer PRIMARY KEY, name text, price numeric);
    CREATE TABLE entry (id integer PRIMARY KEY, name text);
    INSERT INTO item SELECT n, 'old', n FROM generate_series(1, 100) AS n";

const CAPTURED: &[(&str, &[&str])] = &[("item", &["id"]), ("entry", &["id"])];

/// What nobody told bronze of: one row new, two changed (of which one as only its text tells), one gone.
const MISSED: &str = "
    INSERT INTO item VALUES (200, 'new', 1);
    UPDATE item SET name = 'changed' WHERE id = 1;
    UPDATE item SET price = 2.00 WHERE id = 2;
    DELETE FROM item WHERE id = 3";

fn differ(new: i64, changed: i64, gone: i64) -> Differences {
    Differences { new, changed, gone }
}

async fn bench(name: &str) -> Bench {
    let mut bench = Bench::new(name, TABLES, CAPTURED).await;
    bench.capture().await;
    bench.on_source("UPDATE item SET name = 'second' WHERE id <= 50; DELETE FROM item WHERE id = 100").await;
    bench.capture().await;
    bench
}

async fn lose_slot(bench: &mut Bench) {
    let slot = bench.warehouse.source.slot.clone();
    bench.on_source(&format!("SELECT pg_drop_replication_slot('{slot}')")).await;
}

/// All that has landed, to be found again.
async fn history(bench: &mut Bench) -> Vec<String> {
    let all = bench.all_landed();
    bench
        .target_value(&format!(
            "SELECT array_agg(concat_ws(' ', relation, lsn, seq, op, full_row, commit_ts) ORDER BY lsn, relation, seq)
            FROM ({all}) AS landed"
        ))
        .await
}

#[tokio::test]
async fn only_what_differs_lands_and_the_past_stays() {
    let mut bench = bench("epoch_lost").await;
    // What rows were long before says nothing of what they are: neither that one is so by now, nor that one is there.
    bench.land_late("item", 1, "{\"name\": \"changed\"}").await;
    bench.land_late("item", 100, "{}").await;
    let before = history(&mut bench).await;
    lose_slot(&mut bench).await;
    bench.on_source(MISSED).await;
    assert!(bench.error().await.contains("`medallion source resnapshot`"));

    let rehearsed = bench.rehearse().await;
    assert_eq!(rehearsed.differences[&Name::new("bronze", "item")], differ(1, 2, 1));
    assert_eq!(rehearsed.differences[&Name::new("bronze", "entry")], differ(0, 0, 0));
    assert!(!rehearsed.drops_slot);
    assert_eq!(history(&mut bench).await, before, "a rehearsal lands nothing");
    let slots = "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()";
    assert_eq!(bench.source_value::<i64>(slots).await, 0, "and makes nothing");

    assert_eq!(bench.resnapshot().await.differences, rehearsed.differences);
    bench.assert_fold().await;
    let after = history(&mut bench).await;
    assert_eq!(after[..before.len()], before);
    assert_eq!(after.len(), before.len() + 4);
    let offset: i64 = bench.target_value("SELECT lsn_offset FROM medallion.source_position").await;
    assert_eq!(offset, 0, "positions of the same source go on as they are");

    bench.on_source("DELETE FROM item WHERE id = 200; INSERT INTO entry VALUES (1, 'a')").await;
    assert_eq!(bench.capture().await.rows(), 2);
    bench.assert_fold().await;
    bench.assert_times().await;
}

#[tokio::test]
async fn killed_anywhere_the_next_run_finishes_it() {
    let mut bench = bench("epoch_killed").await;
    let before = history(&mut bench).await;
    lose_slot(&mut bench).await;
    let points = [Point::SlotAnnounced, Point::SlotCreated, Point::SnapshotTaken, Point::PastCopied];
    for (round, point) in points.into_iter().enumerate() {
        bench.on_source(&format!("UPDATE item SET name = 'missed {round}' WHERE id % 7 = {round}")).await;
        // By the command and by a run in turn.
        let stopped = match round % 2 {
            0 => bench.try_resnapshot(&mut Stop(point)).await.map(drop),
            _ => bench.capture_with(&mut Stop(point)).await.map(drop),
        };
        let error = stopped.expect_err("it stops").to_string();
        assert!(error.contains("stopped"), "{point:?}: {error}");
        assert_eq!(history(&mut bench).await, before, "{point:?}");
    }
    bench.capture().await;
    bench.assert_fold().await;
    let after = history(&mut bench).await;
    assert_eq!(after[..before.len()], before);
    bench.on_source("UPDATE item SET name = 'streamed' WHERE id = 9").await;
    assert_eq!(bench.capture().await.rows(), 1, "it streams again");

    // The past having landed, there is nothing to finish.
    lose_slot(&mut bench).await;
    bench.try_resnapshot(&mut Stop(Point::PastLanded)).await.expect_err("it stops");
    let landed = history(&mut bench).await;
    bench.capture().await;
    assert_eq!(history(&mut bench).await, landed);
    bench.assert_fold().await;
    bench.assert_times().await;
}

#[tokio::test]
async fn writers_at_work_while_it_lands_lose_nothing() {
    let mut bench = bench("epoch_busy").await;
    lose_slot(&mut bench).await;
    let (open, quick) = (Writer::new(&bench.source_url), Writer::new(&bench.source_url));
    let mut actions = At(|point| match point {
        Point::SlotCreated => {
            quick.run("UPDATE item SET name = 'before the snapshot' WHERE id = 1");
            open.run(
                "BEGIN; UPDATE item SET name = 'open' WHERE id = 2; INSERT INTO entry VALUES (1, 'open')",
            );
        }
        Point::SnapshotTaken => {
            quick
                .run("UPDATE item SET name = 'while it is read' WHERE id = 3; DELETE FROM item WHERE id = 4");
        }
        Point::PastLanded => open.run("COMMIT"),
        _ => {}
    });
    bench.try_resnapshot(&mut actions).await.expect("it can be asked");
    let captured = bench.capture().await;
    assert_eq!(captured.rows(), 4, "what the snapshot saw does not come again: {captured:?}");
    bench.assert_fold().await;
    bench.assert_times().await;
}

/// Dumped and restored, or moved by blue and green: the same rows behind the same URL, and positions that fall
/// back or leap ahead.
#[tokio::test]
async fn another_server_goes_on_above_what_landed() {
    let mut bench = bench("epoch_moved").await;
    let before = history(&mut bench).await;
    let old = bench.source_url.clone();
    let server = Server::scratch().expect("a server");
    server.ensure_database("epoch_moved_source").expect("a database");
    let url = server.url("epoch_moved_source");
    let mut moved = connection::connect(Database::Source, &url).await.expect("a session");
    run(&mut moved, TABLES).await;
    run(&mut moved, "UPDATE item SET name = 'second' WHERE id <= 50; DELETE FROM item WHERE id >= 99").await;

    bench.source_url.clone_from(&url);
    let error = bench.error().await;
    assert!(error.contains("another server") && error.contains("source resnapshot"), "{error}");
    // A slot of its name that came along is nobody's that could be told.
    run(&mut moved, "SELECT pg_create_logical_replication_slot('bench_epoch_moved', 'pgoutput')").await;
    let error = bench.try_resnapshot(&mut Quiet).await.expect_err("refused").to_string();
    assert!(error.contains("this warehouse has not made it"), "{error}");
    run(&mut moved, "SELECT pg_drop_replication_slot('bench_epoch_moved')").await;

    let differences = bench.resnapshot().await.differences;
    assert_eq!(differences[&Name::new("bronze", "item")], differ(0, 0, 1));
    let after = history(&mut bench).await;
    assert_eq!(after[..before.len()], before);
    assert_eq!(after.len(), before.len() + 1);
    run(&mut moved, "INSERT INTO entry VALUES (1, 'a'); UPDATE item SET name = 'third' WHERE id <= 20").await;
    assert_eq!(bench.capture().await.rows(), 21);
    std::mem::swap(&mut bench.source, &mut moved);
    bench.assert_fold().await;
    bench.assert_times().await;

    // And back: what the first one has become differs.
    std::mem::swap(&mut bench.source, &mut moved);
    bench.source_url = old;
    assert!(bench.error().await.contains("another server"));
    // The slot of the first time still stands there, and is this warehouse's own.
    assert!(bench.resnapshot().await.drops_slot);
    bench.on_source("DELETE FROM entry; DELETE FROM item WHERE id < 10").await;
    bench.capture().await;
    bench.assert_fold().await;
    bench.assert_times().await;
}

/// A source that is gone back to. What is known of it is that the slot there is as it was left: whatever others have
/// made of it meanwhile is theirs.
#[tokio::test]
async fn a_slot_that_was_left_is_known_again() {
    let mut bench = bench("epoch_back").await;
    let name = bench.warehouse.source.slot.clone();
    let (here, server) = (bench.source_url.clone(), Server::scratch().expect("a server"));
    server.ensure_database("epoch_back_source").expect("a database");
    let there = server.url("epoch_back_source");
    let mut moved = connection::connect(Database::Source, &there).await.expect("a session");
    run(&mut moved, TABLES).await;

    bench.source_url.clone_from(&there);
    let left = bench.rehearse().await.left.expect("another source was followed");
    assert_eq!(
        (left.database.as_str(), left.slots.as_slice()),
        ("epoch_back_source", [name.clone()].as_slice())
    );
    // Killed where it was only announced: what is left behind is known to who comes next, too.
    bench.try_resnapshot(&mut Stop(Point::SlotAnnounced)).await.expect_err("it stops");
    assert_eq!(bench.resnapshot().await.left, Some(left));
    assert_eq!(bench.rehearse().await.left, None, "it is followed now");

    let drop = format!("SELECT pg_drop_replication_slot('{name}')");
    let create = format!("SELECT pg_create_logical_replication_slot('{name}', 'pgoutput')");
    let read_on = format!("SELECT pg_replication_slot_advance('{name}', pg_current_wal_flush_lsn())");
    bench.on_source("UPDATE item SET name = 'written meanwhile'").await;
    let points = [Point::SlotAnnounced, Point::SlotCreated, Point::PastCopied];
    for (round, point) in points.into_iter().enumerate() {
        // Here, killed on the way, and there again, as often as one likes.
        bench.source_url.clone_from(&here);
        let readiness = check(&mut bench).await;
        assert!(
            readiness.facts.contains(&format!("slot `{name}` is as this warehouse left it: it is made anew"))
        );
        assert_eq!(stops(&readiness).len(), 1, "that it is another server: {readiness:?}");
        assert!(bench.rehearse().await.drops_slot);
        bench.try_resnapshot(&mut Stop(point)).await.expect_err("it stops");
        bench.capture().await;
        bench.on_source(&format!("INSERT INTO entry VALUES ({round}, 'streamed')")).await;
        assert_eq!(bench.capture().await.rows(), 1);
        bench.assert_fold().await;
        bench.source_url.clone_from(&there);
        assert!(bench.resnapshot().await.drops_slot, "as here");
    }

    bench.source_url.clone_from(&here);
    for (others, and) in [(read_on.as_str(), ""), (drop.as_str(), create.as_str())] {
        bench.on_source("UPDATE item SET name = 'written meanwhile, too'").await;
        bench.on_source(others).await;
        bench.on_source(and).await;
        let (slots, landed) = (slots(&mut bench).await, history(&mut bench).await);
        for error in [
            bench.try_rehearse().await.expect_err("refused").to_string(),
            bench.try_resnapshot(&mut Quiet).await.expect_err("refused").to_string(),
            stops(&check(&mut bench).await).join("\n"),
        ] {
            assert!(error.contains("others have made or read it since"), "{error}");
        }
        assert_eq!(self::slots(&mut bench).await, slots, "it is left alone");
        assert_eq!(history(&mut bench).await, landed);
    }
    bench.on_source(&drop).await;
    bench.resnapshot().await;
    bench.assert_fold().await;
    bench.assert_times().await;
}

/// What standbys of the source keep too, from PostgreSQL 17 on, they keep when it is made anew: wherever that is killed.
#[tokio::test]
async fn a_slot_that_standbys_keep_stays_one() {
    let mut bench = bench("epoch_failover").await;
    if bench.source_version().await < 17 {
        return;
    }
    let name = bench.warehouse.source.slot.clone();
    let is_kept = format!("SELECT failover FROM pg_replication_slots WHERE slot_name = '{name}'");
    bench.resnapshot().await;
    assert!(!bench.source_value::<bool>(&is_kept).await, "unasked, none is");
    lose_slot(&mut bench).await;
    let create = format!("SELECT pg_create_logical_replication_slot('{name}', 'pgoutput', failover => true)");
    bench.on_source(&create).await;
    bench.resnapshot().await;
    assert!(bench.source_value::<bool>(&is_kept).await);
    bench.try_resnapshot(&mut Stop(Point::SlotAnnounced)).await.expect_err("it stops");
    lose_slot(&mut bench).await;
    bench.capture().await;
    assert!(bench.source_value::<bool>(&is_kept).await, "as it was before it was killed");
    bench.assert_fold().await;
}

/// Databases of one server share the names of their slots.
#[tokio::test]
async fn another_database_of_the_server_takes_the_slot_along() {
    let mut bench = bench("epoch_beside").await;
    let here = bench.source_url.clone();
    let there = here.replace("epoch_beside_source", "epoch_beside_moved");
    Server::shared_scratch().expect("a server").ensure_database("epoch_beside_moved").expect("a database");
    let mut moved = connection::connect(Database::Source, &there).await.expect("a session");
    run(&mut moved, TABLES).await;
    for url in [&there, &here, &there] {
        bench.source_url.clone_from(url);
        // Killed before the slot is dropped that stands in the other database.
        bench.try_resnapshot(&mut Stop(Point::SlotAnnounced)).await.expect_err("it stops");
        let done = bench.resnapshot().await;
        assert!(done.drops_slot);
        assert_eq!(done.left.map(|left| left.slots), Some(vec![]), "the publication stays");
    }
    std::mem::swap(&mut bench.source, &mut moved);
    bench.on_source("DELETE FROM item WHERE id > 10").await;
    bench.capture().await;
    bench.assert_fold().await;
}

/// The slots of the bench's name, and where they stand.
async fn slots(bench: &mut Bench) -> Vec<String> {
    let name = bench.warehouse.source.slot.clone();
    bench
        .source_value(&format!(
            "SELECT array_agg(concat_ws(' ', slot_name, restart_lsn, confirmed_flush_lsn))
            FROM pg_replication_slots WHERE slot_name = '{name}'"
        ))
        .await
}

async fn check(bench: &mut Bench) -> Readiness {
    readiness::check(&bench.warehouse, &bench.source_url, Some(&mut bench.target))
        .await
        .expect("it can be asked")
}

fn stops(readiness: &Readiness) -> Vec<&str> {
    let stops = readiness.findings.iter().filter(|finding| finding.severity == Severity::Stops);
    stops.map(|finding| finding.what.as_str()).collect()
}

/// The server restored from a copy of its files, then one that has taken over: positions given twice, and a
/// history that branched off.
#[tokio::test]
async fn a_restored_or_promoted_source_is_refused_and_gone_on_from() {
    let server = Server::scratch().expect("a server");
    let warehouses = Server::shared_scratch().expect("a server");
    let mut bench = Bench::on(warehouses, &server, "epoch_restored", TABLES, CAPTURED).await;
    bench.capture().await;
    server.stop().expect("stopped");
    let data = server.data_directory().to_owned();
    let copy = data.with_extension("copy");
    let copied = |from: &std::path::Path, to: &std::path::Path| {
        let status = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp");
        assert!(status.success());
    };
    copied(&data, &copy);
    server.start().expect("started");
    bench.source = connection::connect(Database::Source, &bench.source_url).await.expect("a session");
    bench.on_source("UPDATE item SET name = 'lost later'; INSERT INTO entry VALUES (1, 'lost later')").await;
    bench.capture().await;
    let before = history(&mut bench).await;

    server.stop().expect("stopped");
    std::fs::remove_dir_all(&data).expect("removed");
    std::fs::rename(&copy, &data).expect("put back");
    server.start().expect("started");
    bench.source = connection::connect(Database::Source, &bench.source_url).await.expect("a session");
    let error = bench.error().await;
    assert!(error.contains("it was restored from before") && error.contains("source resnapshot"), "{error}");
    let differences = bench.resnapshot().await.differences;
    assert_eq!(differences[&Name::new("bronze", "item")], differ(0, 100, 0));
    assert_eq!(differences[&Name::new("bronze", "entry")], differ(0, 0, 1));
    let after = history(&mut bench).await;
    assert_eq!(after[..before.len()], before);
    bench.on_source("UPDATE item SET name = 'written again'").await;
    bench.capture().await;
    bench.assert_fold().await;
    bench.assert_times().await;

    server.stop().expect("stopped");
    std::fs::write(data.join("standby.signal"), "").expect("written");
    server.start().expect("started");
    bench.source = connection::connect(Database::Source, &bench.source_url).await.expect("a session");
    assert!(bench.error().await.contains("it is a standby"));
    bench.on_source("SELECT pg_promote()").await;
    let error = bench.error().await;
    assert!(
        error.contains("it is on timeline 2, the one captured so far is 1") && error.contains("resnapshot"),
        "{error}"
    );
    bench.on_source("DELETE FROM item WHERE id > 50").await;
    assert!(bench.resnapshot().await.drops_slot, "the slot came along");
    bench.on_source("DELETE FROM item WHERE id > 40").await;
    bench.capture().await;
    bench.assert_fold().await;
    bench.assert_times().await;
}

/// The warehouse as it was some time ago, from a backup.
#[tokio::test]
async fn a_restored_warehouse_is_refused_and_gone_on_with() {
    let mut bench = bench("epoch_backup").await;
    let server = Server::shared_scratch().expect("a server");
    let name = "epoch_backup_warehouse";
    let mut control =
        connection::connect(Database::Warehouse, &server.url("postgres")).await.expect("a session");
    let backup = server.url("postgres");
    bench.target = connection::connect(Database::Warehouse, &backup).await.expect("a session");
    run(&mut control, &format!("DROP DATABASE IF EXISTS {name}_backup")).await;
    run(&mut control, &format!("CREATE DATABASE {name}_backup TEMPLATE {name}")).await;
    bench.on_source(MISSED).await;
    bench.capture().await;
    run(&mut control, &format!("DROP DATABASE {name} WITH (FORCE)")).await;
    run(&mut control, &format!("ALTER DATABASE {name}_backup RENAME TO {name}")).await;
    bench.target = connection::connect(Database::Warehouse, &bench.target_url).await.expect("a session");

    let error = bench.error().await;
    assert!(error.contains("those between are gone") && error.contains("source resnapshot"), "{error}");
    let differences = bench.resnapshot().await.differences;
    assert_eq!(differences[&Name::new("bronze", "item")], differ(1, 2, 1));
    bench.on_source("DELETE FROM item WHERE id = 200").await;
    bench.capture().await;
    bench.assert_fold().await;
    bench.assert_times().await;
}

/// Another slot in the spec: bronze has changes, and nothing is known of how far the slot came with them.
#[tokio::test]
async fn another_slot_in_the_spec_goes_on_where_the_first_was() {
    let mut bench = bench("epoch_renamed").await;
    bench.warehouse.source.slot.push_str("_too");
    assert!(bench.error().await.contains("`medallion source resnapshot`"));
    bench.on_source(MISSED).await;
    let differences = bench.resnapshot().await.differences;
    assert_eq!(differences[&Name::new("bronze", "item")], differ(1, 2, 1));
    bench.on_source("DELETE FROM item").await;
    bench.capture().await;
    bench.assert_fold().await;
    bench.assert_times().await;
}

/// A row that `jsonb` refuses is kept aside, and not taken for gone.
#[tokio::test]
async fn what_cannot_land_is_not_gone() {
    let mut bench = Bench::new(
        "epoch_refused",
        "CREATE TABLE item (id integer PRIMARY KEY, body json)",
        &[("item", &["id"])],
    )
    .await;
    bench.on_source("INSERT INTO item VALUES (1, '1'), (2, '2')").await;
    bench.capture().await;
    lose_slot(&mut bench).await;
    bench.on_source(r#"UPDATE item SET body = '"\u0000"' WHERE id = 1; DELETE FROM item WHERE id = 2"#).await;
    let resnapshot = bench.resnapshot().await;
    assert_eq!(resnapshot.differences[&Name::new("bronze", "item")], differ(0, 0, 1));
    assert_eq!(resnapshot.findings.len(), 1, "{:?}", resnapshot.findings);
    bench.on_source("UPDATE item SET body = '3' WHERE id = 1").await;
    bench.capture().await;
    bench.assert_fold().await;
}

#[tokio::test]
async fn where_nothing_has_landed_there_is_nothing_to_go_on_from() {
    let mut bench = Bench::new("epoch_nothing", TABLES, CAPTURED).await;
    let error = bench.try_resnapshot(&mut Quiet).await.expect_err("refused").to_string();
    assert!(error.contains("nothing has landed yet") && error.contains("`medallion run`"), "{error}");
    bench.capture().await;
    bench.assert_fold().await;
}
