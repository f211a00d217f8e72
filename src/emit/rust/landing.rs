//! The entity of a landing table.

use super::entity::{Descriptor, Entity, Field};
use super::feed;
use super::layout::{Expression, array, atom, call, string, structure};
use crate::emit::sql::LANDING_COLUMNS;
use crate::model::data_type::BuiltIn;
use crate::model::{DataType, Fed, Gone, Landing, Nullability, Snapshots};

pub(super) fn entity(landing: &Landing, is_apart: bool) -> Entity<'_> {
    let doc = landing.description.clone().unwrap_or_else(|| match landing.feed() {
        None => {
            format!("Every change of `{}.{}`, as it came.", landing.source.schema, landing.source.name)
        }
        Some(feed) => format!("Every row of the files `{}`, as it came.", feed.path),
    });
    Entity {
        name: &landing.name,
        doc,
        fields: LANDING_COLUMNS.iter().map(|(name, doc)| field(name, doc)).collect(),
        key: vec!["lsn", "seq"],
        descriptor: Some(descriptor(landing, is_apart)),
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

fn descriptor(landing: &Landing, is_apart: bool) -> Descriptor {
    let source = vec![atom(string(&landing.source.schema)), atom(string(&landing.source.name))];
    let key = landing.key.iter().map(|column| atom(string(column))).collect();
    let plain = call(
        "descriptor::Landing::new",
        vec![atom("descriptor::Name::of(Entity)"), call("descriptor::Name::new", source), array(key)],
    );
    let body = match &landing.fed {
        // Watermarks are told with the source.
        Fed::Log | Fed::Watermark(_) => plain,
        Fed::Snapshots(snapshots) => {
            call("descriptor::Landing::by_snapshots", vec![plain, described(snapshots)])
        }
        Fed::Files(feed) => call("descriptor::Landing::by_files", vec![plain, feed::descriptor(feed)]),
    };
    let body = match is_apart {
        true => call("descriptor::Landing::apart", vec![body]),
        false => body,
    };
    Descriptor { function: "landing", doc: "What the loader is told of this table.", kind: "Landing", body }
}

fn described(snapshots: &Snapshots) -> Expression {
    let every = snapshots.every.map_or_else(
        || atom("None"),
        |seconds| {
            call("Some", vec![call("core::time::Duration::from_secs", vec![atom(seconds.to_string())])])
        },
    );
    let gone = match snapshots.gone {
        Gone::Closed => "descriptor::Gone::Closed",
        Gone::Kept => "descriptor::Gone::Kept",
        Gone::Ignored => "descriptor::Gone::Ignored",
    };
    structure("descriptor::Snapshots", vec![("every", every), ("gone", atom(gone))])
}
