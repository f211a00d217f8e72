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

/// What migrations risk that the spec does not allow: `migrate up` refuses them.
{%- if refused.is_empty() %}
pub const REFUSED: &[(&str, &str)] = &[];
{%- else %}
#[rustfmt::skip]
pub const REFUSED: &[(&str, &str)] = &[
{%- for (migration, risk) in refused %}
    ({{ migration }}, {{ risk }}),
{%- endfor %}
];
{%- endif %}

/// The migrations, first to last.
pub fn migrations() -> Vec<Box<dyn MigrationTrait>> {
    {{ list }}
}
