//! Scratch servers go when their owner goes, however it goes.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use medallion_server::Server;
use support::{again, ask, folder_of_again, is_alive, kill, pid_of, processes, wait_until};

#[test]
fn a_dropped_scratch_server_leaves_nothing() {
    let scratch = Server::scratch().unwrap();
    assert_eq!(ask(&scratch, "SHOW fsync"), "off");
    assert_eq!(ask(&scratch, "SHOW synchronous_commit"), "on");
    let (pid, data) = (pid_of(&scratch), scratch.data_directory().to_owned());
    let socket_folder = PathBuf::from(ask(&scratch, "SHOW unix_socket_directories").trim_matches('"'));
    let other = Server::scratch().unwrap();
    drop(scratch);
    assert!(!is_alive(pid));
    assert!(!data.parent().unwrap().exists());
    assert!(!socket_folder.exists());
    assert_eq!(ask(&other, "SELECT 1"), "1");
}

#[test]
fn a_scratch_server_can_be_stopped_and_started() {
    let scratch = Server::scratch().unwrap();
    ask(&scratch, "CREATE TABLE kept AS SELECT 42 AS answer");
    scratch.stop_immediate().unwrap();
    scratch.start().unwrap();
    assert_eq!(ask(&scratch, "SELECT answer FROM kept"), "42");
}

#[test]
fn the_shared_server_is_one() {
    let first = Server::shared_scratch().unwrap();
    let second = Server::shared_scratch().unwrap();
    first.ensure_database("the_shared_server_is_one").unwrap();
    assert_eq!(first.url("x"), second.url("x"));
    assert_eq!(pid_of(first), pid_of(second));
}

#[test]
fn the_shared_server_ends_with_its_process() {
    let folder = tempfile::tempdir().unwrap();
    let mut owner = again("own_a_shared_server", folder.path()).stdout(Stdio::null()).spawn().unwrap();
    assert!(owner.wait().unwrap().success());
    let (pid, data) = noted(folder.path()).unwrap();
    assert_gone(pid, &data);
}

#[test]
fn the_shared_server_ends_with_its_killed_process() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("stay"), "").unwrap();
    let mut owner = again("own_a_shared_server", folder.path()).stdout(Stdio::null()).spawn().unwrap();
    wait_until("the server runs", || noted(folder.path()).is_some());
    owner.kill().unwrap();
    owner.wait().unwrap();
    let (pid, data) = noted(folder.path()).unwrap();
    assert_gone(pid, &data);
}

#[test]
fn what_outlived_owner_and_guardian_is_cleared_by_the_next() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("stay"), "").unwrap();
    let mut owner = again("own_a_shared_server", folder.path()).stdout(Stdio::null()).spawn().unwrap();
    wait_until("the server runs", || noted(folder.path()).is_some());
    let (pid, data) = noted(folder.path()).unwrap();
    let home = data.parent().unwrap().to_string_lossy().into_owned();
    let (guardian, _) = processes()
        .into_iter()
        .find(|(_, command)| command.contains(&format!("medallion-guardian {home}")))
        .unwrap();
    kill(guardian);
    owner.kill().unwrap();
    owner.wait().unwrap();
    assert!(is_alive(pid));
    let next = Server::scratch().unwrap();
    assert_gone(pid, &data);
    drop(next);
}

#[test]
fn own_a_shared_server() {
    let Some(folder) = folder_of_again() else { return };
    let server = Server::shared_scratch().unwrap();
    let note = format!("{}\n{}", pid_of(server), server.data_directory().display());
    fs::write(folder.join("note.new"), note).unwrap();
    fs::rename(folder.join("note.new"), folder.join("note")).unwrap();
    if folder.join("stay").exists() {
        wait_until("the end comes", || false);
    }
}

fn noted(folder: &Path) -> Option<(u32, PathBuf)> {
    let note = fs::read_to_string(folder.join("note")).ok()?;
    let (pid, data) = note.split_once('\n')?;
    Some((pid.parse().ok()?, PathBuf::from(data)))
}

fn assert_gone(pid: u32, data: &Path) {
    wait_until("server and folder are gone", || !is_alive(pid) && !data.parent().unwrap().exists());
}
