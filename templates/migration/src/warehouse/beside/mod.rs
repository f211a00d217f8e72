{{ mark }}

//! Migration `{{ name }}`: indexes, built while others read and write.

use medallion_runtime::migrate::by_itself;
use sea_orm_migration::prelude::*;

/// Builds them, or takes them away again.
pub struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "{{ name }}"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(false)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        by_itself(manager.get_connection(), include_str!("up.sql")).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        by_itself(manager.get_connection(), include_str!("down.sql")).await
    }
}
