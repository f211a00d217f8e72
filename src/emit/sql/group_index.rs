//! The indexes by which a stored mart finds the rows of a group in a fact, and which values the group has. What one mart's
//! index begins with needs no other.

use super::definition::unit;
use super::lines::Lines;
use super::quote::{derived, identifier, relation};
use crate::model::{
    Declared, Definition, GrainValue, Mart, MartSource, Name, SilverKind, Storage, Warehouse,
};

/// An index on the columns of the grain that a fact tells by itself, perhaps with a column whose values are counted.
pub(super) struct GroupIndex {
    pub name: String,
    pub table: String,
    pub columns: Lines,
}

/// For each fact that tells columns of the unit of refresh by itself: what finds its rows by them. Expressions of the spec
/// are not among them: nobody knows whether PostgreSQL would take them.
pub(super) fn group_indexes(mart: &Mart, warehouse: &Warehouse) -> Vec<GroupIndex> {
    let others: Vec<Wanted<'_>> = warehouse
        .marts
        .iter()
        .filter(|other| other.name != mart.name)
        .flat_map(|other| wanted(other, warehouse))
        .collect();
    let mut mine: Vec<Wanted<'_>> = Vec::new();
    for one in wanted(mart, warehouse) {
        if !others.iter().any(|other| other.stands_for(&one))
            && !mine.iter().any(|other| other.begins_with(&one))
        {
            mine.push(one);
        }
    }
    mine.into_iter()
        .map(|one| GroupIndex {
            name: identifier(&derived(&mart.name.name, &format!("rows_{}_idx", one.number))),
            table: relation(one.table),
            columns: one
                .columns
                .into_iter()
                .map(|column| if column.starts_with('"') { column } else { format!("({column})") })
                .collect(),
        })
        .collect()
}

/// An index that a mart is in want of, by its number.
struct Wanted<'a> {
    mart: &'a Name,
    number: usize,
    table: &'a Name,
    columns: Vec<String>,
}

impl Wanted<'_> {
    fn begins_with(&self, other: &Self) -> bool {
        self.table == other.table && self.columns.starts_with(&other.columns)
    }

    /// Whether it does for another mart's: of two that are alike, that of the mart whose name comes first.
    fn stands_for(&self, other: &Self) -> bool {
        self.begins_with(other) && (self.columns.len() > other.columns.len() || self.mart < other.mart)
    }
}

fn wanted<'a>(mart: &'a Mart, warehouse: &'a Warehouse) -> Vec<Wanted<'a>> {
    let Storage::Incremental { unit: units } = &mart.storage else { return Vec::new() };
    let time_zone = warehouse.time_zone.as_str();
    let mut found: Vec<(&Name, Vec<String>)> = Vec::new();
    match &mart.definition {
        Definition::Declared(declared) => {
            for source in &declared.sources {
                let grain = told_grain(mart, source, time_zone);
                let counted = counted(declared);
                if counted.is_empty() {
                    found.push((&source.relation, grain));
                } else {
                    let with = |column: &String| [grain.as_slice(), &[identifier(column)]].concat();
                    found.extend(counted.into_iter().map(|column| (&source.relation, with(column))));
                }
            }
        }
        Definition::Sql(_) | Definition::Shown(_) => {
            for read in &mart.reads {
                let columns = units.iter().filter_map(|column| {
                    let grain = mart.grain.iter().find(|grain| grain.name == column.column)?;
                    let (_, of) = column.of.iter().find(|(name, _)| *name == read.name)?;
                    Some(unit(grain, of, &identifier(&of.column), time_zone))
                });
                found.push((&read.name, columns.collect()));
            }
        }
    }
    let is_fact = |name: &Name| {
        warehouse.silver.iter().any(|one| one.name == *name && matches!(one.kind, SilverKind::Fact(_)))
    };
    let found = found.into_iter().filter(|(table, columns)| is_fact(table) && !columns.is_empty());
    found
        .enumerate()
        .map(|(number, (table, columns))| Wanted { mart: &mart.name, number: number + 1, table, columns })
        .collect()
}

/// The columns of the grain that a source's own rows tell.
fn told_grain(mart: &Mart, source: &MartSource, time_zone: &str) -> Vec<String> {
    let values = mart.grain.iter().zip(&source.grain);
    let told = values.filter_map(|(column, value)| match value {
        GrainValue::Column(alias, of) if *alias == source.alias => {
            Some(unit(column, of, &identifier(&of.column), time_zone))
        }
        _ => None,
    });
    told.collect()
}

/// The columns of which a mart that is added to counts each value once.
fn counted(declared: &Declared) -> Vec<&String> {
    let mut columns: Vec<&String> = Vec::new();
    for (_, counted) in declared.sums.iter().flat_map(|sums| &sums.distinct) {
        if !columns.contains(&&counted.column) {
            columns.push(&counted.column);
        }
    }
    columns
}
