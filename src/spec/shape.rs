//! Compares a TOML table with the language's JSON Schema: unknown keys, missing keys, values of the wrong
//! shape, words that are none of those possible. Whatever does not fit is reported and taken out, so that
//! reading what is left cannot fail; a misspelt key is read as the one that was meant. Knows nothing of
//! what the words mean.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use crate::finding::{Code, Finding, Span, closest};

/// What a comparison has found.
#[derive(Debug, Default)]
pub(super) struct Shape {
    /// What does not fit.
    pub findings: Vec<Finding>,
    /// Where the tables stand, of those listed at the top, of which something was taken out.
    pub incomplete: Vec<Range<usize>>,
    /// Whether something was taken out that is part of none of them.
    pub holes: bool,
}

/// Compares a whole text's table.
pub(super) fn compare(
    schema: &Value,
    path: &Arc<str>,
    table: &mut DeTable<'_>,
    whole: Range<usize>,
) -> Shape {
    let mut comparison = Comparison { root: schema, path, shape: Shape::default(), item: None };
    let fields = comparison.fields(schema);
    comparison.table(&fields, table, whole, "");
    comparison.shape
}

struct Comparison<'a> {
    root: &'a Value,
    path: &'a Arc<str>,
    shape: Shape,
    /// The table, listed at the top, that is being looked at.
    item: Option<Range<usize>>,
}

/// What a table may hold.
struct Fields<'a> {
    known: Option<&'a Map<String, Value>>,
    required: Vec<&'a str>,
    /// Of these one is enough.
    either: Vec<&'a str>,
    /// What the values of all other keys look like; none are allowed without.
    others: Option<&'a Value>,
}

/// Whether a value may stay.
#[derive(PartialEq)]
enum Verdict {
    Fits,
    TakeOut,
}

/// What says of a value how it has to look; without any of it, it may be anything.
const SAYS: [&str; 6] = ["type", "anyOf", "allOf", "oneOf", "enum", "const"];

impl<'a> Comparison<'a> {
    fn fields(&self, schema: &'a Value) -> Fields<'a> {
        let schema = self.resolved(schema);
        let required = schema.get("required").and_then(Value::as_array);
        let either = schema.get("anyOf").and_then(Value::as_array).into_iter().flatten();
        let either = either.filter_map(|one| one.pointer("/required/0").and_then(Value::as_str)).collect();
        Fields {
            either,
            known: schema.get("properties").and_then(Value::as_object),
            required: required.map_or(Vec::new(), |names| names.iter().filter_map(Value::as_str).collect()),
            others: schema.get("additionalProperties").filter(|others| others.is_object()),
        }
    }

    fn resolved(&self, schema: &'a Value) -> &'a Value {
        let reference = schema.get("$ref").and_then(Value::as_str);
        match reference.and_then(|pointer| self.root.pointer(pointer.trim_start_matches('#'))) {
            Some(target) => target,
            None => schema,
        }
    }

    fn table(&mut self, fields: &Fields<'a>, table: &mut DeTable<'_>, header: Range<usize>, what: &str) {
        let entries = std::mem::take(table).into_iter().collect::<Vec<_>>();
        let present = entries.iter().map(|(key, _)| key.get_ref().to_string()).collect::<Vec<_>>();
        let mut kept = Vec::new();
        for (key, mut value) in entries {
            let Some((key, schema)) = self.key(fields, key, &present, what) else { continue };
            let top = what.is_empty();
            if self.value(schema, &mut value, key.get_ref(), top) == Verdict::Fits {
                kept.push((key, value));
            } else {
                self.took_out();
            }
        }
        for name in &fields.required {
            let written = present.iter().any(|key| key == name);
            if !written && !kept.iter().any(|(key, _)| key.get_ref() == name) {
                let message = match what {
                    "" => format!("there is no `[{name}]`"),
                    what => format!("{what} has no `{name}`"),
                };
                let place = Span::new(Arc::clone(self.path), header.clone());
                self.shape.findings.push(
                    Finding::new(Code::MissingKey, message, place).label(format!("`{name}` has to be given")),
                );
                self.took_out();
            }
        }
        if let Some((name, others)) = fields.either.split_first()
            && !present.iter().any(|key| fields.either.contains(&key.as_str()))
            && !kept.iter().any(|(key, _)| fields.either.contains(&key.get_ref().as_ref()))
        {
            let place = Span::new(Arc::clone(self.path), header);
            let others: Vec<String> = others.iter().map(|other| format!("or `{other}`")).collect();
            self.shape.findings.push(
                Finding::new(Code::MissingKey, format!("{what} has no `{name}`"), place)
                    .label(format!("`{name}` has to be given, {}", others.join(", "))),
            );
            self.took_out();
        }
        table.extend(kept);
    }

    /// The key that is meant, and what its value looks like.
    fn key<'t>(
        &mut self,
        fields: &Fields<'a>,
        key: Spanned<Cow<'t, str>>,
        present: &[String],
        what: &str,
    ) -> Option<(Spanned<Cow<'t, str>>, &'a Value)> {
        let written = key.get_ref().to_string();
        if let Some(schema) = fields.known.and_then(|known| known.get(&written)).or(fields.others) {
            return Some((key, schema));
        }
        let known = fields.known.into_iter().flat_map(Map::keys).map(String::as_str).collect::<Vec<_>>();
        let meant = closest(&written, known.iter().copied());
        let place = Span::new(Arc::clone(self.path), key.span());
        let message = match what {
            "" => format!("there is no key `{written}`"),
            what => format!("{what} takes no `{written}`"),
        };
        let finding = Finding::new(Code::UnknownKey, message, place).label("unknown key");
        let finding = match meant {
            Some(meant) => finding.help(format!("did you mean `{meant}`?")),
            None => finding.help(format!("it takes {}", listed(&known))),
        };
        self.shape.findings.push(finding);

        let free = meant.filter(|meant| !present.iter().any(|key| key == meant));
        match free.and_then(|meant| Some((meant, fields.known?.get(meant)?))) {
            Some((meant, schema)) => {
                let meant = Cow::Owned(meant.to_owned());
                Some((Spanned::new(key.span(), meant), schema))
            }
            None => {
                if meant.is_none() && what.is_empty() {
                    self.took_out();
                }
                None
            }
        }
    }

    fn value(
        &mut self,
        schema: &'a Value,
        value: &mut Spanned<DeValue<'_>>,
        key: &str,
        top: bool,
    ) -> Verdict {
        let schema = self.resolved(schema);
        if !SAYS.iter().any(|word| schema.get(word).is_some()) {
            return Verdict::Fits;
        }
        if let Some(words) = words(schema) {
            return self.word(&words, value, key);
        }
        let choices = match schema.get("anyOf").and_then(Value::as_array) {
            Some(choices) => choices.iter().map(|choice| self.resolved(choice)).collect(),
            None => match schema.get("allOf").and_then(Value::as_array).map(Vec::as_slice) {
                Some([only]) => vec![self.resolved(only)],
                _ => vec![schema],
            },
        };
        if let [only] = choices.as_slice()
            && let Some(words) = words(only)
        {
            return self.word(&words, value, key);
        }
        let expected = choices.iter().filter_map(|choice| of(choice)).collect::<Vec<_>>();
        let found = kind(value.get_ref());
        let span = value.span();
        match choices.iter().find(|choice| of(choice) == Some(found)) {
            None => {
                let expected = expected.iter().map(|name| said(name)).collect::<Vec<_>>().join(" or ");
                let place = Span::new(Arc::clone(self.path), span);
                let finding = Finding::new(Code::WrongShape, format!("`{key}` is {expected}"), place)
                    .label(format!("this is {}", said(found)));
                self.shape.findings.push(match top && expected == said("array") && found == "object" {
                    true => finding.help(format!("write `[[{key}]]`")),
                    false => finding,
                });
                Verdict::TakeOut
            }
            Some(choice) => {
                self.within(choice, value, key, span, top);
                Verdict::Fits
            }
        }
    }

    fn within(
        &mut self,
        schema: &'a Value,
        value: &mut Spanned<DeValue<'_>>,
        key: &str,
        span: Range<usize>,
        top: bool,
    ) {
        match value.get_mut() {
            DeValue::Table(table) => {
                let fields = self.fields(schema);
                let what = if top { format!("`[{key}]`") } else { format!("`{key}`") };
                self.table(&fields, table, span, &what);
            }
            DeValue::Array(array) => {
                // What may be anything is looked at by who reads it.
                let Some(items) = schema.get("items").filter(|items| items.is_object()) else { return };
                let elements = std::mem::replace(array, DeArray::new()).into_iter().collect::<Vec<_>>();
                for mut element in elements {
                    let outer = self.item.clone();
                    if top && matches!(element.get_ref(), DeValue::Table(_)) {
                        self.item = Some(element.span());
                    }
                    let key = if top { format!("[[{key}]]") } else { key.to_owned() };
                    if self.element(items, &mut element, &key) == Verdict::Fits {
                        array.push(element);
                    } else {
                        self.took_out();
                    }
                    self.item = outer;
                }
            }
            _ => {}
        }
    }

    fn element(&mut self, schema: &'a Value, value: &mut Spanned<DeValue<'_>>, key: &str) -> Verdict {
        // An element of `columns` is spoken of as an element, not as the list.
        let resolved = self.resolved(schema);
        let found = kind(value.get_ref());
        let expected = resolved.get("type").and_then(Value::as_str).unwrap_or(found);
        if expected != found {
            let place = Span::new(Arc::clone(self.path), value.span());
            let message = format!("each of `{key}` is {}", said(expected));
            self.shape.findings.push(
                Finding::new(Code::WrongShape, message, place).label(format!("this is {}", said(found))),
            );
            return Verdict::TakeOut;
        }
        let span = value.span();
        match value.get_mut() {
            DeValue::Table(table) => {
                let what = match table.get("name").and_then(|name| name.get_ref().as_str()) {
                    Some(name) => format!("`{name}` in `{key}`"),
                    None => format!("an entry of `{key}`"),
                };
                let fields = self.fields(resolved);
                self.table(&fields, table, span, &what);
                Verdict::Fits
            }
            _ => self.value(schema, value, key, false),
        }
    }

    fn word(&mut self, words: &[&str], value: &Spanned<DeValue<'_>>, key: &str) -> Verdict {
        let place = Span::new(Arc::clone(self.path), value.span());
        let Some(written) = value.get_ref().as_str() else {
            self.shape.findings.push(
                Finding::new(Code::WrongShape, format!("`{key}` is one of {}", listed(words)), place)
                    .label(format!("this is {}", said(kind(value.get_ref())))),
            );
            return Verdict::TakeOut;
        };
        if words.contains(&written) {
            return Verdict::Fits;
        }
        let finding = Finding::new(Code::UnknownWord, format!("`{key}` cannot be `{written}`"), place);
        let finding = finding.did_you_mean(written, words.iter().copied());
        self.shape.findings.push(finding.help(format!("it is one of {}", listed(words))));
        Verdict::TakeOut
    }

    fn took_out(&mut self) {
        match &self.item {
            Some(item) => self.shape.incomplete.push(item.clone()),
            None => self.shape.holes = true,
        }
    }
}

/// The words of an enumeration, if a schema is one.
fn words(schema: &Value) -> Option<Vec<&str>> {
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        return Some(words.iter().filter_map(Value::as_str).collect());
    }
    let choices = schema.get("oneOf")?.as_array()?;
    let words = choices.iter().flat_map(|choice| {
        let several = choice.get("enum").and_then(Value::as_array).into_iter().flatten();
        several.chain(choice.get("const")).filter_map(Value::as_str)
    });
    Some(words.collect())
}

/// The JSON Schema name of a value's kind.
fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "string",
        DeValue::Integer(_) => "integer",
        DeValue::Float(_) => "number",
        DeValue::Boolean(_) => "boolean",
        DeValue::Datetime(_) => "datetime",
        DeValue::Array(_) => "array",
        DeValue::Table(_) => "object",
    }
}

/// The kind that a schema is of. JSON has no times, and writes them as strings.
fn of(schema: &Value) -> Option<&str> {
    match schema.get("type")?.as_str()? {
        "string" if schema.get("format").is_some_and(|format| format == "date-time") => Some("datetime"),
        kind => Some(kind),
    }
}

/// A kind, for a reader of TOML.
fn said(kind: &str) -> &'static str {
    match kind {
        "string" => "a string",
        "integer" => "a number",
        "number" => "a number with a fraction",
        "boolean" => "`true` or `false`",
        "datetime" => "a date or a time",
        "array" => "a list",
        _ => "a table",
    }
}

fn listed(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}
