{{ mark }}

//! The migrations of warehouse `{{ warehouse }}`, first to last.

mod m000001_baseline;

use sea_orm_migration::prelude::*;

/// Runs them.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        migrations()
    }
}

/// The migrations, first to last.
pub fn migrations() -> Vec<Box<dyn MigrationTrait>> {
    vec![Box::new(m000001_baseline::Migration)]
}
