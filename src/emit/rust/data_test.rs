//! What the runtime is told of the tests of the data.

use super::layout::{Expression, atom, call, owned, string, structure, tuple, vector};
use crate::emit::sql::data_test;
use crate::model::data_test::{Proof, Rule};
use crate::model::{DataTest, Name};

pub(super) fn descriptor(test: &DataTest, time_zone: &str) -> Expression {
    let optional = |number: Option<u64>| {
        number.map_or_else(|| atom("None"), |number| call("Some", vec![atom(number.to_string())]))
    };
    let description = test
        .description
        .as_deref()
        .map_or_else(|| atom("None"), |text| call("Some", vec![atom(string(text))]));
    structure(
        "descriptor::DataTest",
        vec![
            ("name", atom(string(&test.name))),
            ("description", description),
            ("relation", name(&test.relation)),
            ("stored", name(&test.stored)),
            ("key", names(&test.key)),
            ("reads", vector(test.reads.iter().map(name).collect())),
            ("rule", rule(test, time_zone)),
            ("warn_above", atom(test.warn_above.to_string())),
            ("error_above", optional(test.error_above)),
        ],
    )
}

fn rule(test: &DataTest, time_zone: &str) -> Expression {
    let one =
        |variant: &str, sql: &str| call(&format!("descriptor::Rule::{variant}"), vec![atom(string(sql))]);
    if let Some(proof) = test.proof {
        let by = match proof {
            Proof::NotNull => "NOT NULL",
            Proof::Unique => "a unique key",
            Proof::Type => "the type",
        };
        return one("Proved", by);
    }
    let optional = |number: &Option<u64>| {
        number.map_or_else(|| atom("None"), |number| call("Some", vec![atom(number.to_string())]))
    };
    match &test.rule {
        Rule::Each(condition) => one("Each", &data_test::condition(condition)),
        Rule::Unique(columns) => call("descriptor::Rule::Unique", vec![names(columns)]),
        Rule::Increasing { column, order_by, per } => structure(
            "descriptor::Rule::Increasing",
            vec![("column", owned(column)), ("order_by", owned(order_by)), ("per", names(per))],
        ),
        Rule::Relationship { on, relation, stored } => {
            let pairs = on.iter().map(|(own, there)| tuple(vec![owned(own), owned(there)]));
            structure(
                "descriptor::Rule::Relationship",
                vec![("on", vector(pairs.collect())), ("relation", name(relation)), ("stored", name(stored))],
            )
        }
        Rule::RowCount { min, max } => {
            structure("descriptor::Rule::RowCount", vec![("min", optional(min)), ("max", optional(max))])
        }
        Rule::SumEquals { measure, relation, aggregate } => structure(
            "descriptor::Rule::SumEquals",
            vec![
                ("measure", owned(measure)),
                ("relation", name(relation)),
                ("aggregate", atom(string(aggregate))),
            ],
        ),
        Rule::Freshness { column, data_type, within } => structure(
            "descriptor::Rule::Freshness",
            vec![
                ("latest", atom(string(&data_test::latest(column, data_type, time_zone)))),
                ("within", atom(within.to_string())),
            ],
        ),
        Rule::Query(pieces) => one("Query", &data_test::failures(pieces)),
    }
}

fn name(name: &Name) -> Expression {
    call("descriptor::Name::new", vec![atom(string(&name.schema)), atom(string(&name.name))])
}

fn names(names: &[String]) -> Expression {
    let names = names.iter().map(|name| atom(string(name))).collect();
    call("descriptor::names", vec![super::layout::array(names)])
}
