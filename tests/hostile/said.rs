//! The spec of `spec.toml` with names and texts put in. Knows no server.

use std::collections::BTreeMap;

use medallion::finding::SourceText;
use medallion::model;
use medallion::spec::Files;

const SPEC: &str = include_str!("spec.toml");

/// Every place of the spec where a name or a text may stand, with what stands there otherwise.
pub const SLOTS: [(&str, &str); 48] = [
    ("said", "A text."),
    ("bronze", "bronze"),
    ("silver", "silver"),
    ("gold", "gold"),
    ("source", "shop"),
    ("publication", "published"),
    ("loader", "hostile_loader"),
    ("reader", "hostile_reader"),
    ("type", "mood"),
    ("value", "sad"),
    ("other_value", "ok"),
    ("landing", "br_thing"),
    ("table", "thing"),
    ("key", "code"),
    ("event_landing", "br_event"),
    ("events", "event"),
    ("event_key", "event_id"),
    ("staging", "stg_thing"),
    ("column", "title"),
    ("field", "written"),
    ("computed", "loud"),
    ("staged", "raw"),
    ("literal", "!"),
    ("enum", "feels"),
    ("lookup", "lookup_place"),
    ("places", "place"),
    ("place_key", "place_id"),
    ("place", "city"),
    ("dimension", "dim_thing_hist"),
    ("current", "dim_thing"),
    ("test", "loud_is_loud"),
    ("fact", "fact_event"),
    ("at", "happened_at"),
    ("amount", "amount"),
    ("amount_field", "paid"),
    ("alias", "thing_then"),
    ("place_alias", "place_then"),
    ("looked_up", "loud_then"),
    ("mart", "by_month"),
    ("mart_alias", "event"),
    ("joined", "thing_now"),
    ("grain", "cry"),
    ("unit", "month"),
    ("mood", "mood_now"),
    ("measure", "total"),
    ("counted", "events"),
    ("rank", "standing"),
    ("view", "by_title"),
];

/// What is said at each place.
pub type Names = BTreeMap<&'static str, String>;

/// What stands there otherwise.
pub fn plain() -> Names {
    SLOTS.into_iter().map(|(slot, name)| (slot, name.to_owned())).collect()
}

/// An identifier of SQL.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text of SQL.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The spec's text: `<<slot>>`, `<<"slot>>` as an identifier, `<<'slot>>` as a text of SQL.
pub fn spec(names: &Names, slot: &str) -> String {
    let mut text = SPEC.replace("@slot@", slot);
    for (slot, name) in names {
        for (mark, said) in [
            (format!("<<{slot}>>"), name.clone()),
            (format!("<<\"{slot}>>"), quoted(name)),
            (format!("<<'{slot}>>"), literal(name)),
        ] {
            // What JSON escapes, TOML reads; it wants this one escaped as well.
            let json = serde_json::Value::from(said).to_string().replace('\u{7f}', "\\u007F");
            text = text.replace(&mark, &json[1..json.len() - 1]);
        }
    }
    text
}

/// What it means.
pub fn load(names: &Names, slot: &str) -> Result<model::Warehouse, medallion::finding::Findings> {
    let text = spec(names, slot);
    model::load(&Files::alone("hostile", SourceText::new("spec/hostile/spec.toml", text)))
}
