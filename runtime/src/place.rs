//! Where the databases are: what the environment says, else the embedded server of the checkout.

use std::collections::BTreeMap;
use std::path::Path;

use medallion_server::Server;

use crate::connection::{self, Database};
use crate::descriptor::Warehouse;
use crate::error::{Error, Result};

/// The URLs of the databases. They may hold passwords: never shown.
#[derive(Clone)]
pub struct Place {
    /// The source's; empty where files alone feed the warehouse.
    pub source: String,
    /// The warehouse's.
    pub warehouse: String,
    /// That of the database which changes land in, where bronze stands apart.
    pub bronze: Option<String>,
    /// The embedded server, where it serves one of them.
    pub embedded: Option<Embedded>,
}

/// What the embedded server serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Embedded {
    /// Both databases.
    Both,
    /// One of them.
    One(Database),
}

impl Place {
    /// Reads `DATABASE_URL` and, where the warehouse has a source, `SOURCE_DATABASE_URL`; for what is missing starts the
    /// checkout's server. Where bronze stands apart, `BRONZE_DATABASE_URL` too.
    pub fn find(warehouse: &Warehouse) -> Result<Self> {
        let mut urls: BTreeMap<&str, String> = BTreeMap::new();
        let mut embedded = Vec::new();
        let asked: &[Database] = match warehouse.has_source() {
            true => &[Database::Source, Database::Warehouse],
            false => &[Database::Warehouse],
        };
        for database in asked {
            let variable = database.variable();
            match std::env::var(variable) {
                Ok(url) if !url.is_empty() => {
                    connection::options(*database, &url)?;
                    urls.insert(variable, url);
                }
                _ => embedded.push(*database),
            }
        }
        if !embedded.is_empty() {
            let server = server()?;
            for database in &embedded {
                let name = database_name(warehouse.name, *database);
                server.ensure_database(&name).map_err(from_server)?;
                urls.insert(database.variable(), server.url(&name));
            }
        }
        let embedded_in = embedded.clone();
        let embedded = match embedded.as_slice() {
            [] => None,
            [one] => Some(Embedded::One(*one)),
            _ => Some(Embedded::Both),
        };
        let mut take = |database: Database| urls.remove(database.variable()).unwrap_or_default();
        let (source, target) = (take(Database::Source), take(Database::Warehouse));
        Ok(Self { source, warehouse: target, bronze: bronze(warehouse, &embedded_in)?, embedded })
    }

    /// Where changes land: in the warehouse, unless bronze stands apart.
    pub fn landing(&self) -> (Database, &str) {
        match &self.bronze {
            Some(url) => (Database::Bronze, url),
            None => (Database::Warehouse, &self.warehouse),
        }
    }

    /// The source alone, for what has nothing to do with the warehouse.
    pub fn find_source(warehouse: &Warehouse) -> Result<String> {
        match std::env::var(Database::Source.variable()) {
            Ok(url) if !url.is_empty() => {
                connection::options(Database::Source, &url)?;
                Ok(url)
            }
            _ => Ok(Self::find(warehouse)?.source),
        }
    }
}

/// The database that changes land in, where bronze stands apart: beside a warehouse on the embedded server it has one
/// there, beside any other it has to be named.
fn bronze(warehouse: &Warehouse, embedded: &[Database]) -> Result<Option<String>> {
    if !warehouse.is_bronze_apart() {
        return Ok(None);
    }
    let variable = Database::Bronze.variable();
    match std::env::var(variable) {
        Ok(url) if !url.is_empty() => {
            connection::options(Database::Bronze, &url)?;
            Ok(Some(url))
        }
        _ if embedded.contains(&Database::Warehouse) => {
            let (server, name) = (server()?, database_name(warehouse.name, Database::Bronze));
            server.ensure_database(&name).map_err(from_server)?;
            Ok(Some(server.url(&name)))
        }
        _ => Err(Error::new(format!("`{}` has its bronze apart, and `{variable}` is not set", warehouse.name))
            .remedy(format!(
                "set {variable} to the database that changes land in: postgresql://user:password@host:5432/database"
            ))),
    }
}

/// The checkout's embedded server, running.
pub fn server() -> Result<Server> {
    let server = Server::of_checkout(Path::new(".")).map_err(from_server)?;
    server.start().map_err(from_server)?;
    Ok(server)
}

/// The name of a warehouse's database on the embedded server.
pub fn database_name(warehouse: &str, database: Database) -> String {
    match database {
        Database::Bronze => format!("{warehouse}_bronze"),
        Database::Source | Database::Warehouse => format!("{warehouse}_{}", database.noun()),
    }
}

/// The embedded server's errors carry their own remedy.
pub fn from_server(error: medallion_server::Error) -> Error {
    Error::new(error.to_string())
}
