//! A CronJob for Kubernetes. Knows no other scheduler.

use askama::Template;

use super::{Job, Names, RETRIES, Task, listed, quoted, render, run};
use crate::emit::FileSet;
use crate::model::Warehouse;

/// A container's name has 63 bytes; a CronJob's 52, for a job's has a time behind it.
const LONGEST: (usize, usize) = (63, 52);

#[derive(Template)]
#[template(path = "schedule/kubernetes.yaml", escape = "none")]
struct CronJob {
    description: Option<String>,
    /// Plain, but YAML has words of its own.
    name: String,
    quoted: String,
    image: String,
    cron: String,
    time_zone: String,
    retries: u32,
    /// What is done before anything else; none where nothing follows.
    first: Vec<Container>,
    containers: Vec<Container>,
}

struct Container {
    name: String,
    command: String,
}

/// A container's command, in which `$(NAME)` would be a variable, and `$$` is one sign.
fn command<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let words: Vec<String> = words.map(|word| word.replace('$', "$$")).collect();
    listed(words.iter().map(String::as_str))
}

pub(super) fn files(warehouse: &Warehouse, tasks: &[Task<'_>], job: &Job, files: &mut FileSet) {
    let name = Names::new('-', LONGEST.1).make(&warehouse.name);
    let run = run();
    let mut names = Names::new('-', LONGEST.0);
    let mut container = |name: &str, verb: &[&str]| Container {
        name: quoted(&names.make(name)),
        command: command(super::command(warehouse, job).chain(verb.iter().copied())),
    };
    let publish = container("run", &run.each_ref().map(String::as_str));
    let tested = tasks.iter().filter(|task| !task.tests.is_empty());
    let mut tests: Vec<Container> = tested.map(|task| container(&task.relation.name, &task.test())).collect();
    tests.extend(super::look(warehouse).map(|look| container("alerts", &look)));
    let (first, containers) = match tests.is_empty() {
        true => (Vec::new(), vec![publish]),
        false => (vec![publish], tests),
    };
    let cron_job = CronJob {
        description: warehouse.description.as_deref().map(super::remarked),
        image: quoted(&job.image),
        cron: quoted(&job.cron.to_string()),
        time_zone: quoted(&warehouse.time_zone),
        retries: RETRIES,
        quoted: quoted(&name),
        name: name.clone(),
        first,
        containers,
    };
    files.add(format!("{name}.yaml"), render(&cron_job));
}
