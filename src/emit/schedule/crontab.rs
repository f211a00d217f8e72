//! A line for cron, which knows no tasks: one verb after the other. Knows no other scheduler.

use askama::Template;

use super::{Job, Names, Task, render, run};
use crate::emit::FileSet;
use crate::model::Warehouse;

#[derive(Template)]
#[template(path = "schedule/crontab", escape = "none")]
struct Crontab {
    description: Option<String>,
    zone: String,
    cron: String,
    looks: bool,
    line: String,
}

pub(super) fn files(warehouse: &Warehouse, tasks: &[Task<'_>], job: &Job, files: &mut FileSet) {
    let name = Names::new('-', 60).make(&warehouse.name);
    let command = shlex::try_join(super::command(warehouse, job)).expect("no argument has a zero byte");
    let run = run().join(" ");
    let mut verbs = format!("{command} {run} 2>&1");
    if tasks.iter().any(|task| !task.tests.is_empty()) {
        verbs += &format!(" && {command} test 2>&1");
    }
    if let Some(look) = super::look(warehouse) {
        verbs += &format!(" && {command} {} 2>&1", look.join(" "));
    }
    let line = format!(
        "set -a; . \"$HOME/.config/medallion/{name}.env\"; said=$({verbs}) || printf '%s\\n' \"$said\""
    );
    let crontab = Crontab {
        description: warehouse.description.as_deref().map(super::remarked),
        zone: match warehouse.time_zone.as_str() {
            "UTC" => String::new(),
            zone => format!(", which need not be {zone}"),
        },
        cron: job.cron.to_string(),
        looks: super::look(warehouse).is_some(),
        // Cron ends a command at a percent sign.
        line: line.replace('%', "\\%"),
    };
    files.add(format!("{name}.crontab"), render(&crontab));
}
