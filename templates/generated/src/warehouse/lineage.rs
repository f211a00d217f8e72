{{ mark }}

//! Where the columns of each relation come from.

/// A line a relation: its columns with their types, and what each comes from: a relation by its place in this list,
/// a column, in which way.
pub const LINEAGE: &str = r{{ fence }}"[
{{ lines }}
]"{{ fence }};
