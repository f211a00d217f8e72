//! Definitions for Dagster: an asset a relation, a check a test. Knows no other scheduler.

use askama::Template;

use super::{Job, Names, RETRIES, Task, listed, quoted, render, run};
use crate::emit::FileSet;
use crate::emit::page::rule;
use crate::model::Warehouse;

const LONGEST: usize = 200;

#[derive(Template)]
#[template(path = "schedule/dagster.py", escape = "none")]
struct Definitions {
    description: Option<String>,
    program: String,
    command: String,
    relations: Vec<Relation>,
    tests: Vec<Test>,
    alerts: Vec<Test>,
    /// The functions that look at them, between commas.
    looks: String,
    retries: u32,
    name: String,
    publish: String,
    look: String,
    measure: String,
    run: String,
    prefix: String,
    cron: String,
    time_zone: String,
}

/// All of it as Python writes it.
struct Relation {
    key: String,
    reads: String,
    layer: String,
    doc: String,
}

/// All of it as Python writes it.
struct Test {
    name: String,
    check: String,
    key: String,
    blocking: &'static str,
    doc: String,
}

pub(super) fn files(warehouse: &Warehouse, tasks: &[Task<'_>], job: &Job, files: &mut FileSet) {
    let name = Names::new('_', LONGEST).make(&warehouse.name);
    let mut names = Names::new('_', LONGEST);
    let keys: Vec<String> = tasks
        .iter()
        .map(|task| {
            let schema = Names::new('_', LONGEST).make(&task.relation.schema);
            // A name is the whole warehouse's, whatever its schema.
            listed([name.as_str(), &schema, &names.make(&task.relation.name)])
        })
        .collect();
    let relations = tasks.iter().zip(&keys).map(|(task, key)| Relation {
        key: key.clone(),
        reads: task.after.iter().map(|place| format!("[{}]", keys[*place])).collect::<Vec<_>>().join(", "),
        layer: quoted(task.layer),
        doc: quoted(task.description.unwrap_or_default()),
    });
    let mut checks = Names::new('_', LONGEST);
    let tests =
        tasks.iter().zip(&keys).flat_map(|(task, key)| task.tests.iter().map(move |test| (test, key)));
    let tests = tests.map(|(test, key)| Test {
        name: quoted(&test.name),
        check: quoted(&checks.make(&test.name)),
        key: key.clone(),
        blocking: if test.error_above.is_some() { "True" } else { "False" },
        doc: quoted(&test.description.clone().unwrap_or_else(|| rule(&test.rule))),
    });
    let tests: Vec<Test> = tests.collect();
    // They are about all that lands: their checks stand at the first landing table.
    let first = tasks.iter().position(|task| task.layer == "bronze").unwrap_or_default();
    let alerts =
        keys.get(first).into_iter().flat_map(|key| warehouse.alerts.iter().map(move |alert| (alert, key)));
    let alerts = alerts.map(|(alert, key)| Test {
        name: quoted(alert.of.name()),
        check: quoted(&checks.make(&format!("alert_{}", alert.of.name()))),
        key: key.clone(),
        blocking: "False",
        doc: quoted(&format!("At most {}.", alert.most)),
    });
    let alerts: Vec<Test> = alerts.collect();
    let looked = [(!tests.is_empty(), "look"), (!alerts.is_empty(), "measure")];
    let looks: Vec<&str> =
        looked.into_iter().filter_map(|(is_there, what)| is_there.then_some(what)).collect();
    let definitions = Definitions {
        description: warehouse.description.as_deref().map(super::remarked),
        program: super::aside(&job.program),
        command: listed(super::command(warehouse, job)),
        relations: relations.collect(),
        looks: looks.join(", "),
        tests,
        alerts,
        retries: RETRIES,
        publish: quoted(&format!("{name}_publish")),
        look: quoted(&format!("{name}_tests")),
        measure: quoted(&format!("{name}_alerts")),
        name: quoted(&name),
        run: listed(run().iter().map(String::as_str)),
        prefix: quoted(&format!("test.{}.", warehouse.name)),
        cron: quoted(&job.cron.to_string()),
        time_zone: quoted(&warehouse.time_zone),
    };
    files.add(format!("{name}.py"), render(&definitions));
}
