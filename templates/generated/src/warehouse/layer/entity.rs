{{ mark }}
{% for line in module_doc %}
//! {{ line }}
{%- endfor %}
{% if let Some(import) = import %}
{{ import }}
{%- endif %}
use sea_orm::entity::prelude::*;

/// A row.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
{{ entity_attribute }}
pub struct Model {
{%- for field in fields %}
{%- for line in field.doc %}
    /// {{ line }}
{%- endfor %}
{%- if let Some(attribute) = field.attribute %}
    {{ attribute }}
{%- endif %}
    pub {{ field.name }}: {{ field.kind }},
{%- endfor %}
}

impl ActiveModelBehavior for ActiveModel {}
{% if let Some(descriptor) = descriptor %}
impl Entity {
    /// {{ descriptor.doc }}
    pub fn {{ descriptor.function }}() -> descriptor::{{ descriptor.kind }} {
        {{ descriptor.body }}
    }
}
{% endif -%}
