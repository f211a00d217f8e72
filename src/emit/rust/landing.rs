//! The entity of a landing table.

use super::entity::{Descriptor, Entity, Field};
use super::layout::{array, atom, call, string, structure};
use crate::emit::sql::LANDING_COLUMNS;
use crate::model::data_type::BuiltIn;
use crate::model::{DataType, Landing, Nullability};

pub(super) fn entity(landing: &Landing) -> Entity<'_> {
    let source = format!("{}.{}", landing.source.schema, landing.source.name);
    let doc =
        landing.description.clone().unwrap_or_else(|| format!("Every change of `{source}`, as it came."));
    Entity {
        name: &landing.name,
        doc,
        fields: LANDING_COLUMNS.iter().map(|(name, doc)| field(name, doc)).collect(),
        key: vec!["lsn", "seq"],
        descriptor: Some(descriptor(landing)),
    }
}

fn field(name: &'static str, doc: &str) -> Field<'static> {
    match name {
        "op" => Field::own(name, BuiltIn::Char(1), doc),
        "full_row" => Field::new(name, &DataType::BuiltIn(BuiltIn::Jsonb), Nullability::Nullable, Some(doc)),
        "load_ts" | "commit_ts" => Field::own(name, BuiltIn::TimestampTz, doc),
        _ => Field::own(name, BuiltIn::BigInt, doc),
    }
}

fn descriptor(landing: &Landing) -> Descriptor {
    let source = vec![atom(string(&landing.source.schema)), atom(string(&landing.source.name))];
    let key = landing.key.iter().map(|column| atom(string(column))).collect();
    Descriptor {
        function: "landing",
        doc: "What the loader is told of this table.",
        kind: "Landing",
        body: structure(
            "descriptor::Landing",
            vec![
                ("table", atom("descriptor::Name::of(Entity)")),
                ("source", call("descriptor::Name::new", source)),
                ("key", call("descriptor::names", vec![array(key)])),
            ],
        ),
    }
}
