{{ mark }}

//! The migrations of every warehouse of this workspace.
{% for module in modules %}
pub mod {{ module }};
{%- endfor %}
