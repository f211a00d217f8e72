{{ mark }}

//! The migrations of warehouse `{{ warehouse }}`, first to last.

{% for migration in migrations -%}
mod {{ migration }};
{% endfor %}
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
    {{ list }}
}
