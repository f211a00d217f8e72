//! PostgreSQL's functions by name: `functions.txt` has those that make one value of one row's, and the words of SQL that
//! look like calls; `aggregates.txt` those that make one of many rows. Knows no arguments.

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

/// The names of aggregates, in their order.
const AGGREGATES: &str = include_str!("aggregates.txt");

/// Whether a function of the name makes one value of many rows.
pub fn is_aggregate(name: &str) -> bool {
    aggregates().any(|known| known == name)
}

/// The aggregates, for a reader who mistook one.
pub(super) fn aggregates() -> impl Iterator<Item = &'static str> {
    AGGREGATES.lines()
}
