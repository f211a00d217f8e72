//! The Rust type of a column, and how SeaORM casts it on its way in and out. Knows no relation.

use std::collections::BTreeMap;

use super::name::{self, Spelling};
use crate::emit::sql;
use crate::model::data_type::BuiltIn;
use crate::model::{DataType, Enum, Name};

/// The digits that a `Decimal` holds, whatever they are.
const DECIMAL_DIGITS: u16 = 28;

/// The type of a column's field.
pub(super) struct FieldType {
    pub(super) rust: String,
    /// What the column is cast to when it is read.
    pub(super) select_as: Option<String>,
    /// What the value is cast to when it is written.
    pub(super) save_as: Option<String>,
}

/// The enumerated types that Rust has an enum for.
pub(in crate::emit) struct Enums {
    spellings: BTreeMap<Name, Spelling>,
    /// The path of their module, seen from an entity's.
    module: &'static str,
}

impl Enums {
    /// Those of a warehouse, seen from the entities of a layer.
    pub(in crate::emit) fn of(enums: &[Enum], module: &'static str) -> Self {
        let spellings = name::spell(enums.iter().map(|kind| kind.name.name.as_str()), &[]);
        let spellings = enums
            .iter()
            .filter(|kind| is_told_apart(kind))
            .filter_map(|kind| Some((kind.name.clone(), spellings.get(&kind.name.name)?.clone())))
            .collect();
        Self { spellings, module }
    }

    /// The enum of a type.
    pub(in crate::emit) fn get(&self, name: &Name) -> Option<&Spelling> {
        self.spellings.get(name)
    }
}

/// Whether SeaORM's derive tells the values of a type apart: it spells each as an identifier.
fn is_told_apart(kind: &Enum) -> bool {
    let mut spelled: Vec<String> = kind
        .values
        .iter()
        .map(|value| value.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_lowercase())
        .collect();
    spelled.sort();
    spelled.windows(2).all(|pair| pair[0] != pair[1]) && spelled.iter().all(|value| !value.is_empty())
}

/// The type of a column's field, NULL aside.
pub(super) fn field_type(data_type: &DataType, enums: &Enums) -> FieldType {
    let sql = sql::data_type(data_type);
    match data_type {
        DataType::BuiltIn(built_in) => match built_in {
            BuiltIn::Date => saved("time::Date", sql),
            BuiltIn::Timestamp => saved("time::Timestamp", sql),
            BuiltIn::TimestampTz => saved("time::TimestampTz", sql),
            built_in => plain_type(built_in).map_or_else(|| as_text(sql), plain),
        },
        DataType::Enum(name) => match enums.get(name) {
            Some(spelling) => saved(&format!("{}::{}", enums.module, spelling.camel), sql),
            None => as_text(sql),
        },
        DataType::Array(element) => match &**element {
            DataType::BuiltIn(BuiltIn::Json | BuiltIn::Jsonb | BuiltIn::Bytea | BuiltIn::Time) => {
                as_text(sql)
            }
            DataType::BuiltIn(built_in) => match plain_type(built_in) {
                Some(rust) => plain(&format!("Vec<{rust}>")),
                None => as_text(sql),
            },
            DataType::Enum(_) | DataType::Array(_) => as_text(sql),
        },
    }
}

/// The type of a column's field in a key, which takes no array.
pub(super) fn key_type(data_type: &DataType, enums: &Enums) -> FieldType {
    match data_type {
        DataType::Array(_) => as_text(sql::data_type(data_type)),
        _ => field_type(data_type, enums),
    }
}

/// The type that SeaORM reads and writes without a cast.
fn plain_type(built_in: &BuiltIn) -> Option<&'static str> {
    Some(match built_in {
        BuiltIn::Boolean => "bool",
        BuiltIn::SmallInt => "i16",
        BuiltIn::Integer => "i32",
        BuiltIn::BigInt => "i64",
        BuiltIn::Real => "f32",
        BuiltIn::DoublePrecision => "f64",
        BuiltIn::Numeric(Some((precision, scale))) if decimal(*precision, *scale) => "Decimal",
        BuiltIn::Text | BuiltIn::Varchar(_) | BuiltIn::Char(_) => "String",
        BuiltIn::Time => "Time",
        BuiltIn::Uuid => "Uuid",
        BuiltIn::Json | BuiltIn::Jsonb => "Json",
        BuiltIn::Bytea => "Vec<u8>",
        BuiltIn::Numeric(_)
        | BuiltIn::Date
        | BuiltIn::Timestamp
        | BuiltIn::TimestampTz
        | BuiltIn::Other(_) => return None,
    })
}

fn plain(rust: &str) -> FieldType {
    FieldType { rust: rust.to_owned(), select_as: None, save_as: None }
}

fn saved(rust: &str, sql: String) -> FieldType {
    FieldType { rust: rust.to_owned(), select_as: None, save_as: Some(sql) }
}

/// What Rust has no type for is text on both ways.
fn as_text(sql: String) -> FieldType {
    FieldType { rust: "String".to_owned(), select_as: Some("text".to_owned()), save_as: Some(sql) }
}

fn decimal(precision: u16, scale: i16) -> bool {
    precision <= DECIMAL_DIGITS && u16::try_from(scale).is_ok_and(|scale| scale <= precision)
}
