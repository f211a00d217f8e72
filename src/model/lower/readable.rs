//! What marts can read of silver: the columns that the spec names, and those that medallion adds. Knows no mart.

use super::catalog::{ROW_HASH, Relation, SNAPSHOT, SYS_END, SYS_START, Section};
use super::scope::{ReadColumn, Readable};
use crate::model::data_type::BuiltIn;
use crate::model::{DataType, Nullability, Read};

/// What marts can read of a silver relation: its table, and its current view.
pub(super) fn of(relation: &Relation<'_>) -> Vec<Readable> {
    let time = || Some(DataType::BuiltIn(BuiltIn::TimestampTz));
    let added = |name: &str, data_type| ReadColumn {
        name: name.to_owned(),
        data_type,
        nullability: Nullability::NotNull,
    };
    let own = relation
        .columns
        .iter()
        .map(|column| ReadColumn {
            name: column.name.value.clone(),
            data_type: column.data_type.clone(),
            nullability: column.nullability,
        })
        .collect::<Vec<_>>();

    let mut columns = own.clone();
    match relation.section {
        Section::Fact { .. } => columns.push(added(SNAPSHOT, time())),
        Section::Lookup | Section::Dimension { .. } => {
            columns.push(added(ROW_HASH, Some(DataType::BuiltIn(BuiltIn::Bytea))));
            columns.push(added(SYS_START, time()));
            columns.push(added(SYS_END, time()));
        }
    }
    let mut table = Readable::stored(relation.table.clone(), columns, relation.complete);
    table.history = !relation.is_fact();
    table.fact = relation.is_fact();
    let key = relation.key.iter().flat_map(|key| key.iter().map(|column| column.value.clone()));
    let key = key.collect::<Vec<_>>();
    if relation.is_fact() {
        table.key.clone_from(&key);
    }
    let mut readables = vec![table];
    if let Some(view) = &relation.current_view {
        let mut columns = own;
        columns.push(added(SYS_START, time()));
        readables.push(Readable {
            read: Read { name: view.clone(), stored: relation.table.clone() },
            columns,
            complete: relation.complete,
            clock: false,
            history: false,
            fact: false,
            key,
        });
    }
    readables
}

/// Whether a column is one that medallion adds: no change tells its value.
pub(super) fn is_added(name: &str) -> bool {
    [SNAPSHOT, ROW_HASH, SYS_START, SYS_END].contains(&name)
}
