//! One entity file: a relation's columns, its key, and what the runtime is told of it. The same for tables
//! and views of every layer; what differs is handed in.

use std::collections::BTreeMap;

use askama::Template;

use super::field::{Enums, field_type, key_type};
use super::layout::{Expression, string};
use super::name::{Spelling, spell};
use crate::model::data_type::BuiltIn;
use crate::model::{Column, DataType, Name, Nullability};

/// The widest line of a doc comment, without its mark.
const DOC_WIDTH: usize = 100;

/// The most columns that SeaORM takes in a key.
const LONGEST_KEY: usize = 12;

/// An entity before it is written.
pub(super) struct Entity<'a> {
    pub(super) name: &'a Name,
    /// What a reader is told of it.
    pub(super) doc: String,
    pub(super) fields: Vec<Field<'a>>,
    /// The columns that identify a row.
    pub(super) key: Vec<&'a str>,
    /// What the runtime is told.
    pub(super) descriptor: Option<Descriptor>,
}

/// A column of an entity.
pub(super) struct Field<'a> {
    pub(super) name: &'a str,
    pub(super) data_type: DataType,
    pub(super) nullability: Nullability,
    pub(super) doc: String,
}

/// The function that yields what the runtime is told.
pub(super) struct Descriptor {
    pub(super) function: &'static str,
    pub(super) doc: &'static str,
    pub(super) kind: &'static str,
    pub(super) body: Expression,
}

#[derive(Template)]
#[template(path = "generated/src/warehouse/layer/entity.rs", escape = "none")]
struct EntityRs<'a> {
    mark: &'a str,
    module_doc: Vec<String>,
    import: Option<String>,
    entity_attribute: String,
    fields: Vec<FieldRs>,
    descriptor: Option<DescriptorRs>,
}

struct FieldRs {
    doc: Vec<String>,
    attribute: Option<String>,
    name: String,
    kind: String,
}

struct DescriptorRs {
    doc: &'static str,
    function: &'static str,
    kind: &'static str,
    body: String,
}

impl<'a> Field<'a> {
    /// The field of a column that a spec declares.
    pub(super) fn of(column: &'a Column) -> Self {
        Self::new(&column.name, &column.data_type, column.nullability, column.description.as_deref())
    }

    /// A field by its parts.
    pub(super) fn new(
        name: &'a str,
        data_type: &DataType,
        nullability: Nullability,
        description: Option<&str>,
    ) -> Self {
        let doc = description.map_or_else(|| format!("Column `{name}`."), str::to_owned);
        Self { name, data_type: data_type.clone(), nullability, doc }
    }

    /// A field that the tool adds and that is never NULL.
    pub(super) fn own(name: &'a str, built_in: BuiltIn, doc: &str) -> Self {
        Self::new(name, &DataType::BuiltIn(built_in), Nullability::NotNull, Some(doc))
    }
}

impl Entity<'_> {
    /// The spelling of its columns.
    fn spellings(&self) -> BTreeMap<String, Spelling> {
        spell_columns(self.fields.iter().map(|field| field.name))
    }

    /// The text of its file.
    pub(super) fn write(&self, enums: &Enums, mark: &str) -> String {
        let spellings = self.spellings();
        let key = &self.key[..self.key.len().min(LONGEST_KEY)];
        let fields: Vec<FieldRs> = self
            .fields
            .iter()
            .map(|field| written(field, &spellings[field.name], key.contains(&field.name), enums))
            .collect();
        let names =
            format!("schema_name = {}, table_name = {}", string(&self.name.schema), string(&self.name.name));
        crate::emit::sql::render(&EntityRs {
            mark,
            module_doc: doc(&self.doc),
            import: self.import(&fields),
            entity_attribute: format!("#[sea_orm({names})]"),
            fields,
            descriptor: self.descriptor.as_ref().map(|descriptor| DescriptorRs {
                doc: descriptor.doc,
                function: descriptor.function,
                kind: descriptor.kind,
                body: descriptor.body.lay_out(8, 0, 0),
            }),
        })
    }

    /// The parts of the runtime that the file names.
    fn import(&self, fields: &[FieldRs]) -> Option<String> {
        let uses = |module: &str| fields.iter().any(|field| field.kind.contains(module));
        let mut modules = Vec::new();
        modules.extend(self.descriptor.is_some().then_some("descriptor"));
        modules.extend(uses("key::").then_some("key"));
        modules.extend(uses("time::").then_some("time"));
        match modules.as_slice() {
            [] => None,
            [one] => Some(format!("use medallion_runtime::{one};")),
            several => Some(format!("use medallion_runtime::{{{}}};", several.join(", "))),
        }
    }
}

/// The spelling of a relation's columns.
pub(super) fn spell_columns<'a>(names: impl IntoIterator<Item = &'a str>) -> BTreeMap<String, Spelling> {
    spell(names, &[])
}

/// Lines of a doc comment. Nothing in them is a link or a tag.
pub(in crate::emit) fn doc(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let word = word.replace('[', "\\[").replace(']', "\\]").replace('<', "\\<");
        let line = lines.last_mut().expect("there is a line from the start");
        if line.is_empty() {
            line.push_str(&word);
        } else if line.chars().count() + 1 + word.chars().count() <= DOC_WIDTH {
            line.push(' ');
            line.push_str(&word);
        } else {
            lines.push(word);
        }
    }
    lines
}

fn written(field: &Field<'_>, spelling: &Spelling, in_key: bool, enums: &Enums) -> FieldRs {
    let field_type =
        if in_key { key_type(&field.data_type, enums) } else { field_type(&field.data_type, enums) };
    let mut attributes = Vec::new();
    if in_key {
        attributes.push("primary_key".to_owned());
        attributes.push("auto_increment = false".to_owned());
    }
    if !spelling.is_derived() {
        attributes.push(format!("column_name = {}", string(&spelling.database)));
        attributes.push(format!("enum_name = {}", string(&spelling.camel)));
    }
    let casts = [("select_as", field_type.select_as), ("save_as", field_type.save_as)];
    attributes.extend(
        casts.into_iter().filter_map(|(name, cast)| cast.map(|cast| format!("{name} = {}", string(&cast)))),
    );
    let kind = match (field.nullability, in_key) {
        (Nullability::NotNull, _) => field_type.rust,
        (Nullability::Nullable, false) => format!("Option<{}>", field_type.rust),
        (Nullability::Nullable, true) => {
            attributes.push("nullable".to_owned());
            format!("key::OrNull<{}>", field_type.rust)
        }
    };
    FieldRs {
        doc: doc(&field.doc),
        attribute: attribute(&attributes),
        name: spelling.snake_identifier(),
        kind,
    }
}

/// The attribute in one line, or in one for each part.
fn attribute(parts: &[String]) -> Option<String> {
    if parts.is_empty() {
        return None;
    }
    let flat = format!("#[sea_orm({})]", parts.join(", "));
    if flat.chars().count() + 4 <= 110 {
        return Some(flat);
    }
    let lines: Vec<String> = parts.iter().map(|part| format!("        {part}")).collect();
    Some(format!("#[sea_orm(\n{}\n    )]", lines.join(",\n")))
}
