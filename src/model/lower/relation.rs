//! A silver relation as far as it is known by itself: what the spec says of it, with its columns typed. Resolves no
//! reference to another.

use super::reserved::{ROW_HASH, SNAPSHOT, SYS_END, SYS_START};
use crate::model::{ColumnFrom, DataType, Name, Nullability, Writes};
use crate::spec::{self, At};

/// The table of the spec that a silver relation comes from.
#[derive(Clone, Copy)]
pub(super) enum Section<'a> {
    Lookup,
    Dimension { writes: Writes, written: &'a spec::Dimension },
    Fact { partition: Option<&'a At<spec::Partition>> },
}

/// A silver relation, as far as it is known by itself.
pub(super) struct Relation<'a> {
    pub section: Section<'a>,
    /// The name that the spec gives it.
    pub declared: &'a At<String>,
    /// The table's name.
    pub table: Name,
    /// The view of current versions, of a dimension.
    pub current_view: Option<Name>,
    pub complete: bool,
    pub from: Option<&'a At<String>>,
    /// The landing table and the name of the staging view that it is fed from.
    pub staging: Option<(Name, Name)>,
    pub key: Option<&'a At<Vec<At<String>>>>,
    pub columns: Vec<Column<'a>>,
    pub lookups: &'a [At<spec::LookedUp>],
    pub description: Option<&'a At<String>>,
}

/// A column of a silver relation, typed.
pub(super) struct Column<'a> {
    pub name: &'a At<String>,
    pub written: &'a spec::Column,
    /// Unless it could not be read.
    pub data_type: Option<DataType>,
    pub nullability: Nullability,
    /// What the staging view says of it.
    pub taken: Option<Taken>,
}

/// What a column is.
pub(super) struct Typed {
    pub data_type: Option<DataType>,
    pub nullability: Nullability,
    pub taken: Option<Taken>,
}

impl Typed {
    /// As it is written, and nothing else says.
    pub fn written(column: &spec::Column, data_type: Option<DataType>) -> Self {
        let nullable = column.null.as_ref().is_some_and(|null| null.value);
        let nullability = if nullable { Nullability::Nullable } else { Nullability::NotNull };
        Self { data_type, nullability, taken: None }
    }
}

/// What a column takes from a staging view.
pub(super) struct Taken {
    pub from: ColumnFrom,
    pub description: Option<String>,
}

impl Relation<'_> {
    /// A column by its name.
    pub fn column(&self, name: &str) -> Option<&Column<'_>> {
        self.columns.iter().find(|column| column.name.value == name)
    }

    /// The columns' names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|column| column.name.value.as_str())
    }

    /// The columns that the relation's kind adds.
    pub fn added(&self) -> &'static [&'static str] {
        match self.section {
            // The archive of a fact has the period's columns.
            Section::Fact { .. } => &[SNAPSHOT, SYS_START, SYS_END],
            Section::Dimension { writes: Writes::Versioned, .. } => {
                &[ROW_HASH, SYS_START, SYS_END, "journal_id", "journal_op", "journal_by", "journal_xid"]
            }
            Section::Lookup | Section::Dimension { .. } => &[ROW_HASH, SYS_START, SYS_END],
        }
    }

    /// The column that tells a dimension's versions apart by itself.
    pub fn surrogate(&self) -> Option<&At<spec::SurrogateKey>> {
        match self.section {
            Section::Dimension { written, .. } => written.surrogate_key.as_ref(),
            Section::Lookup | Section::Fact { .. } => None,
        }
    }

    /// The view that shows a dimension's versions under other names.
    pub fn shown_as(&self) -> Option<&At<spec::ShownAs>> {
        match self.section {
            Section::Dimension { written, .. } => written.shown_as.as_ref(),
            Section::Lookup | Section::Fact { .. } => None,
        }
    }

    /// The column by which a fact is split.
    pub fn partition_by(&self) -> Option<&str> {
        match self.section {
            Section::Fact { partition } => Some(partition?.by.as_ref()?.value.as_str()),
            Section::Lookup | Section::Dimension { .. } => None,
        }
    }

    /// Whether versions that have ended stand in partitions of their own.
    pub fn is_closed_apart(&self) -> bool {
        matches!(self.section, Section::Dimension { written, .. } if written.closed_apart.is_some())
    }

    pub fn is_lookup(&self) -> bool {
        matches!(self.section, Section::Lookup)
    }

    pub fn is_fact(&self) -> bool {
        matches!(self.section, Section::Fact { .. })
    }
}
