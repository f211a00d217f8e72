//! The thin Rust of the migrations: the SQL beside it is what a reviewer reads.

use askama::Template;

use super::layout::{atom, string, vector};
use super::warehouse::module_identifiers;
use crate::emit::Course;
use crate::plan::lock::Lock;

#[derive(Template)]
#[template(path = "migration/src/warehouse/m000001_baseline/mod.rs", escape = "none")]
struct BaselineRs<'a> {
    mark: &'a str,
}

#[derive(Template)]
#[template(path = "migration/src/warehouse/next/mod.rs", escape = "none")]
struct NextRs<'a> {
    mark: &'a str,
    name: &'a str,
}

#[derive(Template)]
#[template(path = "migration/src/warehouse/beside/mod.rs", escape = "none")]
struct BesideRs<'a> {
    mark: &'a str,
    name: &'a str,
}

#[derive(Template)]
#[template(path = "migration/src/warehouse/mod.rs", escape = "none")]
struct MigratorRs<'a> {
    mark: &'a str,
    warehouse: &'a str,
    migrations: Vec<&'a str>,
    list: String,
    refused: Vec<(String, String)>,
}

#[derive(Template)]
#[template(path = "migration/src/lib.rs", escape = "none")]
struct MigratorsRs<'a> {
    mark: &'a str,
    modules: Vec<String>,
}

/// The first migration.
pub(in crate::emit) fn baseline(mark: &str) -> String {
    crate::emit::sql::render(&BaselineRs { mark })
}

/// A migration that follows others.
pub(in crate::emit) fn next(name: &str, course: Course, mark: &str) -> String {
    match course {
        Course::Whole => crate::emit::sql::render(&NextRs { mark, name }),
        Course::ByItself => crate::emit::sql::render(&BesideRs { mark, name }),
    }
}

/// A warehouse's migrations, first to last, by their names.
pub(in crate::emit) fn migrator(warehouse: &str, lock: &Lock, mark: &str) -> String {
    let migrations: Vec<&str> = lock.migrations.iter().map(|one| one.name.as_str()).collect();
    let boxed = migrations.iter().map(|name| atom(format!("Box::new({name}::Migration)")));
    let list = vector(boxed.collect()).lay_out(4, 0, 0);
    let refused = lock.refused().map(|(migration, risk)| (string(migration), string(risk))).collect();
    crate::emit::sql::render(&MigratorRs { mark, warehouse, migrations, list, refused })
}

/// The package's `lib.rs`.
pub(in crate::emit) fn migrators(warehouses: &[String], mark: &str) -> String {
    crate::emit::sql::render(&MigratorsRs { mark, modules: module_identifiers(warehouses) })
}
