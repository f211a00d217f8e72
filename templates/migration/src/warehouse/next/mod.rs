{{ mark }}

//! Migration `{{ name }}`.

use sea_orm_migration::prelude::*;

/// Brings the warehouse to its next state, or back.
pub struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "{{ name }}"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(include_str!("up.sql")).await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(include_str!("down.sql")).await?;
        Ok(())
    }
}
