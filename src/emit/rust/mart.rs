//! The entity of a mart, keyed by its grain.

use super::entity::{Descriptor, Entity, Field, spell_columns};
use super::layout::{Expression, array, atom, call, string, structure, vector};
use super::module::Modules;
use crate::emit::sql::{self, definition_view};
use crate::model::{Mart, Storage, UnitColumn};

/// What stands for the column in the SQL of a unit of refresh.
const COLUMN: &str = "{column}";

pub(super) fn entity<'a>(mart: &'a Mart, modules: &Modules<'_>, time_zone: &str) -> Entity<'a> {
    let columns = mart.grain.iter().chain(&mart.measures);
    let fields = columns.map(|column| {
        Field::new(&column.name, &column.data_type, column.nullability, column.description.as_deref())
    });
    Entity {
        name: &mart.name,
        doc: mart.description.clone().unwrap_or_else(|| format!("Mart `{}`.", mart.name.name)),
        fields: fields.collect(),
        key: mart.grain.iter().map(|column| column.name.as_str()).collect(),
        descriptor: Some(descriptor(mart, modules, time_zone)),
    }
}

fn descriptor(mart: &Mart, modules: &Modules<'_>, time_zone: &str) -> Descriptor {
    let columns = mart.grain.iter().chain(&mart.measures).map(|column| column.name.as_str());
    let spellings = spell_columns(columns.clone());
    let own = |column: &str| atom(format!("Column::{}", spellings[column].camel));
    let all = columns.map(own).collect();
    let grain = mart.grain.iter().map(|column| own(&column.name)).collect();
    let reads = modules.stored_reads(mart);
    let reads =
        reads.iter().map(|name| atom(format!("descriptor::Name::of({}::Entity)", modules.path(name))));
    Descriptor {
        function: "mart",
        doc: "What the runtime is told of this mart.",
        kind: "Mart",
        body: structure(
            "descriptor::Mart",
            vec![
                ("table", atom("descriptor::Name::of(Entity)")),
                ("columns", call("descriptor::columns", vec![array(all)])),
                ("grain", call("descriptor::columns", vec![array(grain)])),
                ("storage", storage(mart, &own, modules, time_zone)),
                ("reads", vector(reads.collect())),
            ],
        ),
    }
}

fn storage(
    mart: &Mart,
    own: &dyn Fn(&str) -> Expression,
    modules: &Modules<'_>,
    time_zone: &str,
) -> Expression {
    match &mart.storage {
        Storage::View => atom("descriptor::Storage::View"),
        Storage::MaterializedView => atom("descriptor::Storage::MaterializedView"),
        Storage::Incremental { unit } => {
            let definition = definition_view(mart);
            let definition = vec![atom(string(&definition.schema)), atom(string(&definition.name))];
            let unit = unit.iter().map(|column| unit_column(mart, column, own, modules, time_zone));
            structure(
                "descriptor::Storage::Incremental",
                vec![
                    ("definition", call("descriptor::Name::new", definition)),
                    ("unit", vector(unit.collect())),
                ],
            )
        }
    }
}

fn unit_column(
    mart: &Mart,
    column: &UnitColumn,
    own: &dyn Fn(&str) -> Expression,
    modules: &Modules<'_>,
    time_zone: &str,
) -> Expression {
    let grain = mart.grain.iter().find(|grain| grain.name == column.column);
    let of = column.of.iter().map(|(relation, value)| {
        let sql = grain.map_or_else(String::new, |grain| sql::unit(grain, value, COLUMN, time_zone));
        let read = mart.reads.iter().find(|read| read.name == *relation);
        let stored = read.map_or(relation, |read| &read.stored);
        call(
            "descriptor::value_in",
            vec![
                atom(format!("{}::Entity", modules.path(stored))),
                atom(modules.column(stored, &value.column)),
                atom(string(&sql)),
            ],
        )
    });
    structure(
        "descriptor::UnitColumn",
        vec![("column", call("descriptor::column", vec![own(&column.column)])), ("of", vector(of.collect()))],
    )
}
