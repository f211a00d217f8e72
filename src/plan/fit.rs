//! Whether what a column of one type holds fits another: goes by the names of types, as the scripts write them and as a
//! lock's model says them. Where it cannot know it says so, and the spec decides. Knows no rows, no server.

use serde_json::Value;

use super::hazard::Hazard;
use super::quote::identifier;

/// How the values of one type fit another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    /// Each is one of the other type as well, and reads back as what it was.
    All,
    /// Those that fit stay what they are; one that does not is refused.
    Some,
    /// They are taken, and become others: digits go, or the way that they were written.
    Changed,
}

impl Fit {
    /// How what a column holds fits its new type.
    pub fn between(from: &str, to: &str) -> Self {
        if let (Some(from), Some(to)) = (from.strip_suffix("[]"), to.strip_suffix("[]")) {
            return Self::between(from, to);
        }
        if from == to || is_free(from, to) || matches!(to, "text" | "varchar") {
            return Self::All;
        }
        let ((from_name, _), (to_name, _)) = (sized(from), sized(to));
        let is_text = |name: &str| matches!(name, "text" | "varchar" | "char");
        if let (Some(there), Some(wanted)) = (Number::read(from), Number::read(to)) {
            return there.fits(wanted);
        }
        match (from_name, to_name) {
            // A longer one is refused, never cut off.
            (_, "varchar" | "char") => Self::Some,
            // What is none of its values.
            (text, other) if other.starts_with('"') && (is_text(text) || text.starts_with('"')) => Self::Some,
            ("date", "timestamp" | "timestamptz") | ("jsonb", "json") => Self::All,
            ("real", "double precision") => Self::All,
            ("smallint", "real" | "double precision") | ("integer", "double precision") => Self::All,
            _ => Self::Changed,
        }
    }

    /// What it risks.
    pub fn hazard(self) -> Option<Hazard> {
        match self {
            Self::All => None,
            Self::Some => Some(Hazard::Narrowing),
            Self::Changed => Some(Hazard::Irreversible),
        }
    }
}

/// An exact number: the digits before and behind its point, no limit where there is none.
#[derive(Clone, Copy)]
struct Number {
    /// As many as it always takes.
    takes: Option<u32>,
    /// As many as it may have.
    has: Option<u32>,
    behind: Option<u32>,
}

impl Number {
    fn read(name: &str) -> Option<Self> {
        let whole = |takes, has| Self { takes: Some(takes), has: Some(has), behind: Some(0) };
        Some(match sized(name) {
            ("smallint", _) => whole(4, 5),
            ("integer", _) => whole(9, 10),
            ("bigint", _) => whole(18, 19),
            ("numeric", sizes) => match sizes.as_slice() {
                [] => Self { takes: None, has: None, behind: None },
                [precision] => whole(*precision, *precision),
                [precision, scale, ..] => {
                    let before = precision.saturating_sub(*scale);
                    Self { takes: Some(before), has: Some(before), behind: Some(*scale) }
                }
            },
            _ => return None,
        })
    }

    fn fits(self, wanted: Self) -> Fit {
        let at_most = |one: Option<u32>, other: Option<u32>| match (one, other) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(one), Some(other)) => one <= other,
        };
        if !at_most(self.behind, wanted.behind) {
            return Fit::Changed;
        }
        // What is called otherwise may be the same numbers.
        let same = (self.takes, self.has, self.behind) == (wanted.takes, wanted.has, wanted.behind);
        if same || at_most(self.has, wanted.takes) { Fit::All } else { Fit::Some }
    }
}

/// Whether the change of a type leaves the rows as they stand. A test measures it, over types of every family.
pub fn is_free(from: &str, to: &str) -> bool {
    let ((from_name, from_size), (to_name, to_size)) = (sized(from), sized(to));
    let wider = match (from_size.as_slice(), to_size.as_slice()) {
        (_, []) => true,
        ([from], [to]) => from <= to,
        ([from, from_scale], [to, to_scale]) => from <= to && from_scale == to_scale,
        _ => false,
    };
    match (from_name, to_name) {
        ("varchar", "varchar") | ("numeric", "numeric") => wider,
        ("text" | "varchar", "text") | ("text", "varchar") => to_size.is_empty(),
        // A migration's session has the zone UTC, in which both are one.
        ("timestamp" | "timestamptz", "timestamp" | "timestamptz") => to_size.is_empty(),
        _ => false,
    }
}

/// A type's name, and what stands in its parentheses.
pub(super) fn sized(name: &str) -> (&str, Vec<u32>) {
    match name.strip_suffix(')').and_then(|rest| rest.split_once('(')) {
        Some((name, sizes)) => (name, sizes.split(',').filter_map(|one| one.trim().parse().ok()).collect()),
        None => (name, Vec::new()),
    }
}

/// A type that a lock's model says, as a statement writes it. What is of no kind that is known stays as it is said.
pub(super) fn spelled(data_type: &Value) -> String {
    let (kind, of) = match data_type.as_object().and_then(|one| one.iter().next()) {
        Some((kind, of)) => (kind.as_str(), of),
        None => return data_type.to_string(),
    };
    match (kind, of) {
        ("Array", element) => format!("{}[]", spelled(element)),
        ("Enum", name) => {
            let part = |word: &str| identifier(name[word].as_str().unwrap_or_default());
            format!("{}.{}", part("schema"), part("name"))
        }
        ("BuiltIn", Value::String(name)) if name == "DoublePrecision" => "double precision".to_owned(),
        ("BuiltIn", Value::String(name)) => name.to_lowercase(),
        ("BuiltIn", sized) => spelled(sized),
        ("Other", Value::String(name)) => name.clone(),
        (name, Value::Null) => name.to_lowercase(),
        (name, Value::Array(sizes)) => {
            let sizes: Vec<String> = sizes.iter().map(Value::to_string).collect();
            format!("{}({})", name.to_lowercase(), sizes.join(", "))
        }
        (name, size) => format!("{}({size})", name.to_lowercase()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_fits_is_told_from_what_is_refused_and_from_what_becomes_another() {
        let cases = [
            ("integer", "bigint", Fit::All),
            ("bigint", "integer", Fit::Some),
            ("integer", "numeric", Fit::All),
            ("integer", "numeric(10, 0)", Fit::All),
            ("integer", "numeric(10, 2)", Fit::Some),
            ("numeric(9, 0)", "integer", Fit::All),
            ("numeric(10, 0)", "integer", Fit::Some),
            ("numeric(10, 2)", "numeric(12, 3)", Fit::All),
            ("numeric(10, 2)", "numeric(10, 3)", Fit::Some),
            ("numeric(10, 3)", "numeric(12, 2)", Fit::Changed),
            ("numeric", "numeric(10, 2)", Fit::Changed),
            ("numeric", "bigint", Fit::Changed),
            ("bigint", "double precision", Fit::Changed),
            ("smallint", "real", Fit::All),
            ("double precision", "real", Fit::Changed),
            ("text", "varchar(60)", Fit::Some),
            ("varchar(60)", "varchar(9)", Fit::Some),
            ("varchar(9)", "varchar(60)", Fit::All),
            ("text", "integer", Fit::Changed),
            ("text", "\"silver\".\"mood\"", Fit::Some),
            ("\"silver\".\"mood\"", "text", Fit::All),
            ("timestamptz", "date", Fit::Changed),
            ("date", "timestamptz", Fit::All),
            ("json", "jsonb", Fit::Changed),
            ("bigint[]", "integer[]", Fit::Some),
            ("integer[]", "text", Fit::All),
        ];
        for (from, to, wanted) in cases {
            assert_eq!(Fit::between(from, to), wanted, "{from} to {to}");
        }
    }

    #[test]
    fn a_lock_s_types_are_spelled_as_statements_write_them() {
        let spellings = [
            (json!({ "BuiltIn": "DoublePrecision" }), "double precision"),
            (json!({ "BuiltIn": "SmallInt" }), "smallint"),
            (json!({ "BuiltIn": { "Numeric": [10, 2] } }), "numeric(10, 2)"),
            (json!({ "BuiltIn": { "Numeric": null } }), "numeric"),
            (json!({ "BuiltIn": { "Varchar": 60 } }), "varchar(60)"),
            (json!({ "BuiltIn": { "Other": "inet" } }), "inet"),
            (json!({ "Array": { "BuiltIn": "Text" } }), "text[]"),
            (json!({ "Enum": { "schema": "silver", "name": "mo\"od" } }), "\"silver\".\"mo\"\"od\""),
        ];
        for (said, spelling) in spellings {
            assert_eq!(spelled(&said), spelling);
        }
    }
}
