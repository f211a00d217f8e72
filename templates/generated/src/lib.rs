{{ mark }}

//! The warehouses of this workspace: entities, and what the runtime is told of them.
{% for module in modules %}
pub mod {{ module }};
{%- endfor %}
