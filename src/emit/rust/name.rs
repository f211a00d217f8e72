//! Rust names for the database's: made once, side by side with them, unique where they stand, the same
//! every time. Knows Rust's keywords and SeaORM's rules for deriving one spelling from another.

use std::collections::{BTreeMap, BTreeSet};

/// Keywords, strict and reserved, that a raw identifier makes a name of.
const KEYWORDS: [&str; 50] = [
    "abstract",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "const",
    "continue",
    "do",
    "dyn",
    "else",
    "enum",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "pub",
    "ref",
    "return",
    "static",
    "struct",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "union",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "where",
    "while",
    "yield",
    "macro_rules",
];

/// Keywords that not even a raw identifier makes a name of.
const NEVER_NAMES: [&str; 4] = ["crate", "self", "super", "_"];

/// A name as the database has it, and as Rust does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::emit) struct Spelling {
    /// As the database has it, unquoted.
    pub(in crate::emit) database: String,
    /// A field, a function, a module.
    pub(in crate::emit) snake: String,
    /// A type, a variant.
    pub(in crate::emit) camel: String,
}

impl Spelling {
    /// The field or module as it is written: a keyword as a raw identifier.
    pub(in crate::emit) fn snake_identifier(&self) -> String {
        raw(&self.snake)
    }

    /// Whether SeaORM derives the database's name from the field, and the variant as well.
    pub(in crate::emit) fn is_derived(&self) -> bool {
        self.snake == self.database && is_ordinary(&self.snake) && self.camel == camel(&self.snake)
    }
}

/// The name as it is written: a keyword as a raw identifier.
pub(super) fn raw(name: &str) -> String {
    if KEYWORDS.contains(&name) { format!("r#{name}") } else { name.to_owned() }
}

/// Spells names that stand side by side (the columns of a relation, the relations of a layer), each unlike
/// the others and none of `taken`. Names that need no change come first, so that they keep their own.
pub(in crate::emit) fn spell<'a>(
    names: impl IntoIterator<Item = &'a str>,
    taken: &[&str],
) -> BTreeMap<String, Spelling> {
    let mut names: Vec<&str> = names.into_iter().collect();
    names.sort_by_key(|name| (!is_ordinary(name), *name));
    let (mut snakes, mut camels) = (BTreeSet::new(), BTreeSet::new());
    let mut spellings = BTreeMap::new();
    for name in names {
        if spellings.contains_key(name) {
            continue;
        }
        let words = snake(name);
        let free = !NEVER_NAMES.contains(&words.as_str()) && !taken.contains(&words.as_str());
        let snake = unique(if free { words.clone() } else { format!("{words}_") }, "_", &mut snakes);
        let camel = match camel(&words) {
            keyword if keyword == "Self" => "Itself".to_owned(),
            camel => camel,
        };
        let camel = unique(camel, "N", &mut camels);
        spellings.insert(name.to_owned(), Spelling { database: name.to_owned(), snake, camel });
    }
    spellings
}

/// The name, with a number where it is taken.
fn unique(name: String, before_number: &str, taken: &mut BTreeSet<String>) -> String {
    let mut candidate = name.clone();
    let mut number = 2;
    while taken.contains(&candidate) {
        candidate = format!("{name}{before_number}{number}");
        number += 1;
    }
    taken.insert(candidate.clone());
    candidate
}

/// Lower-case ASCII words with underscores between them.
fn is_ordinary(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && !NEVER_NAMES.contains(&name)
        && name.split('_').all(|word| {
            !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        })
}

/// Words are what capitals and anything but letters and digits divide; a character that is not ASCII is
/// told by its number, for two forms of one letter are the same name to Rust.
fn snake(name: &str) -> String {
    let mut words = String::new();
    let mut previous = '_';
    for character in name.chars() {
        match character {
            'a'..='z' | '0'..='9' => words.push(character),
            'A'..='Z' => {
                if previous.is_ascii_lowercase() || previous.is_ascii_digit() {
                    words.push('_');
                }
                words.push(character.to_ascii_lowercase());
            }
            _ if character.is_alphanumeric() => words.push_str(&format!("_u{:x}_", u32::from(character))),
            _ => words.push('_'),
        }
        previous = character;
    }
    let words: Vec<&str> = words.split('_').filter(|word| !word.is_empty()).collect();
    let name = words.join("_");
    match name.chars().next() {
        None => "unnamed".to_owned(),
        Some(first) if first.is_ascii_digit() => format!("n{name}"),
        Some(_) => name,
    }
}

fn camel(snake: &str) -> String {
    snake
        .split('_')
        .map(|word| {
            let mut characters = word.chars();
            let first = characters.next().map(|first| first.to_ascii_uppercase());
            first.into_iter().chain(characters).collect::<String>()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelled(name: &str) -> (String, String, bool) {
        let spelling = spell([name], &[]).remove(name).unwrap();
        (spelling.snake_identifier(), spelling.camel.clone(), spelling.is_derived())
    }

    #[test]
    fn names_become_rust() {
        let is = |name: &str, snake: &str, camel: &str, derived: bool| {
            assert_eq!(spelled(name), (snake.to_owned(), camel.to_owned(), derived), "{name}");
        };
        is("customer_id", "customer_id", "CustomerId", true);
        is("address2", "address2", "Address2", true);
        is("gen", "r#gen", "Gen", true);
        is("type", "r#type", "Type", true);
        is("self", "self_", "Itself", false);
        is("crate", "crate_", "Crate", false);
        is("customerId", "customer_id", "CustomerId", false);
        is("2fa", "n2fa", "N2fa", false);
        is("%", "unnamed", "Unnamed", false);
        is("größe", "gr_uf6_uc3_9f_e".replace("uc3_9f", "udf").as_str(), "GrUf6UdfE", false);
    }

    #[test]
    fn names_side_by_side_differ() {
        let spellings = spell(["a_1", "a1", "A1", "a-1"], &["a1"]);
        let snakes: BTreeSet<_> = spellings.values().map(|spelling| &spelling.snake).collect();
        let camels: BTreeSet<_> = spellings.values().map(|spelling| &spelling.camel).collect();
        assert_eq!((snakes.len(), camels.len()), (4, 4));
        assert!(!snakes.contains(&"a1".to_owned()));
    }
}
