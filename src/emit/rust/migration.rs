//! The thin Rust of the migrations: the SQL beside it is what a reviewer reads.

use askama::Template;

use super::layout::{atom, vector};
use super::warehouse::module_identifiers;

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
#[template(path = "migration/src/warehouse/mod.rs", escape = "none")]
struct MigratorRs<'a> {
    mark: &'a str,
    warehouse: &'a str,
    migrations: &'a [String],
    list: String,
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
pub(in crate::emit) fn next(name: &str, mark: &str) -> String {
    crate::emit::sql::render(&NextRs { mark, name })
}

/// A warehouse's migrations, first to last, by their names.
pub(in crate::emit) fn migrator(warehouse: &str, migrations: &[String], mark: &str) -> String {
    let boxed = migrations.iter().map(|name| atom(format!("Box::new({name}::Migration)")));
    let list = vector(boxed.collect()).lay_out(4, 0, 0);
    crate::emit::sql::render(&MigratorRs { mark, warehouse, migrations, list })
}

/// The package's `lib.rs`.
pub(in crate::emit) fn migrators(warehouses: &[String], mark: &str) -> String {
    crate::emit::sql::render(&MigratorsRs { mark, modules: module_identifiers(warehouses) })
}
