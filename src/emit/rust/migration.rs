//! The thin Rust of the migrations: the SQL beside it is what a reviewer reads.

use askama::Template;

use super::warehouse::module_identifiers;

#[derive(Template)]
#[template(path = "migration/src/warehouse/m000001_baseline/mod.rs", escape = "none")]
struct BaselineRs<'a> {
    mark: &'a str,
}

#[derive(Template)]
#[template(path = "migration/src/warehouse/mod.rs", escape = "none")]
struct MigratorRs<'a> {
    mark: &'a str,
    warehouse: &'a str,
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

/// A warehouse's migrations, first to last.
pub(in crate::emit) fn migrator(warehouse: &str, mark: &str) -> String {
    crate::emit::sql::render(&MigratorRs { mark, warehouse })
}

/// The package's `lib.rs`.
pub(in crate::emit) fn migrators(warehouses: &[String], mark: &str) -> String {
    crate::emit::sql::render(&MigratorsRs { mark, modules: module_identifiers(warehouses) })
}
