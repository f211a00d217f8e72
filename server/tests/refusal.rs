//! What cannot work is refused with one clear message, and leaves nothing behind.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod support;

use std::{
    env, fs,
    fs::Permissions,
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use medallion_server::{Error, Options, Server, Status};
use support::{
    Checkout, again, ask, assert_success, folder_of_again, is_root, not_tested, ordinary_user, quick,
    server_of,
};

#[test]
fn a_socket_folder_of_somebody_else_is_refused() {
    let checkout = Checkout::new();
    checkout.start().unwrap();
    let folder = PathBuf::from(ask(&checkout, "SHOW unix_socket_directories").trim_matches('"'));
    checkout.stop().unwrap();
    assert!(!folder.exists(), "a stopped server has none");

    symlink("/tmp", &folder).unwrap();
    let refused = checkout.start().unwrap_err();
    assert!(matches!(refused, Error::SocketFolder { .. }), "{refused}");
    assert!(refused.to_string().contains(&*folder.to_string_lossy()), "{refused}");
    fs::remove_file(&folder).unwrap();

    if is_root() {
        let (uid, gid) = ordinary_user();
        fs::create_dir(&folder).unwrap();
        chown(&folder, Some(uid), Some(gid)).unwrap();
        let refused = checkout.start().unwrap_err();
        assert!(refused.to_string().contains(&format!("belongs to user id {uid}")), "{refused}");
        fs::remove_dir(&folder).unwrap();
    } else {
        not_tested("a socket folder that belongs to somebody else");
    }
    assert_eq!(checkout.status().unwrap(), Status::Stopped);
    checkout.start().unwrap();
}

#[test]
fn a_socket_path_that_is_too_long_is_refused() {
    let folder = open_folder();
    let base = folder.path().join("x".repeat(100));
    fs::create_dir(&base).unwrap();
    let options = Options { socket_base: Some(base), ..quick() };
    let server = Server::of_checkout_with(folder.path(), options).unwrap();
    let refused = server.start().unwrap_err();
    assert!(matches!(refused, Error::SocketPathTooLong { limit: 103 | 107, .. }), "{refused}");
    assert!(refused.to_string().contains("MEDALLION_SOCKET_DIR"), "{refused}");
}

#[test]
fn a_folder_without_the_programs_is_refused() {
    let folder = open_folder();
    let options = Options { binaries: Some(folder.path().join("nothing")), ..quick() };
    let server = Server::of_checkout_with(folder.path(), options).unwrap();
    let refused = server.start().unwrap_err().to_string();
    assert!(refused.contains("no `initdb` there"), "{refused}");
    assert!(refused.contains("MEDALLION_POSTGRES_BIN"), "{refused}");
    assert_eq!(server.status().unwrap(), Status::NeverMade);
}

#[test]
fn an_old_version_is_refused_by_name_and_passed_over_in_the_search() {
    let folder = open_folder();
    let old = programs(&folder.path().join("old"), "13.4");
    let options = Options { binaries: Some(old.clone()), ..quick() };
    let refused = Server::of_checkout_with(folder.path(), options).unwrap().start().unwrap_err();
    assert!(refused.to_string().contains("(version 13)"), "{refused}");

    let path = env::join_paths([old.as_path(), Path::new("/usr/bin"), Path::new("/bin")]).unwrap();
    let output = again("start_with_what_the_search_finds", folder.path()).env("PATH", path).output().unwrap();
    assert_success(&output);
}

#[test]
fn start_with_what_the_search_finds() {
    let Some(folder) = folder_of_again() else { return };
    let server = server_of(&folder).unwrap();
    server.start().unwrap();
    assert_eq!(server.status().map(|status| matches!(status, Status::Running { .. })).ok(), Some(true));
    server.stop().unwrap();
}

#[test]
fn data_of_another_major_version_are_kept() {
    let checkout = Checkout::new();
    checkout.start().unwrap();
    checkout.stop().unwrap();
    let version = checkout.data_directory().join("PG_VERSION");
    let made_by = fs::read_to_string(&version).unwrap();
    fs::write(&version, "99\n").unwrap();
    let refused = checkout.start().unwrap_err().to_string();
    assert!(refused.contains("made by PostgreSQL 99"), "{refused}");
    assert!(refused.contains(&format!("(found {} in", made_by.trim())), "{refused}");
    fs::write(&version, made_by).unwrap();
    checkout.start().unwrap();
}

#[test]
fn a_folder_that_holds_something_else_is_left_alone() {
    let checkout = Checkout::new();
    let data = checkout.data_directory();
    fs::create_dir_all(data).unwrap();
    if is_root() {
        let (uid, gid) = ordinary_user();
        chown(data, Some(uid), Some(gid)).unwrap();
    }
    fs::write(data.join("thesis.txt"), "years of work").unwrap();
    let server = server_of(checkout.path()).unwrap();
    let refused = server.start().unwrap_err();
    assert!(matches!(refused, Error::NoDataFolder { .. }), "{refused}");
    assert!(data.join("thesis.txt").exists());
    fs::remove_file(data.join("thesis.txt")).unwrap();
    server.start().unwrap();
    server.stop().unwrap();
}

#[test]
fn a_setting_that_does_not_work_is_named() {
    let checkout = Checkout::new();
    checkout.start().unwrap();
    ask(&checkout, "ALTER SYSTEM SET shared_preload_libraries = 'no_such_library'");
    checkout.stop().unwrap();
    let refused = checkout.start().unwrap_err();
    assert!(matches!(refused, Error::DidNotStart { .. }), "{refused}");
    assert!(refused.to_string().contains("no_such_library"), "{refused}");
    fs::remove_file(checkout.data_directory().join("postgresql.auto.conf")).unwrap();
    checkout.start().unwrap();
}

#[test]
fn databases_of_a_stopped_server_are_refused() {
    let checkout = Checkout::new();
    let refused = checkout.ensure_database("x").unwrap_err();
    assert!(matches!(refused, Error::Database { .. }), "{refused}");
    assert!(refused.to_string().contains("medallion db"), "{refused}");
}

#[test]
fn without_postgresql_the_package_is_named() {
    in_private_mounts(
        "nothing_is_installed",
        "for folder in /usr/lib/postgresql /usr/pgsql-*; do test ! -d $folder || mount -t tmpfs none $folder; done",
    );
}

#[test]
fn nothing_is_installed() {
    let Some(folder) = folder_of_again() else { return };
    let server = server_of(&folder).unwrap();
    let refused = server.start().unwrap_err();
    assert!(matches!(refused, Error::NotInstalled | Error::NoneWillDo { .. }), "{refused}");
    for package in ["apt-get install postgresql", "dnf install", "brew install"] {
        assert!(refused.to_string().contains(package), "{refused}");
    }
    assert_eq!(server.status().unwrap(), Status::NeverMade);
}

#[test]
fn a_full_disk_is_named_and_recovered_from() {
    in_private_mounts(
        "start_on_full_disks",
        "mkdir small large socket inodes && mount -t tmpfs -o size=8m,mode=755 none small \
         && mount -t tmpfs -o size=96m,mode=755 none large && mount -t tmpfs -o size=32k none socket \
         && mount -t tmpfs -o nr_inodes=1 none inodes",
    );
}

#[test]
fn start_on_full_disks() {
    let Some(folder) = folder_of_again() else { return };

    let server = server_of(&folder.join("small")).unwrap();
    assert_full(server.start(), &folder.join("small"), false);
    assert_eq!(server.status().unwrap(), Status::NeverMade);
    let mut left: Vec<_> = fs::read_dir(folder.join("small/.medallion"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, [".gitignore", "postgres.lock"]);

    let full_after_use = server_of(&folder.join("large")).unwrap();
    full_after_use.start().unwrap();
    full_after_use.stop().unwrap();
    // What a start deletes first would be room for what it writes next.
    for name in ["start.log", "pg_stat/pgstat.stat"] {
        fs::remove_file(full_after_use.data_directory().join(name)).unwrap();
    }
    fill(&folder.join("large/filler"));
    assert_full(full_after_use.start(), &folder.join("large"), false);
    assert_eq!(full_after_use.status().unwrap(), Status::Stopped);
    fs::remove_file(folder.join("large/filler")).unwrap();
    full_after_use.start().unwrap();
    full_after_use.stop().unwrap();

    for base in ["socket", "inodes"] {
        let base = folder.join(base);
        fill(&base.join("filler"));
        let options = Options { socket_base: Some(base.clone()), ..quick() };
        let server = Server::of_checkout_with(&folder.join("large"), options).unwrap();
        assert_full(server.start(), &base, true);
        assert_eq!(server.status().unwrap(), Status::Stopped);
    }
    fs::remove_file(folder.join("socket/filler")).unwrap();
    let options = Options { socket_base: Some(folder.join("socket")), ..quick() };
    let server = Server::of_checkout_with(&folder.join("large"), options).unwrap();
    server.start().unwrap();
    assert_eq!(ask(&server, "SELECT 1"), "1");
    server.stop().unwrap();
}

fn assert_full(outcome: Result<(), Error>, below: &Path, of_socket: bool) {
    let refused = outcome.unwrap_err();
    assert!(
        matches!(&refused, Error::DiskFull { path, socket, .. } if path.starts_with(below) && *socket == of_socket),
        "{refused}"
    );
    assert_eq!(refused.to_string().lines().count(), 2, "{refused}");
}

/// Takes all that is left of a disk; the last write fails.
fn fill(file: &Path) {
    let _ = fs::write(file, vec![0; 200 * 1024 * 1024]);
}

/// Runs a test again where mounts can be made that nobody else sees; only root can.
fn in_private_mounts(test: &str, mount: &str) {
    let folder = open_folder();
    let possible = is_root()
        && Command::new("unshare")
            .args(["-m", "mount", "-t", "tmpfs", "none"])
            .arg(folder.path())
            .output()
            .is_ok_and(|output| output.status.success());
    if !possible {
        not_tested(test);
        return;
    }
    let program = again(test, folder.path());
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c", &format!("set -e; cd \"$1\"; {mount}; shift; exec \"$@\""), "sh"])
        .arg(folder.path())
        .arg(program.get_program())
        .args(program.get_args())
        .envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .output()
        .unwrap();
    assert_success(&output);
}

/// A folder that every user can enter.
fn open_folder() -> tempfile::TempDir {
    tempfile::Builder::new().permissions(Permissions::from_mode(0o755)).tempdir().unwrap()
}

/// Programs that know their version and nothing else.
fn programs(folder: &Path, version: &str) -> PathBuf {
    fs::create_dir(folder).unwrap();
    for name in ["initdb", "pg_ctl", "postgres"] {
        // Not by this process: a program that any process has open for writing cannot be run.
        let text = format!("#!/bin/sh\necho '{name} (PostgreSQL) {version}'\n");
        let written = Command::new("sh")
            .args(["-c", "printf %s \"$1\" > \"$2\" && chmod 755 \"$2\"", "sh", &text])
            .arg(folder.join(name))
            .status()
            .unwrap();
        assert!(written.success());
    }
    folder.to_owned()
}
