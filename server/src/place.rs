//! Where a server lives: the checkout, the folder in it, and the lock on that folder.
//! Knows folders and who may enter them; nothing of PostgreSQL.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, ErrorKind, Write},
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;
use sha2::{Digest, Sha256};

use crate::{Error, account::Account};

/// Where root's servers live when the unprivileged user cannot reach the checkout.
const SYSTEM_FOLDER: &str = "/var/lib/medallion";

/// The folder of one server, and the user who runs it.
#[derive(Debug, Clone)]
pub struct Place {
    home: PathBuf,
    data: PathBuf,
    account: Account,
}

impl Place {
    /// The place of the checkout that `start` is in, or in the folder that was asked for.
    pub fn find(start: &Path, asked: Option<&Path>) -> Result<Place, Error> {
        if let Some(asked) = asked {
            let place = Place::at(resolved(asked))?;
            return place.reached()?.ok_or_else_unreachable();
        }
        let checkout = checkout(start)?;
        let place = Place::at(checkout.join(".medallion"))?;
        match place.reached()? {
            Reach::Reached(place) => Ok(place),
            Reach::Beyond(_) => {
                let name = fingerprint(&checkout);
                Place::at(Path::new(SYSTEM_FOLDER).join(name))?.reached()?.ok_or_else_unreachable()
            }
        }
    }

    /// The place in exactly this folder.
    pub fn at(home: PathBuf) -> Result<Place, Error> {
        let data = home.join("postgres");
        let account = Account::for_data(&data)?;
        Ok(Place { home, data, account })
    }

    /// The data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The folder that the data folder is in.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Who runs the server.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// What tells this server from all others: the same for every process that means the same folder.
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.data)
    }

    /// Creates the folder, kept out of version control, and waits until no other process starts or stops this server.
    pub fn lock(&self) -> Result<File, Error> {
        create_folders(&self.home)?;
        let ignore = self.home.join(".gitignore");
        // The folder may be another user's: nothing is written through a link that was put there.
        let made = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&ignore)
            .and_then(|mut file| file.write_all(b"*\n"));
        match made {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(failed("write", &ignore, error));
            }
            _ => (),
        }
        let path = self.home.join("postgres.lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(&path)
            .map_err(|source| failed("open", &path, source))?;
        file.lock().map_err(|source| failed("lock", &path, source))?;
        Ok(file)
    }

    fn reached(self) -> Result<Reach, Error> {
        let there = self.home.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
        if self.account.reaches(there)? { Ok(Reach::Reached(self)) } else { Ok(Reach::Beyond(self)) }
    }
}

enum Reach {
    Reached(Place),
    Beyond(Place),
}

impl Reach {
    fn ok_or_else_unreachable(self) -> Result<Place, Error> {
        match self {
            Reach::Reached(place) => Ok(place),
            Reach::Beyond(place) => Err(Error::Unreachable { user: place.account.name, path: place.home }),
        }
    }
}

/// A short name for a path, the same on every run.
pub fn fingerprint(path: &Path) -> String {
    Sha256::digest(path.as_os_str().as_bytes()).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// What a file operation on the server's folders failed with: a full disk is told from the rest.
pub fn failed(action: &'static str, path: &Path, source: io::Error) -> Error {
    match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Error::DiskFull {
            path: path.parent().unwrap_or(path).to_owned(),
            reason: format!("cannot {action} `{}`: {source}", path.display()),
            socket: false,
        },
        _ => Error::File { action, path: path.to_owned(), source },
    }
}

/// Creates a folder that others can pass through but not list, whatever the umask.
fn create_folders(path: &Path) -> Result<(), Error> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        create_folders(parent)?;
    }
    match DirBuilder::new().mode(0o755).create(path) {
        Ok(()) => fs::set_permissions(path, Permissions::from_mode(0o755))
            .map_err(|source| failed("set the permissions of", path, source)),
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(source) => Err(failed("create", path, source)),
    }
}

fn checkout(start: &Path) -> Result<PathBuf, Error> {
    let start =
        start.canonicalize().map_err(|source| Error::NoCheckout { path: start.to_owned(), source })?;
    let found = start
        .ancestors()
        .find(|folder| folder.join(".git").exists() || is_workspace(&folder.join("Cargo.toml")));
    Ok(found.unwrap_or(&start).to_owned())
}

fn is_workspace(manifest: &Path) -> bool {
    fs::read_to_string(manifest).is_ok_and(|text| {
        text.lines()
            .map(str::trim_start)
            .any(|line| line.starts_with("[workspace]") || line.starts_with("[workspace."))
    })
}

/// The absolute path with links resolved as far as it exists, so that every process gives it the same fingerprint.
pub fn resolved(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    for ancestor in absolute.ancestors() {
        if let Ok(found) = ancestor.canonicalize() {
            let rest = absolute.strip_prefix(ancestor).unwrap_or(Path::new(""));
            return if rest.as_os_str().is_empty() { found } else { found.join(rest) };
        }
    }
    absolute
}
