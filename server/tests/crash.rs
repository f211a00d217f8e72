//! Whatever is killed, deleted, copied or moved: the next start works, and on the right data.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod support;

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use medallion_server::{Server, Status};
use support::{
    Checkout, again, ask, folder_of_again, is_alive, kill, leads_a_session, pid_of, psql, server_of,
    wait_until,
};

#[test]
fn a_killed_postmaster_is_followed_by_another() {
    let checkout = Checkout::new();
    checkout.start().unwrap();
    ask(&checkout, "CREATE TABLE kept AS SELECT 42 AS answer");
    let pid = checkout.pid();
    kill(pid);
    assert_eq!(checkout.status().unwrap(), Status::Stopped);
    checkout.start().unwrap();
    assert_ne!(checkout.pid(), pid);
    assert_eq!(ask(&checkout, "SELECT answer FROM kept"), "42");

    let folder = ask(&checkout, "SHOW unix_socket_directories");
    kill(checkout.pid());
    checkout.stop().unwrap();
    assert!(!Path::new(folder.trim_matches('"')).exists(), "the socket's folder goes too");
}

#[test]
fn a_backend_that_outlives_its_postmaster_is_ended() {
    let checkout = Checkout::new();
    checkout.start().unwrap();
    // Computes without ever waiting, so it does not notice that the postmaster is gone.
    let busy = "SELECT count(*) FROM generate_series(1, 100000000000) AS a(n) WHERE n < 0";
    let mut session = psql(&checkout.url("postgres"), busy).stderr(Stdio::null()).spawn().unwrap();
    let find = "SELECT coalesce(max(pid), 0) FROM pg_stat_activity WHERE query LIKE '%generate_series%' AND pid <> pg_backend_pid()";
    wait_until("the session computes", || ask(&checkout, find) != "0");
    let backend: u32 = ask(&checkout, find).parse().unwrap();
    kill(checkout.pid());
    checkout.start().unwrap();
    assert!(!is_alive(backend));
    assert!(!session.wait().unwrap().success());
    assert_eq!(ask(&checkout, "SELECT 1"), "1");
}

#[test]
fn a_killed_backend_is_survived() {
    let checkout = Checkout::new();
    checkout.start().unwrap();
    let mut session =
        psql(&checkout.url("postgres"), "SELECT pg_sleep(600)").stderr(Stdio::null()).spawn().unwrap();
    let find = "SELECT coalesce(max(pid), 0) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()";
    wait_until("the session sleeps", || ask(&checkout, find) != "0");
    let pid = checkout.pid();
    kill(ask(&checkout, find).parse().unwrap());
    assert!(!session.wait().unwrap().success());
    checkout.start().unwrap();
    wait_until("the server has recovered", || {
        psql(&checkout.url("postgres"), "SELECT 1").output().unwrap().status.success()
    });
    assert_eq!(checkout.pid(), pid);
}

#[test]
fn an_immediate_stop_is_recovered_from() {
    let checkout = Checkout::new();
    checkout.start().unwrap();
    ask(&checkout, "CREATE TABLE kept AS SELECT 42 AS answer");
    checkout.stop_immediate().unwrap();
    assert_eq!(checkout.status().unwrap(), Status::Stopped);
    checkout.start().unwrap();
    assert_eq!(ask(&checkout, "SELECT answer FROM kept"), "42");
}

#[test]
fn a_process_that_got_the_id_of_the_postmaster_is_left_alone() {
    let checkout = Checkout::new();
    checkout.start().unwrap();
    let pid = checkout.pid();
    let pid_file = checkout.data_directory().join("postmaster.pid");
    let written = fs::read_to_string(&pid_file).unwrap();
    checkout.stop_immediate().unwrap();
    // Another server of the same user, so that PostgreSQL itself would refuse to start.
    let other = Checkout::new();
    other.start().unwrap();
    fs::write(&pid_file, written.replacen(&pid.to_string(), &other.pid().to_string(), 1)).unwrap();
    fs::set_permissions(&pid_file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();

    assert_eq!(checkout.status().unwrap(), Status::Stopped);
    let before = other.pid();
    checkout.stop().unwrap();
    checkout.start().unwrap();
    assert_eq!(other.pid(), before);
    assert_eq!(ask(&other, "SELECT 1"), "1");
    assert_eq!(ask(&checkout, "SELECT 1"), "1");
}

#[test]
fn an_unreadable_pid_file_is_stale() {
    let checkout = Checkout::new();
    checkout.start().unwrap();
    checkout.stop().unwrap();
    fs::write(checkout.data_directory().join("postmaster.pid"), "").unwrap();
    checkout.start().unwrap();
    assert_eq!(ask(&checkout, "SELECT 1"), "1");
}

#[test]
fn a_socket_folder_that_was_emptied_is_made_anew() {
    let checkout = Checkout::new();
    checkout.start().unwrap();
    let folder = ask(&checkout, "SHOW unix_socket_directories");
    fs::remove_dir_all(folder.trim_matches('"')).unwrap();
    checkout.start().unwrap();
    assert_eq!(ask(&checkout, "SELECT 1"), "1");
}

#[test]
fn a_socket_folder_that_a_killed_starter_had_not_handed_over_is_used() {
    let checkout = Checkout::new();
    checkout.start().unwrap();
    let folder = ask(&checkout, "SHOW unix_socket_directories");
    checkout.stop().unwrap();
    // As root it is root's, and the server runs as somebody else; as an ordinary user it is just there.
    fs::create_dir(folder.trim_matches('"')).unwrap();
    checkout.start().unwrap();
    assert_eq!(ask(&checkout, "SELECT 1"), "1");
}

#[test]
fn a_folder_deleted_under_a_running_server_starts_afresh() {
    let checkout = Checkout::new();
    checkout.start().unwrap();
    let pid = checkout.pid();
    fs::remove_dir_all(checkout.path().join(".medallion")).unwrap();
    assert_eq!(checkout.status().unwrap(), Status::NeverMade);
    checkout.start().unwrap();
    wait_until("the server of the deleted folder is gone", || !is_alive(pid));
    assert_eq!(ask(&checkout, "SELECT 1"), "1");

    let pid = checkout.pid();
    fs::remove_dir_all(checkout.path().join(".medallion")).unwrap();
    checkout.stop().unwrap();
    wait_until("the server of the deleted folder is gone", || !is_alive(pid));
    assert!(!checkout.path().join(".medallion").exists());
}

#[test]
fn a_copy_of_a_checkout_is_another_server_and_a_moved_one_the_same() {
    let checkout = Checkout::new();
    let (first, second, third) =
        (checkout.path().join("first"), checkout.path().join("second"), checkout.path().join("third"));
    fs::create_dir_all(first.join(".git")).unwrap();
    let original = server_of(&first).unwrap();
    original.start().unwrap();
    let pid = pid_of(&original);

    copy(&first, &second);
    let copied = server_of(&second).unwrap();
    assert_eq!(copied.status().unwrap(), Status::Stopped);
    copied.start().unwrap();
    assert_ne!(pid_of(&copied), pid);
    copied.stop().unwrap();
    assert_eq!(pid_of(&original), pid);

    fs::rename(&first, &third).unwrap();
    let moved = server_of(&third).unwrap();
    assert_eq!(pid_of(&moved), pid);
    moved.start().unwrap();
    assert_eq!(pid_of(&moved), pid);
    assert_eq!(ask(&moved, "SELECT 1"), "1");
    moved.stop().unwrap();
    moved.start().unwrap();
    assert_eq!(ask(&moved, "SELECT 1"), "1");
    moved.stop().unwrap();
}

#[test]
fn a_killed_starter_leaves_nothing_half_made() {
    let checkout = Checkout::new();
    let home = checkout.path().join(".medallion");
    let is_making = |name: &str| {
        let entries = fs::read_dir(&home).into_iter().flatten().flatten();
        entries
            .filter(|entry| entry.file_name().to_string_lossy().contains("unfinished"))
            .any(|entry| entry.path().join(name).exists())
    };
    let moments: [(&str, &dyn Fn() -> bool); 5] = [
        ("the folder is made", &|| is_making("")),
        ("the configuration is written", &|| is_making("postgresql.conf")),
        ("the databases are written", &|| is_making("base/5")),
        ("the data are in place", &|| home.join("postgres").exists()),
        ("the postmaster starts", &|| home.join("postgres/postmaster.pid").exists()),
    ];
    for (moment, has_come) in moments {
        let mut starter = again("start_to_be_killed", checkout.path()).stdout(Stdio::null()).spawn().unwrap();
        wait_until(moment, has_come);
        // Whoever was faster than the signal has started a server, which is as good.
        let _ = starter.kill();
        starter.wait().unwrap();
        checkout.start().unwrap();
        assert_eq!(ask(&checkout, "SELECT 1"), "1", "killed once {moment}");
        checkout.stop_immediate().unwrap();
        fs::remove_dir_all(checkout.data_directory()).unwrap();
    }
}

#[test]
fn start_to_be_killed() {
    let Some(folder) = folder_of_again() else { return };
    server_of(&folder).unwrap().start().unwrap();
}

#[test]
fn the_server_outlives_who_started_it() {
    let checkout = Checkout::new();
    let mut starter = again("start_to_be_killed", checkout.path()).stdout(Stdio::null()).spawn().unwrap();
    assert!(starter.wait().unwrap().success());
    let pid = checkout.pid();
    assert!(leads_a_session(pid));
    assert_eq!(ask(&checkout, "SELECT 1"), "1");
}

fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(done.success());
}

#[test]
fn handles_of_one_server_agree() {
    let checkout = Checkout::new();
    let other: Server = server_of(checkout.path()).unwrap();
    checkout.start().unwrap();
    assert_eq!(pid_of(&other), checkout.pid());
    other.stop().unwrap();
    assert_eq!(checkout.status().unwrap(), Status::Stopped);
}
