//! The spec of `spec.toml` with names and texts put in. Knows no server.

use std::collections::BTreeMap;

use medallion::finding::SourceText;
use medallion::model;
use medallion::spec::Files;

const SPEC: &str = include_str!("spec.toml");
const FILES: &str = include_str!("files.toml");

/// A warehouse that files alone feed.
const ALONE: &str = "[warehouse]\nname = \"hostile\"\ntime_zone = \"UTC\"\n\n\
    [schemas]\nbronze = \"<<bronze>>\"\nsilver = \"<<silver>>\"\ngold = \"<<gold>>\"\n";

/// Every place of the spec where a name or a text may stand, with what stands there otherwise.
pub const SLOTS: [(&str, &str); 64] = [
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
    ("filtered", "nobody writes this"),
    ("calendar", "dim_date"),
    ("composed", "loud_there"),
    ("temporal", "event_with_thing"),
    ("beside", "the_thing"),
    ("beside_column", "loud_at_home"),
    ("file_landing", "br_price"),
    ("file_dimension", "dim_price_hist"),
    ("file_current", "dim_price"),
    ("folder", "prices"),
    ("folder_field", "shelf_no"),
    ("told_at", "told_at"),
    ("product", "product"),
    ("shelf", "shelf"),
    ("price", "price"),
    ("price_field", "price_written"),
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

/// What a spec's text says: `<<slot>>`, `<<"slot>>` as an identifier, `<<'slot>>` as a text of SQL.
fn filled(spec: &str, names: &Names, slot: &str) -> String {
    let mut text = spec.replace("@slot@", slot);
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

/// Which of a warehouse's feeds there are.
#[allow(dead_code, reason = "not every test has each")]
#[derive(Clone, Copy, Debug)]
pub enum Fed {
    /// All.
    All,
    /// The source alone.
    Source,
    /// Files alone.
    Files,
}

/// What the spec means.
pub fn load(names: &Names, slot: &str, fed: Fed) -> Result<model::Warehouse, medallion::finding::Findings> {
    let spec = match fed {
        Fed::All => [SPEC, FILES].concat(),
        Fed::Source => SPEC.to_owned(),
        Fed::Files => [ALONE, FILES].concat(),
    };
    let text = filled(&spec, names, slot);
    model::load(&Files::alone("hostile", SourceText::new("spec/hostile/spec.toml", text)))
}

/// Ways of mixing names.
pub const MIXES: usize = MIXED.len() + 1;

/// What each mix is made of, a number behind it in each place. The last but one are as long as they can be and differ in
/// their ends only.
const MIXED: [&str; 6] = [
    "it's \"x\" \\' -- ",
    "$1; DROP TABLE canary; /* é",
    "</script><script>{{x}}%s ",
    "SELECT \u{202e}\"\"",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "💥 größe $",
];

/// What statements call their own relations and columns, for columns of people: the last mix.
const OURS: [(&str, &str); 19] = [
    ("key", "after"),
    ("column", "before"),
    ("field", "full_row"),
    ("computed", "one"),
    ("staged", "staged"),
    ("enum", "shown"),
    ("place_key", "version"),
    ("place", "landed"),
    ("at", "event"),
    ("amount", "change"),
    ("amount_field", "lsn"),
    ("looked_up", "state"),
    ("grain", "side"),
    ("unit", "looked"),
    ("mood", "kept"),
    ("measure", "stored"),
    ("counted", "fresh"),
    ("rank", "journal"),
    ("composed", "relation"),
];

/// The longest name, in bytes.
const LONGEST: usize = 63;

/// Names of a mix: hostile wherever the language takes them.
pub fn mixed(number: usize) -> Names {
    let mut names = plain();
    let Some(mix) = MIXED.get(number) else {
        names.extend(OURS.map(|(slot, name)| (slot, name.to_owned())));
        return names;
    };
    for (at, (slot, _)) in SLOTS.into_iter().enumerate() {
        let name = (1..=LONGEST).rev().filter_map(|most| cut(mix, at, most));
        // The longest that is taken, of those that are worth a try.
        let tried = name.into_iter().filter({
            let mut last = String::new();
            move |name: &String| std::mem::replace(&mut last, name.clone()) != *name
        });
        for name in tried.take(12) {
            let before = names.insert(slot, name);
            if load(&names, "hostile", Fed::All).is_ok() {
                break;
            }
            names.insert(slot, before.unwrap());
        }
    }
    names
}

/// The text, cut so that with a number it has so many bytes at most.
fn cut(text: &str, number: usize, most: usize) -> Option<String> {
    let number = format!("{number:02}");
    let mut room = most.checked_sub(number.len())?.min(text.len());
    while !text.is_char_boundary(room) {
        room -= 1;
    }
    Some(format!("{}{number}", &text[..room]))
}
