//! Schemas of another name. A layer is what it is by its place in the spec, so that its schema's name is all that
//! changes: nothing has to be decided. What PostgreSQL keeps by number follows by itself; what it keeps as text (bodies,
//! strings) differs afterwards, and is replaced like any other definition.

use serde_json::Value;

use super::difference::Step;
use super::object::{Catalog, Kind, Object, Unreadable, tokens_of};
use super::quote::identifier;
use super::table::quoted;
use crate::model::Name;

/// Schemas that have another name: before, and now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schemas(Vec<(String, String)>);

impl Schemas {
    /// What two models call their layers otherwise.
    pub fn between(before: &Value, now: &Value) -> Self {
        let layers = ["bronze", "silver", "gold"].into_iter();
        let called = |model: &Value, layer: &str| model["schemas"][layer].as_str().map(str::to_owned);
        let pairs = layers.filter_map(|layer| Some((called(before, layer)?, called(now, layer)?)));
        Self(pairs.filter(|(before, now)| before != now).collect())
    }

    /// Whether all are called as they were.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each, before and now.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(before, now)| (before.as_str(), now.as_str()))
    }

    /// The way back.
    #[must_use]
    pub fn inverse(&self) -> Self {
        Self(self.0.iter().map(|(before, now)| (now.clone(), before.clone())).collect())
    }

    /// What a schema is called now.
    pub fn called<'s>(&'s self, schema: &'s str) -> &'s str {
        self.iter().find(|(before, _)| *before == schema).map_or(schema, |(_, now)| now)
    }

    /// What a relation is called now.
    #[must_use]
    pub fn name(&self, name: &Name) -> Name {
        Name::new(self.called(&name.schema), &name.name)
    }

    /// A title or a plain name, `schema.name`, as it is now.
    pub fn plain(&self, text: &str) -> String {
        let of = |schema: &str| text.strip_prefix(schema).filter(|rest| rest.starts_with('.'));
        let found = self.iter().find_map(|(before, now)| Some(format!("{now}{}", of(before)?)));
        found.unwrap_or_else(|| text.to_owned())
    }

    /// SQL as it reads now: every quoted name that begins with one of the schemas.
    pub fn text(&self, text: &str) -> String {
        let mut found = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find('"') {
            let (before, from) = rest.split_at(start);
            found.push_str(before);
            let Some((name, after)) = quoted(from) else {
                rest = from;
                break;
            };
            let begins = !before.ends_with('.') && after.starts_with('.');
            found.push_str(&if begins { self.quoted(name) } else { name.to_owned() });
            // What follows a dot begins nothing.
            rest = after;
            if let Some((name, after)) = begins.then(|| quoted(&rest[1..])).flatten() {
                found.push('.');
                found.push_str(name);
                rest = after;
            }
        }
        found.push_str(rest);
        found
    }

    /// A model as it reads now.
    #[must_use]
    pub fn model(&self, model: &Value) -> Value {
        match model {
            Value::String(text) => Value::String(self.text(text)),
            Value::Array(list) => list.iter().map(|one| self.model(one)).collect(),
            Value::Object(map) => {
                let is_name = map.contains_key("schema") && map.contains_key("name");
                let of = |word: &String, value: &Value| match value {
                    Value::String(schema) if is_name && word == "schema" => {
                        Value::String(self.called(schema).to_owned())
                    }
                    Value::Object(layers) if word == "schemas" => layers
                        .iter()
                        .map(|(layer, schema)| {
                            let now = schema.as_str().map(|schema| self.called(schema));
                            (layer.clone(), now.map_or_else(|| schema.clone(), Value::from))
                        })
                        .collect(),
                    value => self.model(value),
                };
                Value::Object(map.iter().map(|(word, value)| (word.clone(), of(word, value))).collect())
            }
            other => other.clone(),
        }
    }

    /// The statements, and the catalog of before as it is called after them.
    ///
    /// # Errors
    ///
    /// A statement cannot be read: a mistake of the tool's.
    pub(super) fn apply(&self, old: &Catalog, new: &Catalog) -> Result<(Vec<Step>, Catalog), Unreadable> {
        let mut catalog = old.clone();
        if self.is_empty() {
            return Ok((Vec::new(), catalog));
        }
        for object in &mut catalog.objects {
            self.rewrite(object)?;
        }
        for comment in &mut catalog.comments {
            comment.section = self.plain(&comment.section);
            comment.target = match comment.target.strip_prefix("SCHEMA ") {
                Some(schema) => format!("SCHEMA {}", self.quoted(schema)),
                None => self.text(&comment.target),
            };
        }
        for (section, grant) in &mut catalog.grants {
            *section = self.plain(section);
            grant.object = match grant.class.as_str() {
                "SCHEMA " => self.quoted(&grant.object),
                _ => self.text(&grant.object),
            };
        }
        Ok((self.steps(new), catalog))
    }

    fn rewrite(&self, object: &mut Object) -> Result<(), Unreadable> {
        object.section = self.plain(&object.section);
        let mut tokens = tokens_of(&object.sql);
        let mut changed = false;
        for number in 0..tokens.len() {
            let follows = number > 0 && tokens[number - 1] == ".";
            let leads = tokens.get(number + 1).is_some_and(|next| next == ".");
            if tokens[number].starts_with('"') && !follows && (leads || object.identity.kind == Kind::Schema)
            {
                let now = self.quoted(&tokens[number]);
                changed |= now != tokens[number];
                tokens[number] = now;
            }
        }
        // An index is named without its schema, which is its table's.
        if changed {
            let read = Catalog::read([(object.section.as_str(), tokens.concat().as_str())])?;
            let [one] = read.objects.as_slice() else { return Err(Unreadable(object.sql.clone())) };
            *object = Object { remark: object.remark.clone(), always: object.always, ..one.clone() };
        }
        Ok(())
    }

    /// Where one takes the name of another, all of them stand aside first.
    fn steps(&self, new: &Catalog) -> Vec<Step> {
        let section = |schema: &str| {
            let objects = new.objects.iter();
            let mut found =
                objects.filter(|one| one.identity.kind == Kind::Schema && one.identity.name == schema);
            found.next().map_or("", |one| one.section.as_str())
        };
        let meets = self.iter().any(|(_, now)| self.iter().any(|(before, _)| before == now));
        let mut aside = Vec::new();
        let mut steps = Vec::new();
        for (number, (before, now)) in self.iter().enumerate() {
            let (mut before, now) = (identifier(before), identifier(now));
            if meets {
                let place = format!("\"medallion$schema_{number}\"");
                aside.push(Step::new(section(&now), format!("ALTER SCHEMA {before} RENAME TO {place};")));
                before = place;
            }
            steps.push(Step::new(section(&now), format!("ALTER SCHEMA {before} RENAME TO {now};")));
        }
        aside.into_iter().chain(steps).collect()
    }

    /// A schema's quoted name as it is now.
    fn quoted(&self, name: &str) -> String {
        let found = self.iter().find(|(before, _)| identifier(before) == name);
        found.map_or_else(|| name.to_owned(), |(_, now)| identifier(now))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn swapped() -> Schemas {
        let model = |silver: &str, gold: &str| json!({ "schemas": { "bronze": "b", "silver": silver, "gold": gold } });
        Schemas::between(&model("a", "z"), &model("z", "a"))
    }

    #[test]
    fn names_change_where_they_are_a_schema_s() {
        let text =
            swapped().text("SELECT \"a\".\"a\".\"z\", \"x\".\"a\", \"z\".\"t\" AS \"a\" FROM \"z\".\"z\"");
        assert_eq!(text, "SELECT \"z\".\"a\".\"z\", \"x\".\"a\", \"a\".\"t\" AS \"a\" FROM \"a\".\"z\"");
        assert_eq!(swapped().plain("a.t"), "z.t");
        assert_eq!(swapped().plain("ab.t"), "ab.t");
    }

    #[test]
    fn a_model_s_names_change_and_nothing_else_of_it() {
        let model = json!({
            "schemas": { "bronze": "b", "silver": "a", "gold": "z" },
            "silver": [{ "name": { "schema": "a", "name": "a" }, "from": "a" }],
        });
        let wanted = json!({
            "schemas": { "bronze": "b", "silver": "z", "gold": "a" },
            "silver": [{ "name": { "schema": "z", "name": "a" }, "from": "a" }],
        });
        assert_eq!(swapped().model(&model), wanted);
    }
}
