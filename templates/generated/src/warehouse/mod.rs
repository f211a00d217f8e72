{{ mark }}
{% for line in doc %}
//! {{ line }}
{%- endfor %}

pub mod bronze;
pub mod gold;
pub mod lineage;
pub mod silver;

use medallion_runtime::descriptor;

/// The hash of the resolved spec that this was generated from.
pub const SPEC_HASH: &str = "{{ spec_hash }}";

/// The hash of the database's objects, as the migrations leave them.
pub const OBJECTS_HASH: &str = "{{ objects_hash }}";

/// What the runtime is told of this warehouse.
pub fn warehouse() -> descriptor::Warehouse {
    {{ body }}
}
