//! Events of lineage as OpenLineage has them: what a run published, where each relation's columns come from, and how it
//! ended. Sent beside the pipeline, which never waits for whoever listens and never fails with them. Knows no secret:
//! databases are named by host and port.

mod event;
mod sink;
#[cfg(test)]
mod tests;

use chrono::{DateTime, Utc};

use crate::connection::{self, Database};
use crate::descriptor::{Name, Warehouse};
use crate::error::Result;
use crate::files;
use crate::place::Place;

pub use event::{Ended, Said, events};
pub use sink::{Sink, Target};

/// Where the databases and the files are, as datasets are named by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespaces {
    /// Of the jobs.
    pub jobs: String,
    /// Of the source's tables, and the database that they stand in.
    pub source: (String, String),
    /// Of the files that feed landing tables, and the folder that their paths begin in.
    pub files: (String, String),
    /// Of the warehouse's relations, and the database that they stand in.
    pub warehouse: (String, String),
}

/// Tells of rounds to whoever the environment names; to nobody where it names none.
pub struct Teller<'w> {
    warehouse: &'w Warehouse,
    namespaces: Namespaces,
    sink: Option<Sink>,
}

impl<'w> Teller<'w> {
    /// Reads `OPENLINEAGE_URL` or `OPENLINEAGE_FILE`, and what else OpenLineage's clients know.
    pub fn from_environment(warehouse: &'w Warehouse, place: &Place) -> Result<Self> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let sink = Target::read(&variable)?.map(Sink::open);
        let named = |database, url: &str| -> Result<(String, String)> {
            let options = connection::options(database, url)?;
            // A socket's folder is this machine.
            let host = match options.get_host() {
                host if host.is_empty() || host.starts_with('/') => "localhost",
                host => host,
            };
            let host = if options.get_socket().is_some() { "localhost" } else { host };
            let name = options.get_database().unwrap_or_default().to_owned();
            Ok((format!("postgres://{host}:{}", options.get_port()), name))
        };
        let namespaces = Namespaces {
            jobs: variable("OPENLINEAGE_NAMESPACE").unwrap_or_else(|| "medallion".to_owned()),
            source: match warehouse.has_source() {
                true => named(Database::Source, &place.source)?,
                false => Default::default(),
            },
            files: place_of_files(warehouse.name, variable(files::VARIABLE)),
            warehouse: named(Database::Warehouse, &place.warehouse)?,
        };
        Ok(Self { warehouse, namespaces, sink })
    }

    /// Tells of a round that published something, or could not.
    pub fn tell(&self, began: DateTime<Utc>, ended: Ended, changed: &[(Name, u64)]) {
        let Some(sink) = &self.sink else { return };
        if changed.is_empty() && matches!(ended, Ended::Well) {
            return;
        }
        let said = Said { began, now: Utc::now(), ended, changed };
        for event in events(self.warehouse, &self.namespaces, &said) {
            sink.send(event.to_string());
        }
    }
}

/// As the standard names them: files of this machine in `file`, by their whole path, objects in `s3://bucket`, by their
/// key. What else a URL says is nobody's business.
fn place_of_files(warehouse: &str, url: Option<String>) -> (String, String) {
    let url = url.unwrap_or_else(|| format!("spec/{warehouse}/files"));
    let url = url.trim_end_matches('/');
    match url.split_once("://") {
        Some((scheme, rest)) if scheme != "file" => {
            let rest = rest.split(['?', '#']).next().unwrap_or_default();
            let (host, key) = rest.split_once('/').unwrap_or((rest, ""));
            let host = host.rsplit('@').next().unwrap_or_default();
            (format!("{scheme}://{host}"), key.to_owned())
        }
        other => {
            let folder = other.map_or(url, |(_, path)| path);
            let whole = std::path::absolute(folder).unwrap_or_else(|_| folder.into());
            ("file".to_owned(), whole.display().to_string())
        }
    }
}
