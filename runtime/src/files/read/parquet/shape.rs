//! How the values of columns are nested in a row: structs, lists and maps, each written as JSON. Columns tell it by levels:
//! how much of a value's path is there (its definition), and from which list on something is repeated (its repetition).

use std::ops::Range;

use parquet::basic::{ConvertedType, Repetition};
use parquet::errors::ParquetError;
use parquet::schema::types::{SchemaDescriptor, Type};

use super::super::string;
use super::column::Column;

/// No file that means well is nested deeper.
const DEEPEST: usize = 64;

/// A part of a row.
pub enum Shape {
    /// A value of a column.
    Value { column: usize },
    /// A struct: its fields, each with its name as JSON.
    Struct(Vec<(Vec<u8>, Shape)>),
    /// A struct, list or map that may be missing.
    Optional { defined: i16, columns: Range<usize>, inner: Box<Shape> },
    /// So many of one kind.
    List { levels: Levels, columns: Range<usize>, element: Box<Shape> },
    /// Keys and values.
    Map { levels: Levels, columns: Range<usize>, key: Box<Shape>, value: Box<Shape> },
}

/// At which levels something is there.
#[derive(Clone, Copy, Default)]
pub struct Levels {
    definition: i16,
    repetition: i16,
}

impl Levels {
    fn optional(self) -> Self {
        Self { definition: self.definition + 1, ..self }
    }

    fn repeated(self) -> Self {
        Self { definition: self.definition + 1, repetition: self.repetition + 1 }
    }
}

impl Shape {
    /// The shape of a file's rows, or why there is none.
    pub fn of(schema: &SchemaDescriptor) -> Result<Self, String> {
        let mut next = 0;
        let root = Levels::default();
        let mut fields = Vec::new();
        for field in schema.root_schema().get_fields() {
            fields.push((name(field), within(field, root, &mut next, 1)?));
        }
        if fields.is_empty() || next != schema.num_columns() {
            return Err("it has no columns that make rows".to_owned());
        }
        Ok(Self::Struct(fields))
    }

    /// Writes the fields of the row at which the columns stand, without braces; gives what is wrong with its values.
    pub fn row(
        &self,
        columns: &mut [Box<dyn Column>],
        out: &mut Vec<u8>,
    ) -> Result<Option<String>, ParquetError> {
        let mut row = Writing { columns, out, wrong: None };
        for column in row.columns.iter_mut() {
            column.begin()?;
        }
        if let Self::Struct(fields) = self {
            row.fields(fields)?;
        }
        if row.columns.iter().any(|column| !column.is_at_row()) {
            return Err(ParquetError::General("its columns do not have the same rows".to_owned()));
        }
        Ok(row.wrong)
    }
}

/// A field, with how often it is there.
fn within(field: &Type, levels: Levels, next: &mut usize, depth: usize) -> Result<Shape, String> {
    let info = field.get_basic_info();
    let first = *next;
    let repetition = if info.has_repetition() { info.repetition() } else { Repetition::REQUIRED };
    Ok(match repetition {
        Repetition::REQUIRED => present(field, levels, next, depth)?,
        Repetition::OPTIONAL => match present(field, levels.optional(), next, depth)? {
            value @ Shape::Value { .. } => value,
            inner => Shape::Optional {
                defined: levels.optional().definition,
                columns: first..*next,
                inner: Box::new(inner),
            },
        },
        // Nobody says that it is a list.
        Repetition::REPEATED => {
            let element = Box::new(present(field, levels.repeated(), next, depth)?);
            Shape::List { levels: levels.repeated(), columns: first..*next, element }
        }
    })
}

/// A field that is there.
fn present(field: &Type, levels: Levels, next: &mut usize, depth: usize) -> Result<Shape, String> {
    if field.is_primitive() {
        *next += 1;
        return Ok(Shape::Value { column: *next - 1 });
    }
    if depth > DEEPEST {
        return Err(format!("its rows are nested deeper than {DEEPEST}"));
    }
    let (first, depth) = (*next, depth + 1);
    let fields = field.get_fields();
    let inner = match fields {
        [only] if is_repeated(only) => Some(only),
        _ => None,
    };
    match (field.get_basic_info().converted_type(), inner) {
        (_, _) if fields.is_empty() => Err(format!("its field `{}` has no columns", field.name())),
        (ConvertedType::LIST, Some(inner)) => {
            let levels = levels.repeated();
            let element = match element(field, inner) {
                Some(element) => within(element, levels, next, depth)?,
                None => present(inner, levels, next, depth)?,
            };
            Ok(Shape::List { levels, columns: first..*next, element: Box::new(element) })
        }
        (ConvertedType::MAP | ConvertedType::MAP_KEY_VALUE, Some(inner))
            if inner.is_group() && inner.get_fields().len() == 2 =>
        {
            let levels = levels.repeated();
            let key = Box::new(within(&inner.get_fields()[0], levels, next, depth)?);
            let value = Box::new(within(&inner.get_fields()[1], levels, next, depth)?);
            Ok(Shape::Map { levels, columns: first..*next, key, value })
        }
        _ => {
            let mut all = Vec::with_capacity(fields.len());
            for field in fields {
                all.push((name(field), within(field, levels, next, depth)?));
            }
            Ok(Shape::Struct(all))
        }
    }
}

fn is_repeated(field: &Type) -> bool {
    let info = field.get_basic_info();
    info.has_repetition() && info.repetition() == Repetition::REPEATED
}

/// What a list's repeated field holds as its only one, where that is the element: files of old have the element itself
/// repeated.
fn element<'t>(list: &Type, repeated: &'t Type) -> Option<&'t Type> {
    if repeated.is_primitive() {
        return None;
    }
    let [only] = repeated.get_fields() else { return None };
    let is_element = repeated.name() == "array" || repeated.name() == format!("{}_tuple", list.name());
    (!is_element).then_some(only)
}

/// A field's name, as it stands in JSON before its value.
fn name(field: &Type) -> Vec<u8> {
    let mut name = Vec::new();
    string(field.name(), &mut name);
    name.push(b':');
    name
}

/// A row as it is written.
struct Writing<'a> {
    columns: &'a mut [Box<dyn Column>],
    out: &'a mut Vec<u8>,
    wrong: Option<String>,
}

impl Writing<'_> {
    fn write(&mut self, shape: &Shape) -> Result<(), ParquetError> {
        match shape {
            Shape::Value { column } => {
                if let Some(why) = self.columns[*column].write(self.out)? {
                    self.wrong.get_or_insert(why);
                }
                Ok(())
            }
            Shape::Struct(fields) => {
                self.out.push(b'{');
                self.fields(fields)?;
                self.out.push(b'}');
                Ok(())
            }
            Shape::Optional { defined, columns, inner } => match self.is_there(columns, *defined)? {
                true => self.write(inner),
                false => self.pass(columns, b"null"),
            },
            Shape::List { levels, columns, element } => {
                if !self.is_there(columns, levels.definition)? {
                    return self.pass(columns, b"[]");
                }
                self.out.push(b'[');
                self.write(element)?;
                while self.goes_on(columns, levels.repetition) {
                    self.out.push(b',');
                    self.write(element)?;
                }
                self.out.push(b']');
                Ok(())
            }
            Shape::Map { levels, columns, key, value } => {
                if !self.is_there(columns, levels.definition)? {
                    return self.pass(columns, b"{}");
                }
                self.out.push(b'{');
                self.entry(key, value)?;
                while self.goes_on(columns, levels.repetition) {
                    self.out.push(b',');
                    self.entry(key, value)?;
                }
                self.out.push(b'}');
                Ok(())
            }
        }
    }

    fn fields(&mut self, fields: &[(Vec<u8>, Shape)]) -> Result<(), ParquetError> {
        for (index, (name, field)) in fields.iter().enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            self.out.extend_from_slice(name);
            self.write(field)?;
        }
        Ok(())
    }

    /// A key, which JSON has as text, and its value.
    fn entry(&mut self, key: &Shape, value: &Shape) -> Result<(), ParquetError> {
        let begins = self.out.len();
        self.write(key)?;
        if self.out.get(begins) != Some(&b'"') {
            let text = String::from_utf8_lossy(&self.out[begins..]).into_owned();
            self.out.truncate(begins);
            string(&text, self.out);
        }
        self.out.push(b':');
        self.write(value)
    }

    /// Whether something is there at a level.
    fn is_there(&mut self, columns: &Range<usize>, level: i16) -> Result<bool, ParquetError> {
        Ok(self.columns[columns.start].definition()? >= level)
    }

    /// Whether one more follows of what is repeated at a level.
    fn goes_on(&self, columns: &Range<usize>, level: i16) -> bool {
        self.columns[columns.start].repetition() >= level
    }

    /// Goes on in all columns of what is not there.
    fn pass(&mut self, columns: &Range<usize>, text: &[u8]) -> Result<(), ParquetError> {
        self.out.extend_from_slice(text);
        let end = self.out.len();
        for column in columns.clone() {
            self.columns[column].write(self.out)?;
        }
        self.out.truncate(end);
        Ok(())
    }
}
