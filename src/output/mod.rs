//! The only disk writer of the tool: writes a set of files, or compares it with what is there. A file is the
//! tool's if it carries the mark, and nothing else is ever touched. Knows no spec, no model, no template.

mod difference;

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

pub use difference::{Difference, Differences};

use crate::emit::{FileSet, MARK};

/// Where files belong.
#[derive(Clone, Debug)]
pub struct Place {
    /// The folder of the workspace: paths of files are below it.
    pub root: PathBuf,
    /// The folders below it whose marked files are orphans if the set does not have them.
    pub folders: Vec<String>,
    /// The folders below it in which a file of the set is the tool's even without the mark: it has lost it.
    pub whole: Vec<String>,
}

impl Place {
    fn is_whole(&self, path: &str) -> bool {
        self.whole
            .iter()
            .any(|folder| path.strip_prefix(folder.as_str()).is_some_and(|rest| rest.starts_with('/')))
    }
}

/// Why nothing more was written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file would be overwritten that the tool has not made.
    #[error(
        "`{0}` is in the way: it does not say that medallion generated it\n  = move it away, or delete it, and generate again"
    )]
    Foreign(String),
    /// The disk failed.
    #[error("cannot {verb} `{path}`: {cause}")]
    Disk {
        /// What was tried.
        verb: &'static str,
        /// With which file.
        path: String,
        /// Why it failed.
        cause: io::Error,
    },
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Files that were new or different.
    pub changed: usize,
    /// Orphans that were removed.
    pub removed: usize,
}

/// Writes what differs and removes what is orphaned. Looks at everything first: a file in the way means that
/// nothing is written. Each file is replaced as a whole.
pub fn write(files: &FileSet, place: &Place) -> Result<Written, Error> {
    let differences = compare(files, place)?;
    for (path, text) in differences.to_write(files) {
        replace(&place.root, path, text)?;
    }
    for path in differences.orphans() {
        remove(&place.root, path)?;
    }
    Ok(Written { changed: differences.to_write(files).count(), removed: differences.orphans().count() })
}

/// Compares: what is different, missing or orphaned. Changes nothing.
pub fn compare(files: &FileSet, place: &Place) -> Result<Differences, Error> {
    let mut differences = Vec::new();
    for (path, text) in files.iter() {
        match read(&place.root.join(path), path)? {
            None => differences.push(Difference::Missing { path: path.to_owned() }),
            Some(there) if there == text.as_bytes() => {}
            Some(there) if is_marked(&there) || place.is_whole(path) => {
                differences.push(Difference::Different {
                    path: path.to_owned(),
                    there: String::from_utf8_lossy(&there).into_owned(),
                    wanted: text.to_owned(),
                })
            }
            Some(_) => return Err(Error::Foreign(path.to_owned())),
        }
    }
    for path in found(place)? {
        if files.get(&path).is_none()
            && read(&place.root.join(&path), &path)?.is_some_and(|text| is_marked(&text))
        {
            differences.push(Difference::Orphaned { path });
        }
    }
    Ok(Differences::new(differences))
}

/// Whether a file says in its first line that it was generated.
fn is_marked(text: &[u8]) -> bool {
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    line.windows(MARK.len()).any(|part| part == MARK.as_bytes())
}

/// Every file in the place's folders, by its path below the root.
fn found(place: &Place) -> Result<BTreeSet<String>, Error> {
    let mut files = BTreeSet::new();
    for folder in &place.folders {
        walk(&place.root, folder, &mut files)?;
    }
    Ok(files)
}

fn walk(root: &Path, folder: &str, files: &mut BTreeSet<String>) -> Result<(), Error> {
    let failed = |cause| Error::Disk { verb: "read", path: folder.to_owned(), cause };
    let entries = match fs::read_dir(root.join(folder)) {
        Err(cause) if is_absence(&cause) => return Ok(()),
        entries => entries.map_err(failed)?,
    };
    for entry in entries {
        let entry = entry.map_err(failed)?;
        // A name that is not text is none of ours.
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = format!("{folder}/{name}");
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() {
            walk(root, &path, files)?;
        } else if kind.is_file() {
            files.insert(path);
        }
    }
    Ok(())
}

fn read(file: &Path, path: &str) -> Result<Option<Vec<u8>>, Error> {
    match fs::read(file) {
        Ok(text) => Ok(Some(text)),
        Err(cause) if is_absence(&cause) => Ok(None),
        Err(cause) => Err(Error::Disk { verb: "read", path: path.to_owned(), cause }),
    }
}

fn is_absence(cause: &io::Error) -> bool {
    matches!(cause.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Writes one file, whatever was there: whoever calls has asked.
pub fn replace_file(path: &Path, text: &str) -> Result<(), Error> {
    let (folder, name) = (path.parent().unwrap_or(Path::new("")), path.file_name().unwrap_or_default());
    replace(folder, &name.to_string_lossy(), text)
}

/// Writes beside the file, then puts the new one in its place: whoever reads meanwhile finds one or the other.
fn replace(root: &Path, path: &str, text: &str) -> Result<(), Error> {
    let failed = |cause| Error::Disk { verb: "write", path: path.to_owned(), cause };
    let file = root.join(path);
    let folder = file.parent().unwrap_or(root);
    fs::create_dir_all(folder).map_err(failed)?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let beside = folder.join(format!(".{name}.{}.new", std::process::id()));
    let written = write_new(&beside, text).and_then(|()| fs::rename(&beside, &file));
    if written.is_err() {
        // The failure is told; a leftover that cannot be removed either is not worth a second one.
        let _ = fs::remove_file(&beside);
    }
    written.map_err(failed)
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file = fs::File::create(path)?;
    file.write_all(text.as_bytes())
}

/// Removes an orphan, and the folders that it leaves empty.
fn remove(root: &Path, path: &str) -> Result<(), Error> {
    let file = root.join(path);
    fs::remove_file(&file).map_err(|cause| Error::Disk { verb: "remove", path: path.to_owned(), cause })?;
    let mut folder = file.parent();
    while let Some(empty) = folder.filter(|folder| *folder != root) {
        if fs::remove_dir(empty).is_err() {
            break;
        }
        folder = empty.parent();
    }
    Ok(())
}
