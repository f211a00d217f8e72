//! The entity of a mart, keyed by its grain.

use super::entity::{Descriptor, Entity, Field, spell_columns};
use super::layout::{Expression, array, atom, call, owned, string, structure, tuple, vector};
use super::module::Modules;
use crate::emit::sql::{self, Averaged, Counted, Grouped, Grouping, definition_view};
use crate::model::{Mart, Name, Storage, UnitColumn};

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
            let refresh = match sql::grouping(mart, time_zone) {
                Some(grouping) => {
                    call("descriptor::Refresh::Groups", vec![call("Box::new", vec![groups(&grouping)])])
                }
                None => {
                    let unit = unit.iter().map(|column| unit_column(mart, column, own, modules, time_zone));
                    call("descriptor::Refresh::Units", vec![vector(unit.collect())])
                }
            };
            structure(
                "descriptor::Storage::Incremental",
                vec![("definition", named(&definition_view(mart))), ("refresh", refresh)],
            )
        }
    }
}

fn named(name: &Name) -> Expression {
    call("descriptor::Name::new", vec![atom(string(&name.schema)), atom(string(&name.name))])
}

fn texts(all: &[String]) -> Expression {
    call("descriptor::texts", vec![array(all.iter().map(|text| atom(string(text))).collect())])
}

fn pairs(all: &[(String, String)]) -> Expression {
    let pairs = all.iter().map(|(one, other)| tuple(vec![atom(string(one)), atom(string(other))]));
    call("descriptor::pairs", vec![array(pairs.collect())])
}

fn optional(value: Option<Expression>) -> Expression {
    value.map_or_else(|| atom("None"), |value| call("Some", vec![value]))
}

fn truth(value: bool) -> Expression {
    atom(if value { "true" } else { "false" })
}

fn groups(grouping: &Grouping) -> Expression {
    let sums = grouping.sums.as_ref().map(|sums| {
        structure(
            "descriptor::Sums",
            vec![
                ("rows", optional(sums.rows.as_deref().map(owned))),
                ("differences", pairs(&sums.differences)),
                ("averages", vector(sums.averages.iter().map(average).collect())),
                ("distinct", vector(sums.distinct.iter().map(counted).collect())),
            ],
        )
    });
    structure(
        "descriptor::Groups",
        vec![
            ("view", named(&grouping.groups)),
            ("columns", texts(&grouping.columns)),
            ("derived", vector(grouping.derived.iter().map(|layer| pairs(layer)).collect())),
            ("reach", optional(grouping.reach.as_deref().map(texts))),
            ("sources", vector(grouping.sources.iter().map(source).collect())),
            ("sums", optional(sums)),
        ],
    )
}

fn average(average: &Averaged) -> Expression {
    structure(
        "descriptor::Average",
        vec![
            ("name", owned(&average.name)),
            ("sum", owned(&average.sum)),
            ("count", owned(&average.count)),
            ("value", owned(&average.value)),
        ],
    )
}

fn counted(counted: &Counted) -> Expression {
    structure(
        "descriptor::Distinct",
        vec![
            ("name", owned(&counted.name)),
            ("value", owned(&counted.value)),
            ("condition", optional(counted.condition.as_deref().map(owned))),
        ],
    )
}

fn source(source: &Grouped) -> Expression {
    let joins = source.joins.iter().map(|join| {
        structure(
            "descriptor::MartJoin",
            vec![
                ("relation", named(&join.relation.0)),
                ("stored", named(&join.relation.1)),
                ("alias", owned(&join.alias)),
                ("on", pairs(&join.on)),
                ("required", truth(join.required)),
            ],
        )
    });
    structure(
        "descriptor::MartSource",
        vec![
            ("relation", named(&source.relation.0)),
            ("stored", named(&source.relation.1)),
            ("alias", owned(&source.alias)),
            ("joins", vector(joins.collect())),
            ("grain", texts(&source.grain)),
            ("own", texts(&source.own)),
            ("indexed", truth(source.indexed)),
            ("filter", optional(source.filter.as_deref().map(owned))),
            ("told", truth(source.told)),
        ],
    )
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
