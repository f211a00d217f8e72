//! PostgreSQL's functions by name, those that make one value of one row's: `functions.txt` has them, and the words of
//! SQL that look like calls. Knows no arguments.

/// The names, in their order.
const NAMES: &str = include_str!("functions.txt");

/// Whether there is a function of the name.
pub(super) fn is_known(name: &str) -> bool {
    NAMES.lines().any(|known| known == name)
}

/// All of them, for a reader who mistook one.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    NAMES.lines()
}
