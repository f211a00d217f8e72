//! Definitions of jobs for schedulers of others: a task publishes, one a relation holds its rows to the tests that the
//! spec declares, after those of what it reads, and one looks at the thresholds of `[alerts]`. A run publishes all
//! relations together, so that no task computes one alone. Pure: no secret is asked for and none is written. Knows no
//! scheduler's program, and no disk.

mod airflow;
mod cron;
mod crontab;
mod dagster;
mod kubernetes;
mod systemd;

use std::collections::{BTreeMap, BTreeSet};

pub use cron::Cron;

use super::FileSet;
use super::sql::{remark, render};
use crate::model::{DataTest, Name, Origin, SilverKind, TOOL_SCHEMA, Warehouse};

/// For how many seconds a run waits for a server that goes away under it; what takes longer is the scheduler's to try again.
const PATIENCE: u32 = 300;

/// How often what could not run is tried again.
const RETRIES: u32 = 3;

/// Who starts the jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheduler {
    /// Apache Airflow 3.
    Airflow,
    /// Dagster.
    Dagster,
    /// Any cron.
    Cron,
    /// systemd's timers.
    Systemd,
    /// CronJobs of Kubernetes.
    Kubernetes,
}

/// What the spec does not say of a job.
#[derive(Clone, Debug)]
pub struct Job {
    /// When it begins, in the warehouse's time zone.
    pub cron: Cron,
    /// The `warehouse` binary, as the scheduler finds it.
    pub program: String,
    /// The image that has it, for Kubernetes.
    pub image: String,
}

/// The files of a warehouse's jobs.
pub fn schedule(warehouse: &Warehouse, scheduler: Scheduler, job: &Job) -> FileSet {
    let tasks = tasks(warehouse);
    let mut files = FileSet::default();
    match scheduler {
        Scheduler::Airflow => airflow::files(warehouse, &tasks, job, &mut files),
        Scheduler::Dagster => dagster::files(warehouse, &tasks, job, &mut files),
        Scheduler::Cron => crontab::files(warehouse, &tasks, job, &mut files),
        Scheduler::Systemd => systemd::files(warehouse, &tasks, job, &mut files),
        Scheduler::Kubernetes => kubernetes::files(warehouse, &tasks, job, &mut files),
    }
    files
}

/// A relation, as a scheduler is told of it.
struct Task<'a> {
    /// Where it is stored.
    relation: &'a Name,
    /// bronze, silver, gold, or reference for what others look up.
    layer: &'static str,
    description: Option<&'a str>,
    /// What it reads: earlier tasks.
    after: Vec<usize>,
    /// What its rows are held to.
    tests: Vec<&'a DataTest>,
    /// What selects these tests.
    selector: String,
}

/// The relations that a run lands, applies and refreshes, each after those that it reads; then calendars that are tested,
/// which read nothing.
fn tasks(warehouse: &Warehouse) -> Vec<Task<'_>> {
    let mut tasks = Vec::new();
    let mut places = BTreeMap::new();
    for landing in &warehouse.landings {
        let layer = if landing.name.schema == TOOL_SCHEMA { "reference" } else { "bronze" };
        places.insert(&landing.name, tasks.len());
        tasks.push(Task::of(&landing.name, layer, landing.description.as_deref()));
    }
    for silver in &warehouse.silver {
        let layer = match &silver.kind {
            SilverKind::Dimension(dimension) if dimension.origin == Origin::Lookup => "reference",
            _ => "silver",
        };
        let mut task = Task::of(&silver.name, layer, silver.description.as_deref());
        let reads = silver.lookups.iter().map(|lookup| &lookup.relation).chain([&silver.feed]);
        task.after = after(reads, &places);
        places.insert(&silver.name, tasks.len());
        tasks.push(task);
    }
    for mart in &warehouse.marts {
        let layer = if mart.is_shown() { "silver" } else { "gold" };
        let mut task = Task::of(&mart.name, layer, mart.description.as_deref());
        task.after = after(mart.reads.iter().map(|read| &read.stored), &places);
        places.insert(&mart.name, tasks.len());
        tasks.push(task);
    }
    for test in &warehouse.tests {
        let place = places.get(&test.relation).or_else(|| places.get(&test.stored)).copied();
        let place = place.unwrap_or_else(|| {
            let calendar = warehouse.calendars.iter().find(|one| one.name == test.relation);
            let description = calendar.and_then(|one| one.description.as_deref());
            places.insert(&test.relation, tasks.len());
            tasks.push(Task::of(&test.relation, "silver", description));
            tasks.len() - 1
        });
        tasks[place].tests.push(test);
    }
    tasks
}

/// The places of what is read, in their order.
fn after<'a>(reads: impl Iterator<Item = &'a Name>, places: &BTreeMap<&Name, usize>) -> Vec<usize> {
    let places: BTreeSet<usize> = reads.filter_map(|read| places.get(read).copied()).collect();
    places.into_iter().collect()
}

impl<'a> Task<'a> {
    fn of(relation: &'a Name, layer: &'static str, description: Option<&'a str>) -> Self {
        let selector = format!("{}.{}", pattern(&relation.schema), pattern(&relation.name));
        Self { relation, layer, description, after: Vec::new(), tests: Vec::new(), selector }
    }

    /// What the relation is called in full.
    fn full_name(&self) -> String {
        format!("{}.{}", self.relation.schema, self.relation.name)
    }

    /// The relation in a sentence, on one line.
    fn says(&self) -> String {
        let name = self.full_name();
        remark(&self.description.map_or(name.clone(), |said| format!("{name}: {said}")))
    }

    /// The verb that holds the relation to its tests.
    fn test(&self) -> [&str; 3] {
        ["test", "--select", &self.selector]
    }
}

/// The verb that publishes.
fn run() -> [String; 3] {
    ["run".to_owned(), "--wait".to_owned(), PATIENCE.to_string()]
}

/// The verb that says whether something has gone beyond a threshold of the spec's, where it has any.
fn look(warehouse: &Warehouse) -> Option<[&'static str; 1]> {
    (!warehouse.alerts.is_empty()).then_some(["status"])
}

/// The binary, and the warehouse that is meant.
fn command<'a>(warehouse: &'a Warehouse, job: &'a Job) -> impl Iterator<Item = &'a str> {
    [job.program.as_str(), "--warehouse", &warehouse.name].into_iter()
}

/// A text of the spec as a line of remark.
fn remarked(text: &str) -> String {
    format!("# {}", aside(text))
}

/// A text as a part of a line of remark.
fn aside(text: &str) -> String {
    remark(text).replace(turns, " ").replace(['\u{feff}', '\u{fffe}', '\u{ffff}'], " ")
}

/// A name as a selection takes it: what has a meaning there stands for any character.
fn pattern(name: &str) -> String {
    name.chars().map(|one| if one.is_alphanumeric() || "_-".contains(one) { one } else { '?' }).collect()
}

/// Names of another kind, made of ours.
pub(super) struct Names {
    /// What stands for a character that such a name does not take.
    other: char,
    longest: usize,
    taken: BTreeSet<String>,
}

impl Names {
    pub fn new(other: char, longest: usize) -> Self {
        Self { other, longest, taken: BTreeSet::new() }
    }

    /// A name of small letters, digits and the other character, that no other has.
    pub fn make(&mut self, name: &str) -> String {
        let plain =
            |one: char| if one.is_ascii_alphanumeric() { one.to_ascii_lowercase() } else { self.other };
        let made: String = name.chars().map(plain).collect();
        let made = made.trim_matches(self.other);
        let made = if made.is_empty() { "relation" } else { made };
        let cut = |room: usize| made[..made.len().min(room)].trim_end_matches(self.other).to_owned();
        let mut unique = cut(self.longest);
        let mut number = 2;
        while self.taken.contains(&unique) {
            let suffix = format!("{}{number}", self.other);
            unique = cut(self.longest - suffix.len()) + &suffix;
            number += 1;
        }
        self.taken.insert(unique.clone());
        unique
    }
}

/// A text in double quotes as JSON has it, which Python and YAML read as the same; what ends a line for any of them is
/// written as its number.
pub(super) fn quoted(text: &str) -> String {
    let json = serde_json::Value::from(text).to_string();
    let mut quoted = String::new();
    for one in json.chars() {
        match one {
            // And what YAML does not take, or would show the rest of a line in another order.
            '\u{7f}'..='\u{9f}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => quoted.push_str(&numbered(one)),
            one if turns(one) => quoted.push_str(&numbered(one)),
            _ => quoted.push(one),
        }
    }
    quoted
}

fn numbered(one: char) -> String {
    format!("\\u{:04x}", u32::from(one))
}

/// Whether a character ends a line for some readers, or turns what follows it around.
fn turns(one: char) -> bool {
    matches!(one, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Texts in double quotes, between commas.
fn listed<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    texts.into_iter().map(quoted).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_and_no_two_are_one() {
        let mut names = Names::new('-', 8);
        let made = ["dim_x", "dim x", "Dim\"X", "\u{e9}", "a_very_long_name", "a_very_long_one"];
        let made: Vec<String> = made.into_iter().map(|name| names.make(name)).collect();
        assert_eq!(made, ["dim-x", "dim-x-2", "dim-x-3", "relation", "a-very-l", "a-very-2"]);
    }

    #[test]
    fn what_a_selection_reads_is_no_part_of_a_name() {
        assert_eq!(pattern("dim_film"), "dim_film");
        assert_eq!(pattern("a,b +c:*\u{e9}"), "a?b??c??\u{e9}");
    }

    #[test]
    fn a_quoted_text_stays_on_its_line() {
        assert_eq!(quoted("a\"b\\c\n\u{85}\u{2028}'"), r#""a\"b\\c\n\u0085\u2028'""#);
        assert_eq!(quoted("\u{202e}\u{ffff}é💥"), r#""\u202e\uffffé💥""#);
    }
}
