//! Reads the folder of a warehouse: `spec.toml` and what lies beside it; and what is there of its migrations. The
//! only place of the tool that reads specs from disk. Knows nothing of what stands in them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::emit::{self, Past};
use crate::finding::SourceText;
use crate::plan::lock::{self, Lock};
use crate::spec::Files;

/// The spec's file in a warehouse's folder.
const SPEC: &str = "spec.toml";
/// The tour's file beside it.
const DEMO: &str = "demo.toml";
/// The folder of unit tests beside it.
const TESTS: &str = "tests";
/// The folder of all warehouses, in the folder of the workspace.
pub const SPECS: &str = "spec";

/// Why a spec could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// A file or a folder could not be read.
    #[error("cannot read `{path}`: {cause}\n  = see that it is there, and that you may read it")]
    Io {
        /// Which.
        path: String,
        /// Why.
        cause: io::Error,
    },
    /// A lock file says nothing.
    #[error(
        "cannot read `{path}`: {cause}\n  = take it from version control; in a conflict either side does: generating writes the rest"
    )]
    Lock {
        /// Which.
        path: String,
        /// Why.
        cause: lock::Unusable,
    },
    /// Migrations are there, and nothing says what they have left.
    #[error(
        "there is no `{path}` beside migration `{migration}`\n  = take it from version control: without it, migrations that are applied would be written anew"
    )]
    NoLock {
        /// Where it belongs.
        path: String,
        /// One of the migrations.
        migration: String,
    },
    /// There is no spec.
    #[error(
        "there is no spec in `{path}`\n  = begin a project with `medallion new shop`, write `spec/<warehouse>/spec.toml`, or say where one is with `--spec`"
    )]
    None {
        /// Where one was looked for.
        path: String,
    },
}

/// Reads a warehouse from its folder or from its `spec.toml`.
pub fn warehouse(path: &Path) -> Result<Files, Unreadable> {
    let (folder, spec) = match path.is_dir() {
        true => (path.to_owned(), path.join(SPEC)),
        false => (path.parent().unwrap_or(Path::new("")).to_owned(), path.to_owned()),
    };
    if path.is_dir() && !spec.exists() {
        return Err(Unreadable::None { path: shown(path) });
    }
    let spec = text(&spec)?;
    let mut sql = BTreeMap::new();
    let mut demo = None;
    for file in entries(&folder)? {
        let Some(name) = file.file_name().and_then(|name| name.to_str()).map(str::to_owned) else { continue };
        if !file.is_file() {
            continue;
        }
        if name == DEMO {
            demo = Some(text(&file)?);
        } else if name.ends_with(".sql") {
            sql.insert(name, text(&file)?);
        }
    }
    let mut unit_tests = Vec::new();
    let tests = folder.join(TESTS);
    if tests.is_dir() {
        let files = entries(&tests)?.into_iter();
        let files = files.filter(|file| file.is_file() && file.extension().is_some_and(|end| end == "toml"));
        unit_tests = files.map(|file| text(&file)).collect::<Result<_, _>>()?;
    }
    Ok(Files { folder: folder_name(&folder), spec, sql, demo, unit_tests })
}

/// The folders of all warehouses below a folder of specs, by name.
pub fn warehouses(specs: &Path) -> Result<Vec<PathBuf>, Unreadable> {
    let missing = || Unreadable::None { path: shown(specs) };
    if !specs.is_dir() {
        return Err(missing());
    }
    let folders = entries(specs)?.into_iter().filter(|folder| folder.join(SPEC).is_file());
    let folders = folders.collect::<Vec<_>>();
    if folders.is_empty() { Err(missing()) } else { Ok(folders) }
}

/// The specs that are meant: the given one, else all below `spec/`.
pub fn chosen(spec: Option<&Path>) -> Result<Vec<Files>, Unreadable> {
    match spec {
        Some(path) => Ok(vec![warehouse(path)?]),
        None => warehouses(Path::new(SPECS))?.iter().map(|folder| warehouse(folder)).collect(),
    }
}

/// What is there of a warehouse's migrations; nothing where it has no lock file yet.
pub fn past(root: &Path, warehouse: &str) -> Result<Option<Past>, Unreadable> {
    let path = emit::lock_path(warehouse);
    let at = |path: &str| root.join(path);
    if !at(&path).exists() {
        let folder = at(&path).with_file_name("");
        let more = if folder.is_dir() { entries(&folder)? } else { Vec::new() };
        let is_migration = |entry: &PathBuf| entry.is_dir() && !entry.ends_with("m000001_baseline");
        return match more.iter().find(|entry| is_migration(entry)) {
            Some(migration) => Err(Unreadable::NoLock { path, migration: folder_name(migration) }),
            None => Ok(None),
        };
    }
    let written = utf8(&at(&path), &path)?;
    let lock = Lock::read(&written).map_err(|cause| Unreadable::Lock { path: path.clone(), cause })?;
    let text = |path: &str| match at(path).exists() {
        true => utf8(&at(path), path).map(Some),
        false => Ok(None),
    };
    Past::of(warehouse, lock, text).map(Some)
}

fn utf8(file: &Path, path: &str) -> Result<String, Unreadable> {
    fs::read_to_string(file).map_err(|cause| Unreadable::Io { path: path.to_owned(), cause })
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, Unreadable> {
    let read = || -> io::Result<Vec<PathBuf>> {
        // The folder of a file that is named without one is the current one.
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let mut entries =
            fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
        entries.sort();
        Ok(entries)
    };
    read().map_err(|cause| Unreadable::Io { path: shown(folder), cause })
}

fn text(path: &Path) -> Result<SourceText, Unreadable> {
    let bytes = fs::read(path).map_err(|cause| Unreadable::Io { path: shown(path), cause })?;
    Ok(SourceText::new(shown(path), bytes))
}

fn folder_name(folder: &Path) -> String {
    let name = |folder: &Path| folder.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    let whole = || fs::canonicalize(if folder.as_os_str().is_empty() { Path::new(".") } else { folder }).ok();
    name(folder).or_else(|| name(&whole()?)).unwrap_or_default()
}

/// A path as messages show it, the same on every system.
fn shown(path: &Path) -> String {
    let shown = path.display().to_string();
    let shown = shown.strip_prefix("./").unwrap_or(&shown);
    if shown.is_empty() { ".".to_owned() } else { shown.to_owned() }
}
