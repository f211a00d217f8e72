{{ mark }}

//! The enumerated types of the warehouse.

use sea_orm::entity::prelude::*;
{%- for kind in enums %}
{% for line in kind.doc %}
/// {{ line }}
{%- endfor %}
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, EnumIter, DeriveActiveEnum)]
{{ kind.attribute }}
pub enum {{ kind.name }} {
{%- for variant in kind.variants %}
{%- for line in variant.doc %}
    /// {{ line }}
{%- endfor %}
    #[sea_orm(string_value = {{ variant.value }})]
    {{ variant.name }},
{%- endfor %}
}
{%- endfor %}
