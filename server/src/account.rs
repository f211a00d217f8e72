//! The user who runs the server: oneself, or, because PostgreSQL refuses root, an unprivileged one in root's place.
//! Knows users and what they can reach; nothing of PostgreSQL.

use std::{
    env, fs, io,
    os::unix::{
        fs::{MetadataExt, lchown},
        process::CommandExt,
    },
    path::Path,
    process::{Command, Stdio},
};

use crate::Error;

/// Who runs the server in root's place, the first that exists.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];

/// What a server inherits of the environment: it lives long and may run as somebody else, so it gets no secrets.
const INHERITED: [&str; 6] =
    ["PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LD_PRELOAD", "NSS_WRAPPER_PASSWD", "NSS_WRAPPER_GROUP"];

/// A user of this machine, and whether this process has to switch to that user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub name: String,
    pub uid: u32,
    gid: u32,
    switched: bool,
}

impl Account {
    /// Who runs a server whose data are, or will be, in this folder.
    ///
    /// Data belong to whoever made them, and root serves them as that user.
    pub fn for_data(data: &Path) -> Result<Account, Error> {
        let user = rustix::process::geteuid().as_raw();
        let owner = match fs::metadata(data) {
            Ok(found) => Some((found.uid(), found.gid())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => {
                return Err(Error::File { action: "look at", path: data.to_owned(), source });
            }
        };
        match owner {
            Some((owner, gid)) if user == 0 && owner != 0 => {
                Ok(Account { name: format!("of id {owner}"), uid: owner, gid, switched: true })
            }
            Some((owner, _)) if owner != user => {
                Err(Error::OtherOwner { path: data.to_owned(), owner, user })
            }
            _ if user == 0 => unprivileged(),
            _ => Ok(Account {
                name: format!("of id {user}"),
                uid: user,
                gid: rustix::process::getegid().as_raw(),
                switched: false,
            }),
        }
    }

    /// A program run as this user, in a folder that everybody can reach, with nothing of `PG…` in its environment.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command
            .current_dir("/")
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .envs(INHERITED.iter().filter_map(|name| Some((name, env::var_os(name)?))))
            .env("LC_ALL", "C")
            .stdin(Stdio::null());
        if self.switched {
            command.uid(self.uid).gid(self.gid);
        }
        command
    }

    /// Whether this user can enter the folder.
    pub fn reaches(&self, folder: &Path) -> Result<bool, Error> {
        if !self.switched {
            return Ok(true);
        }
        self.enter(Path::new("/")).map_err(|source| Error::Program { program: "true".into(), source })?;
        Ok(self.enter(folder).is_ok())
    }

    /// Makes a file or folder this user's; a link is not followed.
    pub fn own(&self, path: &Path) -> Result<(), Error> {
        if !self.switched {
            return Ok(());
        }
        lchown(path, Some(self.uid), Some(self.gid)).map_err(|source| Error::File {
            action: "change the owner of",
            path: path.to_owned(),
            source,
        })
    }

    fn enter(&self, folder: &Path) -> io::Result<()> {
        let mut command = self.command("true");
        command.current_dir(folder).status().map(|_| ())
    }
}

fn unprivileged() -> Result<Account, Error> {
    UNPRIVILEGED
        .into_iter()
        .find_map(|name| {
            Some(Account {
                name: name.to_owned(),
                uid: identity("-u", name)?,
                gid: identity("-g", name)?,
                switched: true,
            })
        })
        .ok_or(Error::NobodyToRunAs)
}

fn identity(kind: &str, name: &str) -> Option<u32> {
    let found =
        Command::new("id").args([kind, name]).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let id = String::from_utf8(found.stdout).ok()?.trim().parse().ok()?;
    (id != 0).then_some(id)
}
