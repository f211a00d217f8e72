//! The server as root, who may not run PostgreSQL, and as an ordinary user.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod support;

use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
};

use medallion_server::{Error, Server, Status};
use support::{
    Checkout, again_as_ordinary_user, ask, assert_success, folder_of_again, is_root, not_tested,
    ordinary_user, pid_of, server_of,
};

#[test]
fn data_and_socket_are_their_users_alone() {
    let checkout = Checkout::new();
    checkout.start().unwrap();
    let data = fs::metadata(checkout.data_directory()).unwrap();
    let socket_folder = ask(&checkout, "SHOW unix_socket_directories");
    let socket = fs::metadata(socket_folder.trim_matches('"')).unwrap();
    assert_eq!((data.mode() & 0o777, socket.mode() & 0o777), (0o700, 0o700));
    assert_eq!(data.uid(), socket.uid());
    assert_ne!(data.uid(), 0, "never root's");
    let process = fs::metadata(format!("/proc/{}", checkout.pid()));
    assert!(process.is_err() || process.unwrap().uid() == data.uid());
}

#[test]
fn an_ordinary_user_has_a_server_that_root_can_use_and_others_cannot() {
    if !is_root() {
        not_tested("sharing a server with root");
        return;
    }
    let folder = tempfile::Builder::new().permissions(Permissions::from_mode(0o755)).tempdir().unwrap();
    assert_success(&again_as_ordinary_user("start_as_ordinary_user", folder.path()).output().unwrap());

    let server = server_of(folder.path()).unwrap();
    let pid = pid_of(&server);
    server.start().unwrap();
    assert_eq!(pid_of(&server), pid);
    assert_eq!(ask(&server, "SELECT answer FROM kept"), "42");
    server.stop().unwrap();
    server.start().unwrap();
    assert_eq!(ask(&server, "SELECT answer FROM kept"), "42");
    assert_eq!(fs::metadata(server.data_directory()).unwrap().uid(), ordinary_user().0);
    assert_success(&again_as_ordinary_user("stop_as_ordinary_user", folder.path()).output().unwrap());
    assert_eq!(server.status().unwrap(), Status::Stopped);
}

#[test]
fn start_as_ordinary_user() {
    let Some(folder) = folder_of_again() else { return };
    assert!(!is_root());
    let server = server_of(&folder).unwrap();
    server.start().unwrap();
    assert_eq!(ask(&server, "SELECT current_user"), "medallion");
    ask(&server, "CREATE TABLE kept AS SELECT 42 AS answer");
    let scratch = Server::scratch().unwrap();
    assert_eq!(ask(&scratch, "SELECT 1"), "1");
}

#[test]
fn stop_as_ordinary_user() {
    let Some(folder) = folder_of_again() else { return };
    let server = server_of(&folder).unwrap();
    assert_eq!(ask(&server, "SELECT answer FROM kept"), "42");
    server.stop().unwrap();
}

#[test]
fn the_server_of_root_is_refused_to_others() {
    if !is_root() {
        not_tested("a server of root's");
        return;
    }
    let checkout = Checkout::new();
    checkout.start().unwrap();
    assert_success(&again_as_ordinary_user("refused_what_is_roots", checkout.path()).output().unwrap());
    assert!(matches!(checkout.status().unwrap(), Status::Running { .. }));
}

#[test]
fn refused_what_is_roots() {
    let Some(folder) = folder_of_again() else { return };
    let refused = server_of(&folder).unwrap_err();
    assert!(matches!(refused, Error::OtherOwner { .. }), "{refused}");
}

#[test]
fn a_checkout_without_write_permission_is_refused() {
    if !is_root() {
        not_tested("a checkout that one may not write to");
        return;
    }
    let folder = tempfile::Builder::new().permissions(Permissions::from_mode(0o755)).tempdir().unwrap();
    let mut command = again_as_ordinary_user("refused_for_want_of_permission", folder.path());
    chown(folder.path(), Some(0), Some(0)).unwrap();
    assert_success(&command.output().unwrap());
}

#[test]
fn refused_for_want_of_permission() {
    let Some(folder) = folder_of_again() else { return };
    let refused = server_of(&folder).unwrap().start().unwrap_err();
    assert!(matches!(refused, Error::File { action: "create", .. }), "{refused}");
    assert!(refused.to_string().contains("MEDALLION_SERVER_DIR"), "{refused}");
}

#[test]
fn a_checkout_in_a_private_home_has_its_server_where_it_can_be_reached() {
    if !is_root() {
        not_tested("a checkout below root's home");
        return;
    }
    // Only root can enter this folder.
    let home = tempfile::Builder::new().permissions(Permissions::from_mode(0o700)).tempdir().unwrap();
    let checkout = home.path().join("checkout");
    fs::create_dir_all(checkout.join(".git")).unwrap();
    let server = server_of(&checkout).unwrap();
    assert!(server.data_directory().starts_with("/var/lib/medallion"));
    server.start().unwrap();
    assert_eq!(ask(&server, "SELECT 1"), "1");
    assert_eq!(server_of(&checkout.join(".git")).unwrap().data_directory(), server.data_directory());
    server.stop().unwrap();
    fs::remove_dir_all(server.data_directory().parent().unwrap()).unwrap();
    let _ = fs::remove_dir("/var/lib/medallion");

    let mut options = support::quick();
    options.directory = Some(home.path().join("asked"));
    let refused = Server::of_checkout_with(&checkout, options).unwrap_err();
    assert!(matches!(refused, Error::Unreachable { .. }), "{refused}");
}

#[test]
fn a_narrow_umask_shuts_nobody_out() {
    let folder = tempfile::Builder::new().permissions(Permissions::from_mode(0o755)).tempdir().unwrap();
    let program = support::again("start_and_stop", folder.path());
    let output = std::process::Command::new("sh")
        .args(["-c", "umask 077; exec \"$@\"", "sh"])
        .arg(program.get_program())
        .args(program.get_args())
        .envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .output()
        .unwrap();
    assert_success(&output);
}

#[test]
fn start_and_stop() {
    let Some(folder) = folder_of_again() else { return };
    let server = server_of(&folder).unwrap();
    server.start().unwrap();
    server.stop().unwrap();
}
