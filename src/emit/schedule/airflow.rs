//! A DAG for Apache Airflow 3. Knows no other scheduler.

use askama::Template;

use super::{Job, Names, RETRIES, Task, listed, quoted, render, run};
use crate::emit::FileSet;
use crate::model::Warehouse;

/// Airflow keeps 250 bytes of a task's name, with its group's before it.
const LONGEST: usize = 200;

#[derive(Template)]
#[template(path = "schedule/airflow.py", escape = "none")]
struct Dag {
    description: Option<String>,
    program: String,
    command: String,
    relations: Vec<Relation>,
    dag: String,
    summary: String,
    cron: String,
    time_zone: String,
    retries: u32,
    run: String,
    look: Option<String>,
    prefix: String,
}

/// All of it as Python writes it.
struct Relation {
    name: String,
    layer: String,
    task: String,
    reads: String,
    test: String,
    doc: String,
}

pub(super) fn files(warehouse: &Warehouse, tasks: &[Task<'_>], job: &Job, files: &mut FileSet) {
    let mut names = Names::new('_', LONGEST);
    let named: Vec<String> = tasks.iter().map(|task| names.make(&task.relation.name)).collect();
    let relations = tasks.iter().zip(&named).map(|(task, name)| Relation {
        name: quoted(&task.full_name()),
        layer: quoted(task.layer),
        task: quoted(name),
        reads: listed(task.after.iter().map(|place| named[*place].as_str())),
        test: if task.tests.is_empty() { String::new() } else { listed(task.test()) },
        doc: quoted(task.description.unwrap_or_default()),
    });
    let name = Names::new('_', LONGEST).make(&warehouse.name);
    let dag = Dag {
        description: warehouse.description.as_deref().map(super::remarked),
        program: super::aside(&job.program),
        command: listed(super::command(warehouse, job)),
        relations: relations.collect(),
        dag: quoted(&name),
        summary: quoted(warehouse.description.as_deref().unwrap_or_default()),
        cron: quoted(&job.cron.to_string()),
        time_zone: quoted(&warehouse.time_zone),
        retries: RETRIES,
        run: listed(run().iter().map(String::as_str)),
        look: super::look(warehouse).map(listed),
        prefix: quoted(&format!("{}.", warehouse.name)),
    };
    files.add(format!("{name}.py"), render(&dag));
}
