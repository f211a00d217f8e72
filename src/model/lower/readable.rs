//! What marts can read of silver: the columns that the spec names, and those that medallion adds. Knows no mart.

use super::dress;
use super::relation::{Relation, Section};
use super::reserved::{ROW_HASH, SNAPSHOT, SYS_END, SYS_START};
use super::scope::{ReadColumn, Readable};
use crate::model::data_type::BuiltIn;
use crate::model::{DataType, Nullability, Read, Schemas};
use crate::spec::{At, SurrogateMade};

/// What marts can read of a silver relation: its table, its current view, and the view of all versions under other
/// names.
pub(super) fn of(relation: &Relation<'_>, schemas: &Schemas) -> Vec<Readable> {
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
    let surrogate = dress::surrogate_column(relation).map(|(name, data_type)| added(name, Some(data_type)));
    if relation.surrogate().and_then(|surrogate| surrogate.made.as_ref()).is_some_and(is_identity) {
        table.columns.extend(surrogate.clone());
    }
    let mut readables = vec![table];
    if let Some(view) = &relation.current_view {
        let mut columns = own;
        columns.extend(surrogate);
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
    readables.extend(dress::readable(relation, &schemas.silver));
    readables
}

fn is_identity(made: &At<SurrogateMade>) -> bool {
    made.value == SurrogateMade::Identity
}

/// Whether a column is one that medallion adds: no change tells its value.
pub(super) fn is_added(name: &str) -> bool {
    [SNAPSHOT, ROW_HASH, SYS_START, SYS_END].contains(&name)
}
