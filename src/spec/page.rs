//! The language of specs as a page: each table, its keys, what they take and say. Made of the JSON Schema, so that it tells
//! what an editor tells. Knows the schema's shape and no table of the language by its name, but for their order.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// The order in which a reader meets the tables; others come behind.
const ORDER: [&str; 14] = [
    "warehouse",
    "source",
    "landing",
    "staging",
    "dimension",
    "fact",
    "lookup",
    "temporal_join",
    "calendar",
    "mart",
    "types",
    "renamed_values",
    "schemas",
    "roles",
];

/// The page of a schema.
pub fn page(schema: &Value) -> String {
    let mut page = Page { schema, text: String::new(), shown: BTreeSet::new() };
    page.text.push_str(
        "# The spec language\n\n\
         Every table of a `spec.toml`, every key in it, and the words that it takes. Editors tell the same by\n\
         `spec/spec.schema.json`. A key that has to be there is set in bold.\n",
    );
    let tables = schema["properties"].as_object().into_iter().flatten();
    let mut tables = tables.map(|(name, of)| (name.as_str(), of)).collect::<Vec<_>>();
    tables.sort_by_key(|(name, _)| (ORDER.iter().position(|one| one == name).unwrap_or(ORDER.len()), *name));
    for (name, of) in tables {
        page.table(name, of);
    }
    page.text
}

struct Page<'s> {
    schema: &'s Value,
    text: String,
    /// Definitions that have a chapter, or will have.
    shown: BTreeSet<&'s str>,
}

impl<'s> Page<'s> {
    fn table(&mut self, name: &str, of: &'s Value) {
        let heading = if of["type"] == "array" { format!("[[{name}]]") } else { format!("[{name}]") };
        self.text.push_str(&format!("\n## `{heading}`\n\n{}\n", described(of)));
        let element = if of["type"] == "array" { &of["items"] } else { of };
        let target = self.target(element);
        self.shown.extend(reference(element));
        let mut below = self.keys(target);
        if target["properties"].is_null() {
            self.text.push_str(&format!(
                "\nEach key is a name of yours; all together are a {}.\n",
                self.takes(of).0
            ));
        }
        // What a table's keys take is told with the first table that takes it.
        while let Some(definition) = below.pop() {
            if !self.shown.insert(definition) {
                continue;
            }
            let of = &self.schema["definitions"][definition];
            self.text.push_str(&format!("\n### {}\n\n{}\n", words(definition), described(of)));
            below.extend(self.keys(of));
        }
    }

    /// A row a key; gives the definitions that they take, the last first.
    fn keys(&mut self, table: &'s Value) -> Vec<&'s str> {
        let Some(keys) = table["properties"].as_object() else { return Vec::new() };
        let required = table["required"].as_array().map(Vec::as_slice).unwrap_or_default();
        self.text.push_str("\n| key | takes | says |\n| --- | --- | --- |\n");
        let mut taken = Vec::new();
        let needed = |key: &String| required.iter().any(|one| one == key);
        for (key, of) in in_order(keys, required) {
            let (takes, definitions) = self.takes(of);
            taken.extend(definitions);
            let key = if needed(key) { format!("**`{key}`**") } else { format!("`{key}`") };
            let said = [one_line(&described(of)), self.choices(of)].join("");
            self.text.push_str(&format!("| {key} | {takes} | {said} |\n"));
        }
        taken.reverse();
        taken
    }

    /// What a key takes, in words, and the tables of these.
    fn takes(&self, of: &'s Value) -> (String, Vec<&'s str>) {
        if let Some(name) = reference(of) {
            let target = &self.schema["definitions"][name];
            return match target["properties"].is_null() {
                true => self.takes(target),
                false => (format!("[{}](#{})", words(name).to_lowercase(), anchor(name)), vec![name]),
            };
        }
        if let Some(any) = of["anyOf"].as_array().filter(|_| of["properties"].is_null()) {
            let parts = any.iter().map(|one| self.takes(one)).collect::<Vec<_>>();
            let said = parts.iter().map(|(said, _)| said.as_str()).collect::<BTreeSet<_>>();
            let said = said.into_iter().collect::<Vec<_>>().join(" or ");
            return (said, parts.into_iter().flat_map(|(_, below)| below).collect());
        }
        if of["oneOf"].is_array() || of["const"].is_string() || of["enum"].is_array() {
            return ("word".to_owned(), Vec::new());
        }
        let said = match of["type"].as_str() {
            Some("string") => "text",
            Some("boolean") => "true or false",
            Some("integer") => "whole number",
            Some("number") => "number",
            Some("array") => {
                let (each, below) = self.takes(&of["items"]);
                return (format!("list of {each}"), below);
            }
            _ if of["additionalProperties"].is_object() => {
                let (each, below) = self.takes(&of["additionalProperties"]);
                return (format!("table of {each}"), below);
            }
            _ => "table",
        };
        (said.to_owned(), Vec::new())
    }

    /// The words that a key takes, each with what it says.
    fn choices(&self, of: &'s Value) -> String {
        let of = self.target(of);
        let choices = of["oneOf"].as_array().into_iter().flatten();
        let choices = choices.filter_map(|one| Some((one["const"].as_str()?, described(one))));
        choices.map(|(word, said)| format!("<br>`{word}`: {}", one_line(&said))).collect()
    }

    fn target(&self, of: &'s Value) -> &'s Value {
        reference(of).map_or(of, |name| &self.schema["definitions"][name])
    }
}

/// The definition that a value is.
fn reference(of: &Value) -> Option<&str> {
    let of = of["allOf"].as_array().and_then(|all| all.first()).unwrap_or(of);
    of["$ref"].as_str()?.rsplit('/').next()
}

/// Keys that have to be there first, a name before all of them, the others as the schema has them.
fn in_order<'k>(
    keys: &'k Map<String, Value>,
    required: &[Value],
) -> impl Iterator<Item = (&'k String, &'k Value)> + use<'k> {
    let mut keys = keys.iter().collect::<Vec<_>>();
    keys.sort_by_key(|(key, _)| (*key != "name", !required.iter().any(|one| one == *key), (*key).clone()));
    keys.into_iter()
}

fn described(of: &Value) -> String {
    of["description"].as_str().unwrap_or_default().to_owned()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

/// `LookedUp` as people write it.
fn words(name: &str) -> String {
    let mut words = String::new();
    for (index, letter) in name.chars().enumerate() {
        match letter.is_uppercase() && index > 0 {
            true => words.extend([' ', letter.to_ascii_lowercase()]),
            false => words.push(letter),
        }
    }
    words
}

fn anchor(name: &str) -> String {
    words(name).to_lowercase().replace(' ', "-")
}
