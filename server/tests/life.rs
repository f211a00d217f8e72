//! The life of a server that nothing goes wrong with.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod support;

use std::{ffi::OsString, fs, process::Stdio, thread};

use medallion_server::{Options, Server, Status};
use support::{Checkout, again, ask, assert_success, folder_of_again, psql, server_of};

#[test]
fn starts_stops_and_starts_with_its_data() {
    let checkout = Checkout::new();
    assert_eq!(checkout.status().unwrap(), Status::NeverMade);
    checkout.stop().unwrap();
    assert_eq!(checkout.status().unwrap(), Status::NeverMade);

    checkout.start().unwrap();
    let pid = checkout.pid();
    checkout.start().unwrap();
    assert_eq!(checkout.pid(), pid, "a second start changes nothing");
    assert_eq!(ask(&checkout, "SHOW wal_level"), "logical");
    assert_eq!(ask(&checkout, "SHOW listen_addresses"), "");
    assert_eq!(ask(&checkout, "SHOW server_encoding"), "UTF8");
    assert_eq!(ask(&checkout, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"), "t");
    ask(&checkout, "CREATE TABLE kept AS SELECT 42 AS answer");

    checkout.stop().unwrap();
    assert_eq!(checkout.status().unwrap(), Status::Stopped);
    checkout.stop().unwrap();
    checkout.start().unwrap();
    assert_eq!(ask(&checkout, "SELECT answer FROM kept"), "42");
    let names = fs::read_dir(checkout.path().join(".medallion")).unwrap();
    let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, [".gitignore", "postgres", "postgres.lock"]);
}

#[test]
fn a_durable_server_forces_to_disk_and_bounds_its_log() {
    let folder = tempfile::Builder::new().tempdir().unwrap();
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let server = Server::of_checkout_with(folder.path(), Options::default()).unwrap();
    server.start().unwrap();
    assert_eq!(ask(&server, "SHOW fsync"), "on");
    assert_eq!(ask(&server, "SHOW log_truncate_on_rotation"), "on");
    let log = server.log_file();
    assert!(log.is_file(), "{}", log.display());
    assert!(fs::read_to_string(&log).unwrap().contains("ready to accept connections"));
    server.stop().unwrap();
}

#[test]
fn two_checkouts_live_side_by_side() {
    let (left, right) = (Checkout::new(), Checkout::new());
    left.start().unwrap();
    right.start().unwrap();
    assert_ne!(left.pid(), right.pid());
    assert_ne!(left.url("postgres"), right.url("postgres"));
    left.ensure_database("only_left").unwrap();
    let sql = "SELECT count(*) FROM pg_database WHERE datname = 'only_left'";
    assert_eq!(ask(&left, sql), "1");
    assert_eq!(ask(&right, sql), "0");
    left.stop().unwrap();
    assert_eq!(ask(&right, "SELECT 1"), "1");
}

#[test]
fn every_folder_of_a_checkout_means_the_same_server() {
    let checkout = Checkout::new();
    let deep = checkout.path().join("src/deep");
    fs::create_dir_all(&deep).unwrap();
    assert_eq!(server_of(&deep).unwrap().data_directory(), checkout.data_directory());

    let workspace = tempfile::tempdir().unwrap();
    let member = workspace.path().join("member");
    fs::create_dir(&member).unwrap();
    fs::write(workspace.path().join("Cargo.toml"), "[workspace]\nmembers = [\"member\"]\n").unwrap();
    fs::write(member.join("Cargo.toml"), "[package]\nname = \"member\"\n").unwrap();
    fs::set_permissions(workspace.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let server = server_of(&member).unwrap();
    assert!(server.data_directory().starts_with(workspace.path().canonicalize().unwrap().join(".medallion")));
}

#[test]
fn databases_come_and_go_under_any_name() {
    let checkout = Checkout::named("it's a \"path\" with $HOME `id` and ü, ");
    checkout.start().unwrap();
    for name in ["warehouse", "Größe; DROP DATABASE \"postgres\" --", "a'b\"c\\d", "%41 &x=?#/"] {
        checkout.ensure_database(name).unwrap();
        checkout.ensure_database(name).unwrap();
        let answer = psql(&checkout.url(name), "SELECT current_database()").output().unwrap();
        assert_success(&answer);
        assert_eq!(String::from_utf8_lossy(&answer.stdout).trim_end(), name);
        checkout.drop_database(name).unwrap();
        checkout.drop_database(name).unwrap();
    }
    assert!(checkout.ensure_database("").is_err());
    assert!(checkout.ensure_database(&"x".repeat(64)).is_err());
    assert_eq!(ask(&checkout, "SELECT count(*) FROM pg_database"), "3");
}

#[test]
fn a_database_in_use_is_dropped() {
    let checkout = Checkout::new();
    checkout.start().unwrap();
    checkout.ensure_database("busy").unwrap();
    let slot = "SELECT pg_create_logical_replication_slot('slot', 'pgoutput')";
    assert_success(&psql(&checkout.url("busy"), slot).output().unwrap());
    let mut session =
        psql(&checkout.url("busy"), "SELECT pg_sleep(600)").stderr(Stdio::null()).spawn().unwrap();
    support::wait_until("the session is there", || {
        ask(&checkout, "SELECT count(*) FROM pg_stat_activity WHERE datname = 'busy'") == "1"
    });
    checkout.drop_database("busy").unwrap();
    assert!(!session.wait().unwrap().success());
    assert_eq!(ask(&checkout, "SELECT count(*) FROM pg_replication_slots"), "0");
}

#[test]
fn psql_says_how_it_ended() {
    let checkout = Checkout::new();
    checkout.start().unwrap();
    let arguments = |sql: &str| ["-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", sql].map(OsString::from);
    assert!(checkout.psql("postgres", &arguments("CREATE TABLE made ()")).unwrap().success());
    assert!(!checkout.psql("postgres", &arguments("SELECT 1/0")).unwrap().success());
    assert_eq!(ask(&checkout, "SELECT count(*) FROM made"), "0");
}

#[test]
fn concurrent_starts_and_databases_end_in_one_server() {
    let checkout = Checkout::new();
    let others: Vec<_> = (0..3)
        .map(|_| again("start_in_another_process", checkout.path()).stdout(Stdio::null()).spawn().unwrap())
        .collect();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let server = server_of(checkout.path()).unwrap();
                server.start().unwrap();
                server.ensure_database("shared").unwrap();
            });
        }
    });
    for mut other in others {
        assert!(other.wait().unwrap().success());
    }
    assert_eq!(ask(&checkout, "SELECT count(*) FROM pg_database WHERE datname = 'shared'"), "1");
}

#[test]
fn start_in_another_process() {
    let Some(folder) = folder_of_again() else { return };
    let server = server_of(&folder).unwrap();
    server.start().unwrap();
    server.ensure_database("shared").unwrap();
    assert_eq!(ask(&server, "SELECT 1"), "1");
}
