//! Unit tests as they are written: TOML, every key and value with its place, so that whatever is wrong is shown where
//! it stands. Knows the words of the language, and neither a warehouse nor a database.

use std::fmt::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use unicode_width::UnicodeWidthStr as _;

use crate::error::{During as _, Error, Result};

/// A file's text.
#[derive(Debug)]
pub struct Text {
    path: String,
    text: String,
}

/// A place in a file.
#[derive(Clone, Debug)]
pub struct Place {
    text: Arc<Text>,
    range: Range<usize>,
}

impl Place {
    /// `file:line:column`.
    pub fn at(&self) -> String {
        let (line, column) = self.position();
        format!("{}:{line}:{column}", self.text.path)
    }

    fn position(&self) -> (usize, usize) {
        let before = &self.text.text[..self.range.start.min(self.text.text.len())];
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    /// An error that is so here, with the line that it stands in.
    pub fn error(&self, what: impl std::fmt::Display) -> Error {
        let (line, column) = self.position();
        let start = self.range.start.min(self.text.text.len());
        let line_start = self.text.text[..start].rfind('\n').map_or(0, |end| end + 1);
        let written = self.text.text[line_start..].lines().next().unwrap_or_default();
        let before = &written[..(start - line_start).min(written.len())];
        let end = self.range.end.clamp(start, line_start + written.len());
        let marked = self.text.text.get(start..end).unwrap_or_default().width().max(1);
        let gutter = " ".repeat(line.to_string().len());
        let mut said = what.to_string();
        let _ = write!(
            said,
            "\n{gutter} ┌─ {}:{line}:{column}\n{line} │ {written}\n{gutter} │ {}{}",
            self.text.path,
            " ".repeat(before.width()),
            "^".repeat(marked),
        );
        Error::new(said)
    }
}

/// Something, and where it stands.
#[derive(Clone, Debug)]
pub struct Placed<T> {
    pub value: T,
    pub place: Place,
}

/// A test.
#[derive(Clone, Debug)]
pub struct UnitTest {
    pub name: Placed<String>,
    pub given: Vec<Rows>,
    pub expect: Vec<Rows>,
    /// Expectations of a time that is past.
    pub as_of: Vec<(Placed<String>, Vec<Rows>)>,
    /// What `medallion.now()` says.
    pub now: Option<Placed<String>>,
}

/// Rows of a relation.
#[derive(Clone, Debug)]
pub struct Rows {
    pub relation: Placed<String>,
    pub rows: Vec<Placed<Row>>,
}

/// The columns of a row, by name.
pub type Row = Vec<(Placed<String>, Placed<Written>)>;

/// A value.
#[derive(Clone, Debug)]
pub enum Written {
    /// As JSON has it.
    Value(Value),
    /// A table: the row of a change.
    Row(Row),
}

impl Written {
    /// As JSON.
    pub fn json(&self) -> Value {
        match self {
            Self::Value(value) => value.clone(),
            Self::Row(row) => {
                row.iter().map(|(name, value)| (name.value.clone(), value.value.json())).collect()
            }
        }
    }
}

/// The tests of files, and of folders' `.toml`s, in the order of their names.
pub fn read(paths: &[PathBuf]) -> Result<Vec<UnitTest>> {
    let mut tests: Vec<UnitTest> = Vec::new();
    for path in paths {
        for file in files(path)? {
            let text =
                std::fs::read_to_string(&file).during(|| format!("cannot read `{}`", file.display()))?;
            for test in parse(&file.display().to_string(), text)? {
                if let Some(first) = tests.iter().find(|first| first.name.value == test.name.value) {
                    let what = format!("a second test is called `{}`", test.name.value);
                    return Err(test.name.place.error(what).remedy(format!(
                        "give it a name of its own: the first stands at {}",
                        first.name.place.at()
                    )));
                }
                tests.push(test);
            }
        }
    }
    Ok(tests)
}

fn files(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let cannot = || format!("cannot list `{}`", path.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).during(cannot)? {
        let file = entry.during(cannot)?.path();
        if file.extension().is_some_and(|extension| extension == "toml") {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

/// The tests of a text.
pub fn parse(path: &str, text: String) -> Result<Vec<UnitTest>> {
    let file = Reader(Arc::new(Text { path: path.to_owned(), text }));
    let text = Arc::clone(&file.0);
    let table = DeTable::parse(&text.text).map_err(|error| {
        file.place(error.span().unwrap_or_default()).error(format!("not TOML: {}", error.message()))
    })?;
    let mut tests = Vec::new();
    for (key, value) in table.get_ref() {
        if key.get_ref() != "unit_test" {
            return Err(file.unknown(key.span(), key.get_ref(), &["unit_test"]));
        }
        for one in file.array(value)? {
            tests.push(file.test(one)?);
        }
    }
    Ok(tests)
}

struct Reader(Arc<Text>);

impl Reader {
    fn place(&self, range: Range<usize>) -> Place {
        Place { text: Arc::clone(&self.0), range }
    }

    fn unknown(&self, range: Range<usize>, key: &str, known: &[&str]) -> Error {
        let known: Vec<String> = known.iter().map(|key| format!("`{key}`")).collect();
        self.place(range).error(format!("unknown key `{key}`")).remedy(format!("known: {}", known.join(", ")))
    }

    fn wrong(&self, value: &Spanned<DeValue<'_>>, wanted: &str) -> Error {
        let found = value.get_ref().type_str();
        self.place(value.span()).error(format!("{wanted} is to stand here, and not a TOML {found}"))
    }

    fn array<'a, 'i>(&self, value: &'a Spanned<DeValue<'i>>) -> Result<&'a [Spanned<DeValue<'i>>]> {
        match value.get_ref().as_array() {
            Some(array) => Ok(array),
            None => Err(self.wrong(value, "an array of tables")),
        }
    }

    fn table<'a, 'i>(&self, value: &'a Spanned<DeValue<'i>>) -> Result<&'a DeTable<'i>> {
        value.get_ref().as_table().ok_or_else(|| self.wrong(value, "a table"))
    }

    /// A text, or a time without quotes.
    fn text(&self, value: &Spanned<DeValue<'_>>, wanted: &str) -> Result<Placed<String>> {
        let text = match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Datetime(time) => time.to_string(),
            _ => return Err(self.wrong(value, wanted)),
        };
        Ok(Placed { value: text, place: self.place(value.span()) })
    }

    fn test(&self, value: &Spanned<DeValue<'_>>) -> Result<UnitTest> {
        const KNOWN: [&str; 6] = ["name", "description", "given", "expect", "as_of", "now"];
        let (mut name, mut now) = (None, None);
        let (mut given, mut expect, mut as_of) = (Vec::new(), Vec::new(), Vec::new());
        for (key, value) in self.table(value)? {
            match key.get_ref().as_ref() {
                "name" => name = Some(self.text(value, "a name")?),
                "description" => drop(self.text(value, "a text")?),
                "given" => given = self.relations(value)?,
                "expect" => expect = self.relations(value)?,
                "as_of" => {
                    for (time, relations) in self.table(value)? {
                        let place = self.place(time.span());
                        let time = Placed { value: time.get_ref().to_string(), place };
                        as_of.push((time, self.relations(relations)?));
                    }
                }
                "now" => now = Some(self.text(value, "a time")?),
                other => return Err(self.unknown(key.span(), other, &KNOWN)),
            }
        }
        let whole = self.place(value.span());
        let Some(name) = name else {
            return Err(whole.error("a unit test has no name").remedy("say what it proves: `name = \"…\"`"));
        };
        if expect.is_empty() && as_of.is_empty() {
            return Err(name.place.error(format!("`{}` expects nothing", name.value)).remedy(
                "say which rows a relation has then: `expect.dim_customer = [{ customer_id = 1 }]`",
            ));
        }
        Ok(UnitTest { name, given, expect, as_of, now })
    }

    fn relations(&self, value: &Spanned<DeValue<'_>>) -> Result<Vec<Rows>> {
        let mut relations = Vec::new();
        for (name, rows) in self.table(value)? {
            let relation = Placed { value: name.get_ref().to_string(), place: self.place(name.span()) };
            if rows.get_ref().is_table() {
                let what = format!("`{}` has no rows", relation.value);
                let remedy = "put a name of two parts in quotes: `expect.\"silver.dim_customer\" = […]`";
                return Err(relation.place.error(what).remedy(remedy));
            }
            let rows: Result<Vec<Placed<Row>>> = self
                .array(rows)?
                .iter()
                .map(|row| Ok(Placed { value: self.row(row)?, place: self.place(row.span()) }))
                .collect();
            relations.push(Rows { relation, rows: rows? });
        }
        Ok(relations)
    }

    fn row(&self, value: &Spanned<DeValue<'_>>) -> Result<Row> {
        let mut row = Vec::new();
        for (name, value) in self.table(value)? {
            let written = match value.get_ref() {
                DeValue::Table(_) => Written::Row(self.row(value)?),
                other => Written::Value(json(other)),
            };
            let name = Placed { value: name.get_ref().to_string(), place: self.place(name.span()) };
            row.push((name, Placed { value: written, place: self.place(value.span()) }));
        }
        // As it is written, and not by the alphabet.
        row.sort_by_key(|(name, _)| name.place.range.start);
        Ok(row)
    }
}

/// Digits that a double keeps whatever they are.
const EXACT: usize = 15;

fn json(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Boolean(truth) => Value::from(*truth),
        DeValue::Datetime(time) => Value::from(time.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(whole) => Value::from(whole),
            Err(_) => Value::from(number.as_str()),
        },
        DeValue::Float(number) => {
            let text = number.as_str();
            let exact = text.bytes().filter(u8::is_ascii_digit).count() <= EXACT;
            match text.trim_start_matches('+') {
                "nan" | "-nan" => Value::from("NaN"),
                "inf" => Value::from("Infinity"),
                "-inf" => Value::from("-Infinity"),
                text => match text.parse::<f64>() {
                    Ok(float) if exact => Value::from(float),
                    _ => Value::from(text),
                },
            }
        }
        DeValue::Array(values) => values.iter().map(|value| json(value.get_ref())).collect(),
        DeValue::Table(table) => {
            table.iter().map(|(key, value)| (key.get_ref().to_string(), json(value.get_ref()))).collect()
        }
    }
}
