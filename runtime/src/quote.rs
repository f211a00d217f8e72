//! The one way in which the runtime writes names and literals into SQL.

use crate::descriptor::Name;

/// An identifier, quoted always.
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A relation's two names, quoted.
pub fn name(name: &Name) -> String {
    format!("{}.{}", identifier(&name.schema), identifier(&name.table))
}

/// A string literal, for the few places of SQL that take no bound value (DDL, COPY options).
pub fn literal(text: &str) -> String {
    if text.contains('\\') {
        format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
    } else {
        format!("'{}'", text.replace('\'', "''"))
    }
}

/// Identifiers, quoted and joined by commas, each with a prefix (`"t."`, or nothing).
pub fn list<S: AsRef<str>>(prefix: &str, names: impl IntoIterator<Item = S>) -> String {
    let quoted: Vec<String> =
        names.into_iter().map(|name| format!("{prefix}{}", identifier(name.as_ref()))).collect();
    quoted.join(", ")
}
