//! A mart's filter: one for its only source, or one a source.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::At;

/// Which rows of a mart's sources count.
#[derive(Clone, Debug)]
pub enum Filter {
    /// Of its only source.
    Only(String),
    /// By the source's alias.
    ByAlias(BTreeMap<At<String>, At<String>>),
}

impl<'de> Deserialize<'de> for Filter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;

        impl<'de> Visitor<'de> for Written {
            type Value = Filter;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string or a table of strings")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Filter, E> {
                Ok(Filter::Only(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Filter, A::Error> {
                let mut filters = BTreeMap::new();
                while let Some((alias, filter)) = map.next_entry()? {
                    filters.insert(alias, filter);
                }
                Ok(Filter::ByAlias(filters))
            }
        }

        deserializer.deserialize_any(Written)
    }
}

impl JsonSchema for Filter {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Filter".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({
            "anyOf": [
                { "type": "string" },
                { "type": "object", "additionalProperties": { "type": "string" } },
            ]
        })
    }
}
