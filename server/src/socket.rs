//! The folder that a server is reached through: short enough for a socket, and nobody else's.
//! Whoever can enter it can be superuser of the server, so it is made for one user and checked before every start.

use std::{
    fs::{self, DirBuilder, Permissions},
    io::ErrorKind,
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use crate::{Error, account::Account, place};

/// Where the folders are made when nothing else is said: short, there on every system, and emptied at boot.
const DEFAULT_BASE: &str = "/tmp";

/// The port, which only makes the name of the socket's file.
pub const PORT: u16 = 5432;

/// What a socket's path may measure: `sun_path` less its final zero.
const LONGEST_PATH: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// The folder of the server with this fingerprint.
pub fn folder(base: Option<&Path>, account: &Account, fingerprint: &str) -> PathBuf {
    base.map_or(PathBuf::from(DEFAULT_BASE), place::resolved)
        .join(format!("medallion-{}-{fingerprint}", account.uid))
}

/// The socket in its folder.
pub fn file(folder: &Path) -> PathBuf {
    folder.join(format!(".s.PGSQL.{PORT}"))
}

/// Makes the folder for one user alone, and empties it of what a killed server left.
///
/// Only for who holds the lock and has seen that no server runs.
pub fn prepare(folder: &Path, account: &Account) -> Result<(), Error> {
    let socket = file(folder);
    if socket.as_os_str().as_bytes().len() > LONGEST_PATH {
        return Err(Error::SocketPathTooLong { path: socket, limit: LONGEST_PATH });
    }
    match DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => account.own(folder)?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            adopt(folder, account)?;
            verify(folder, account)?;
        }
        Err(source) => return Err(failed(folder, source)),
    }
    empty(folder)?;
    if !account.reaches(folder)? {
        return Err(Error::Unreachable { user: account.name.clone(), path: folder.to_owned() });
    }
    Ok(())
}

/// Removes the folder of a stopped server. One that is somebody else's, or holds more than a socket, stays.
pub fn remove(folder: &Path, account: &Account) {
    if verify(folder, account).and_then(|()| empty(folder)).is_ok() {
        let _ = fs::remove_dir(folder);
    }
}

/// Hands on a folder that root made and was killed before giving away. Nobody else can have made one of root's.
fn adopt(folder: &Path, account: &Account) -> Result<(), Error> {
    let found = fs::symlink_metadata(folder).map_err(|source| failed(folder, source))?;
    if found.is_dir() && found.uid() == 0 {
        account.own(folder)?;
    }
    Ok(())
}

fn empty(folder: &Path) -> Result<(), Error> {
    for stale in [file(folder), folder.join(format!(".s.PGSQL.{PORT}.lock"))] {
        match fs::remove_file(&stale) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(&stale, error)),
            _ => (),
        }
    }
    Ok(())
}

fn verify(folder: &Path, account: &Account) -> Result<(), Error> {
    let refused = |reason: String| Error::SocketFolder { path: folder.to_owned(), reason };
    let found = fs::symlink_metadata(folder).map_err(|source| failed(folder, source))?;
    if !found.is_dir() {
        return Err(refused("it is not a folder".to_owned()));
    }
    if found.uid() != account.uid {
        return Err(refused(format!("it belongs to user id {}, not to {}", found.uid(), account.uid)));
    }
    if found.mode() & 0o077 != 0 {
        fs::set_permissions(folder, Permissions::from_mode(0o700))
            .map_err(|source| failed(folder, source))?;
    }
    Ok(())
}

fn failed(path: &Path, source: std::io::Error) -> Error {
    match place::failed("prepare", path, source) {
        Error::DiskFull { path, reason, .. } => Error::DiskFull { path, reason, socket: true },
        Error::File { source, .. } => {
            Error::SocketFolder { path: path.to_owned(), reason: source.to_string() }
        }
        other => other,
    }
}
