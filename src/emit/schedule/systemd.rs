//! Units for systemd: a timer, a service that runs, and one that tests for each relation. Knows no other scheduler.

use std::collections::BTreeSet;

use askama::Template;

use super::{Job, Names, Task, aside, remark, render, run};
use crate::emit::FileSet;
use crate::model::Warehouse;

/// A unit's name has 255 bytes, with its kind.
const LONGEST: usize = 200;

#[derive(Template)]
#[template(path = "schedule/systemd/timer", escape = "none")]
struct Timer {
    name: String,
    warehouse: String,
    calendars: Vec<String>,
}

#[derive(Template)]
#[template(path = "schedule/systemd/run.service", escape = "none")]
struct Run<'a> {
    warehouse: String,
    gates: Vec<&'a str>,
    file: &'a str,
    command: String,
}

#[derive(Template)]
#[template(path = "schedule/systemd/alerts.service", escape = "none")]
struct Look<'a> {
    warehouse: String,
    file: &'a str,
    command: String,
}

#[derive(Template)]
#[template(path = "schedule/systemd/test.service", escape = "none")]
struct Test<'a> {
    unit: &'a str,
    says: String,
    after: String,
    file: &'a str,
    command: String,
}

pub(super) fn files(warehouse: &Warehouse, tasks: &[Task<'_>], job: &Job, files: &mut FileSet) {
    let file = Names::new('-', LONGEST).make(&warehouse.name);
    let name = format!("medallion-{file}");
    let mut names = Names::new('-', LONGEST);
    let units: Vec<String> =
        tasks.iter().map(|task| format!("{name}-{}.service", names.make(&task.relation.name))).collect();
    let command = |verb: &[&str]| {
        super::command(warehouse, job).chain(verb.iter().copied()).map(word).collect::<Vec<_>>().join(" ")
    };
    let timer = Timer {
        name: name.clone(),
        warehouse: text(&warehouse.name),
        calendars: job
            .cron
            .calendar()
            .into_iter()
            .map(|calendar| format!("{calendar} {}", warehouse.time_zone))
            .collect(),
    };
    files.add(format!("{name}.timer"), render(&timer));
    let tested = || tasks.iter().zip(&units).filter(|(task, _)| !task.tests.is_empty());
    let look = super::look(warehouse).map(|look| {
        let unit = format!("{name}-{}.service", names.make("alerts"));
        (unit, Look { warehouse: text(&warehouse.name), file: &file, command: command(&look) })
    });
    let run = Run {
        warehouse: text(&warehouse.name),
        gates: tested()
            .map(|(_, unit)| unit)
            .chain(look.iter().map(|(unit, _)| unit))
            .map(String::as_str)
            .collect(),
        file: &file,
        command: command(&run().each_ref().map(String::as_str)),
    };
    files.add(format!("{name}.service"), render(&run));
    if let Some((unit, look)) = &look {
        files.add(unit.clone(), render(look));
    }
    for (task, unit) in tested() {
        let after: Vec<&str> =
            tested_before(tasks, &task.after).into_iter().map(|place| units[place].as_str()).collect();
        let test = Test {
            unit,
            says: text(&task.says()),
            after: after.join(" "),
            file: &file,
            command: command(&task.test()),
        };
        files.add(unit.clone(), render(&test));
    }
}

/// The nearest of what is read, and of what that reads, that is tested.
fn tested_before(tasks: &[Task<'_>], places: &[usize]) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    for place in places {
        match tasks[*place].tests.is_empty() {
            true => found.extend(tested_before(tasks, &tasks[*place].after)),
            false => drop(found.insert(*place)),
        }
    }
    found
}

/// A text in which nothing stands for anything else.
fn text(text: &str) -> String {
    let text = aside(text).replace('%', "%%");
    // At the end it would join the next line.
    match text.ends_with('\\') {
        true => text + ".",
        false => text,
    }
}

/// A word of a command.
fn word(word: &str) -> String {
    let plain = |one: char| one.is_ascii_alphanumeric() || "_-./:@,+=?".contains(one);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    let word = remark(word).replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", word.replace('%', "%%").replace('$', "$$"))
}
