//! Writes Rust: entities, the modules that hold them, the warehouse that the runtime is told of, the thin
//! code of the migrations. Spells names, chooses types, lays lines out. Knows no disk.

mod data_test;
mod entity;
mod feed;
mod field;
mod landing;
mod layout;
mod lineage;
mod mart;
mod migration;
mod module;
mod name;
mod silver;
mod warehouse;

pub(super) use migration::{baseline, migrator, migrators, next as next_migration};
pub(super) use warehouse::{Hashes, binary, library, warehouse};

/// A warehouse's module, and its folder below `generated/src` and `migration/src`.
pub(super) fn module_name(warehouse: &str) -> String {
    name::spell([warehouse], &["lib", "main"]).remove(warehouse).map_or_else(String::new, |one| one.snake)
}
