{{ mark }}

//! {{ doc }}

pub mod prelude;
{% for module in modules %}
pub mod {{ module }};
{%- endfor %}
