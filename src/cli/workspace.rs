//! The workspace that a verb works in: where it is, which warehouses it has, which one is meant. Reads the
//! folders of specs and the workspace's metadata; knows nothing of what stands in a spec.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use super::Error;
use super::read::{self, SPECS};

/// The workspace around a spec, or around the current folder.
pub(super) struct Workspace {
    /// Its folder.
    pub(super) root: PathBuf,
    /// The spec that was asked for.
    pub(super) spec: Option<PathBuf>,
}

impl Workspace {
    /// Finds the workspace. Without a spec the current folder becomes the workspace's, so that every path in
    /// a message is the one that the reader knows.
    pub(super) fn enter(spec: Option<PathBuf>) -> Result<Self, Error> {
        let start = match &spec {
            Some(spec) => fs::canonicalize(spec).unwrap_or_else(|_| spec.clone()),
            None => env::current_dir().map_err(|cause| current_folder(&cause))?,
        };
        let root = start.ancestors().find(|folder| folder.join(SPECS).is_dir());
        let root = root.map_or_else(|| PathBuf::from("."), Path::to_owned);
        if spec.is_none() {
            env::set_current_dir(&root).map_err(|cause| current_folder(&cause))?;
        }
        Ok(Self { root, spec })
    }

    /// The names of all warehouses: those of their folders.
    pub(super) fn warehouses(&self) -> Result<Vec<String>, Error> {
        let folders = read::warehouses(&self.root.join(SPECS))?;
        Ok(folders.iter().filter_map(|folder| name(folder)).collect())
    }

    /// The warehouse that is meant when none is named.
    pub(super) fn default(&self) -> Option<String> {
        let settings = self.cargo_settings()?;
        let metadata = settings.get("metadata")?.get("medallion")?;
        Some(metadata.get("default-warehouse")?.as_str()?.to_owned())
    }

    /// Whether cargo builds a package, by its folder, where none is named.
    pub(super) fn builds_by_default(&self, folder: &str) -> bool {
        let settings = self.cargo_settings();
        let members = settings.as_ref().and_then(|settings| settings.get("default-members")?.as_array());
        members.is_some_and(|members| members.iter().any(|member| member.as_str() == Some(folder)))
    }

    /// What its manifest says of the whole workspace.
    fn cargo_settings(&self) -> Option<toml::Table> {
        let manifest = fs::read_to_string(self.root.join("Cargo.toml")).ok()?;
        let manifest: toml::Table = manifest.parse().ok()?;
        manifest.get("workspace")?.as_table().cloned()
    }

    /// The folder of the one warehouse that a verb works on: the one asked for, the default, or the only one.
    pub(super) fn one(&self) -> Result<PathBuf, Error> {
        if let Some(spec) = &self.spec {
            return Ok(spec.clone());
        }
        let warehouses = self.warehouses()?;
        let chosen = match (self.default(), warehouses.as_slice()) {
            (Some(default), _) => default,
            (None, [only]) => only.clone(),
            (None, _) => {
                return Err(Error::new(
                    format!("there are several warehouses: {}", warehouses.join(", ")),
                    "name one with `--spec spec/<warehouse>`",
                ));
            }
        };
        Ok(Path::new(SPECS).join(chosen))
    }

    /// The name of that warehouse: its folder's.
    pub(super) fn one_name(&self) -> Result<String, Error> {
        let spec = self.one()?;
        let folder = if spec.is_file() { spec.parent().unwrap_or(Path::new(".")) } else { &spec };
        let absolute = fs::canonicalize(folder).ok();
        absolute.as_deref().and_then(name).ok_or_else(|| {
            Error::new(
                format!("there is no warehouse in `{}`", spec.display()),
                "name one with `--spec spec/<warehouse>`",
            )
        })
    }
}

fn name(folder: &Path) -> Option<String> {
    folder.file_name()?.to_str().map(str::to_owned)
}

fn current_folder(cause: &std::io::Error) -> Error {
    Error::new(format!("cannot work in the current folder: {cause}"), "change to the workspace's folder")
}
