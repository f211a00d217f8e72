//! SQL over the rows of a mart's sources: one for the only source, or one a source.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::At;

/// SQL over the rows of a mart's sources.
#[derive(Clone, Debug)]
pub enum BySource {
    /// Of its only source.
    Only(String),
    /// By the source's alias.
    ByAlias(BTreeMap<At<String>, At<String>>),
}

impl<'de> Deserialize<'de> for BySource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;

        impl<'de> Visitor<'de> for Written {
            type Value = BySource;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string or a table of strings")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<BySource, E> {
                Ok(BySource::Only(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<BySource, A::Error> {
                let mut filters = BTreeMap::new();
                while let Some((alias, filter)) = map.next_entry()? {
                    filters.insert(alias, filter);
                }
                Ok(BySource::ByAlias(filters))
            }
        }

        deserializer.deserialize_any(Written)
    }
}

impl JsonSchema for BySource {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "BySource".into()
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
