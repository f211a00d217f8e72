//! How relations, types and remarks are spelled in SQL, and the names that are made of others.

use sha2::{Digest as _, Sha256};

use crate::model::data_type::BuiltIn;
use crate::model::{DataType, Name};
pub(in crate::emit) use crate::plan::quote::{identifier, literal};

/// The longest name that PostgreSQL keeps, in bytes.
const LONGEST_NAME: usize = 63;

/// A relation's two names.
pub(in crate::emit) fn relation(name: &Name) -> String {
    format!("{}.{}", identifier(&name.schema), identifier(&name.name))
}

/// Identifiers, joined by commas.
pub(super) fn identifiers<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = names.into_iter().map(identifier).collect();
    quoted.join(", ")
}

/// A text of the spec within a remark: it cannot end the line.
pub(in crate::emit) fn remark(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

/// A name for what hangs on a relation (a constraint, an index, a partition). Where both parts are too
/// long together, the first is cut short and told apart by a hash.
pub(in crate::emit) fn derived(base: &str, suffix: &str) -> String {
    let whole = format!("{base}_{suffix}");
    if whole.len() <= LONGEST_NAME {
        return whole;
    }
    let hash: String =
        Sha256::digest(whole.as_bytes()).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    // Underscore, hash, underscore, suffix: what is left is the base's.
    let mut room = LONGEST_NAME.saturating_sub(suffix.len() + hash.len() + 2);
    while !base.is_char_boundary(room) {
        room -= 1;
    }
    format!("{}_{hash}_{suffix}", &base[..room])
}

/// A column's type.
pub(in crate::emit) fn data_type(data_type: &DataType) -> String {
    match data_type {
        DataType::BuiltIn(built_in) => built_in_type(built_in),
        DataType::Enum(name) => relation(name),
        DataType::Array(element) => format!("{}[]", self::data_type(element)),
    }
}

fn built_in_type(built_in: &BuiltIn) -> String {
    match built_in {
        BuiltIn::Boolean => "boolean".to_owned(),
        BuiltIn::SmallInt => "smallint".to_owned(),
        BuiltIn::Integer => "integer".to_owned(),
        BuiltIn::BigInt => "bigint".to_owned(),
        BuiltIn::Real => "real".to_owned(),
        BuiltIn::DoublePrecision => "double precision".to_owned(),
        BuiltIn::Numeric(None) => "numeric".to_owned(),
        BuiltIn::Numeric(Some((precision, scale))) => format!("numeric({precision}, {scale})"),
        BuiltIn::Text => "text".to_owned(),
        BuiltIn::Varchar(None) => "varchar".to_owned(),
        BuiltIn::Varchar(Some(length)) => format!("varchar({length})"),
        BuiltIn::Char(length) => format!("char({length})"),
        BuiltIn::Date => "date".to_owned(),
        BuiltIn::Time => "time".to_owned(),
        BuiltIn::Timestamp => "timestamp".to_owned(),
        BuiltIn::TimestampTz => "timestamptz".to_owned(),
        BuiltIn::Uuid => "uuid".to_owned(),
        BuiltIn::Json => "json".to_owned(),
        BuiltIn::Jsonb => "jsonb".to_owned(),
        BuiltIn::Bytea => "bytea".to_owned(),
        // `char` and `bit` would mean other types than the catalog's of that name.
        BuiltIn::Other(name) if is_plain(name) && !matches!(name.as_str(), "char" | "bit") => name.clone(),
        BuiltIn::Other(name) => format!("pg_catalog.{}", identifier(name)),
    }
}

fn is_plain(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.chars().all(|character| matches!(character, 'a'..='z' | '0'..='9' | '_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remark_stays_in_its_line() {
        assert_eq!(remark("a\nDROP"), "a DROP");
    }

    #[test]
    fn a_derived_name_fits_and_stays_unique() {
        let long = "é".repeat(31);
        assert_eq!(derived("fact", "pkey"), "fact_pkey");
        assert!(derived(&long, "pkey").len() <= 63);
        assert_ne!(derived(&format!("{long}a"), "pkey"), derived(&format!("{long}b"), "pkey"));
    }
}
