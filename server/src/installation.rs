//! Finds the PostgreSQL programs of this machine: those asked for, on `PATH`, named by `pg_config`, or in the usual
//! places. A folder counts when `initdb`, `pg_ctl` and `postgres` are all in it and really run for the server's user.
//! Knows nothing of data.

use std::{
    env, fs,
    io::Read,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{Error, OLDEST_MAJOR_VERSION, account::Account};

const PROGRAMS: [&str; 3] = ["initdb", "pg_ctl", "postgres"];

/// Folders of installations by name, a star for the version.
const USUAL_PLACES: [&str; 9] = [
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/lib/postgresql*/bin",
    "/usr/libexec/postgresql*",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
    "/usr/local/pgsql/bin",
];

/// A PostgreSQL that will do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    folder: PathBuf,
    major: u32,
}

impl Installation {
    /// The first installation that will do; of the major version that made the data, if there are any.
    pub fn find(
        asked: Option<&Path>,
        account: &Account,
        data: Option<(&Path, &str)>,
    ) -> Result<Installation, Error> {
        let mut found = Vec::new();
        let mut passed_over = Vec::new();
        let folders = match asked {
            Some(folder) => vec![folder.to_owned()],
            None => candidates(),
        };
        for folder in folders {
            match inspect(&folder, account) {
                Ok(installation)
                    if data.is_none_or(|(_, made_by)| made_by == installation.major.to_string()) =>
                {
                    return Ok(installation);
                }
                Ok(installation) => found.push(installation.describe()),
                Err(reason) => passed_over.push(format!("`{}` ({reason})", folder.display())),
            }
        }
        match data {
            Some((data, made_by)) if !found.is_empty() => {
                Err(Error::OtherMajorVersion { data: data.to_owned(), made_by: made_by.to_owned(), found })
            }
            _ if asked.is_some() => Err(Error::NamedInstallation { reason: passed_over.join(", ") }),
            _ if passed_over.is_empty() => Err(Error::NotInstalled),
            _ => Err(Error::NoneWillDo { oldest: OLDEST_MAJOR_VERSION, passed_over }),
        }
    }

    /// The path of one of its programs.
    pub fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn describe(&self) -> String {
        format!("{} in `{}`", self.major, self.folder.display())
    }
}

/// The path of a program on `PATH`.
pub fn on_path(program: &str) -> Option<PathBuf> {
    path_folders().map(|folder| folder.join(program)).find(|path| path.is_file())
}

fn candidates() -> Vec<PathBuf> {
    let on_path = path_folders().filter_map(|folder| home_of(&folder));
    let mut folders: Vec<PathBuf> = on_path.collect();
    folders.extend(configured());
    folders.extend(USUAL_PLACES.iter().flat_map(|pattern| matching(pattern)));
    let mut distinct: Vec<PathBuf> = Vec::new();
    for folder in folders {
        let folder = folder.canonicalize().unwrap_or(folder);
        if folder.join("postgres").exists() && !distinct.contains(&folder) {
            distinct.push(folder);
        }
    }
    // A script in a program's place may switch users or versions as it likes: only when there is nothing else.
    distinct.sort_by_key(|folder| PROGRAMS.iter().any(|program| is_script(&folder.join(program))));
    distinct
}

fn path_folders() -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = env::split_paths(&path).filter(|folder| folder.is_absolute()).collect();
    folders.into_iter()
}

/// Where the server on `PATH` really is: the links that a system puts there lead to a folder that has all programs.
fn home_of(folder: &Path) -> Option<PathBuf> {
    let program = PROGRAMS.iter().map(|program| folder.join(program)).find(|path| path.is_file())?;
    let real = program.canonicalize().ok()?;
    let home = real.parent()?;
    let complete = PROGRAMS.iter().all(|program| home.join(program).is_file());
    Some(if complete { home.to_owned() } else { folder.to_owned() })
}

fn configured() -> Option<PathBuf> {
    let output = Command::new(on_path("pg_config")?)
        .arg("--bindir")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let folder = String::from_utf8(output.stdout).ok()?;
    let folder = folder.trim();
    (output.status.success() && !folder.is_empty()).then(|| PathBuf::from(folder))
}

/// The folders that a pattern with one star in one of its parts names, the newest version first.
fn matching(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else {
        return vec![PathBuf::from(pattern)];
    };
    let (parent, prefix) = before.rsplit_once('/').unwrap_or(("", before));
    let (suffix, rest) = after.split_once('/').unwrap_or((after, ""));
    let Ok(entries) = fs::read_dir(parent) else {
        return Vec::new();
    };
    let mut found: Vec<(u32, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let version = name.strip_prefix(prefix)?.strip_suffix(suffix)?;
            Some((leading_number(version).unwrap_or(0), entry.path().join(rest)))
        })
        .collect();
    found.sort_by(|left, right| right.cmp(left));
    found.into_iter().map(|(_, folder)| folder).collect()
}

fn inspect(folder: &Path, account: &Account) -> Result<Installation, String> {
    let mut major = 0;
    for program in PROGRAMS {
        let path = folder.join(program);
        if !path.is_file() {
            return Err(format!("no `{program}` there"));
        }
        let output = account
            .command(&path)
            .arg("--version")
            .output()
            .map_err(|error| format!("`{program}` does not run for user {}: {error}", account.name))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("`{program}` does not run: {}", said.trim()));
        }
        let said = String::from_utf8_lossy(&output.stdout);
        major =
            major_version(&said).ok_or_else(|| format!("`{program}` names no version: {}", said.trim()))?;
        if major < OLDEST_MAJOR_VERSION {
            return Err(format!("version {major}"));
        }
    }
    Ok(Installation { folder: folder.to_owned(), major })
}

/// The 15 of `postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)`.
fn major_version(said: &str) -> Option<u32> {
    let (_, version) = said.split_once("(PostgreSQL)")?;
    leading_number(version.trim_start())
}

fn leading_number(text: &str) -> Option<u32> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..digits].parse().ok()
}

fn is_script(program: &Path) -> bool {
    let mut start = [0; 2];
    fs::File::open(program).and_then(|mut file| file.read_exact(&mut start)).is_ok_and(|()| &start == b"#!")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_distributions_write_them() {
        assert_eq!(major_version("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n"), Some(15));
        assert_eq!(major_version("initdb (PostgreSQL) 18beta1\n"), Some(18));
        assert_eq!(major_version("initdb (PostgreSQL) 9.6.24\n"), Some(9));
        assert_eq!(major_version("something else 1.0\n"), None);
    }

    #[test]
    fn the_newest_of_a_place_comes_first() {
        let root = tempfile::tempdir().unwrap();
        for version in ["9.6", "14", "100", "15", "other"] {
            fs::create_dir_all(root.path().join("pg").join(version).join("bin")).unwrap();
        }
        let pattern = format!("{}/pg/*/bin", root.path().display());
        let names: Vec<String> = matching(&pattern)
            .iter()
            .map(|path| path.iter().rev().nth(1).unwrap().to_string_lossy().into_owned())
            .collect();
        assert_eq!(names, ["100", "15", "14", "9.6", "other"]);
    }
}
