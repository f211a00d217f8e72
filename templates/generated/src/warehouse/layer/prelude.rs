{{ mark }}

//! The entities of this layer, under one name each.
{% for entity in entities %}
pub use super::{{ entity.snake_identifier() }}::Entity as {{ entity.camel }};
{%- endfor %}
