//! `medallion plan`: what the next migration would do, statement by statement, with what each could break or block.
//! Writes nothing, and needs no database.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::workspace::Workspace;
use super::{Error, check, evolution, read};
use crate::emit::{self, Planned, Unable};
use crate::finding::Findings;
use crate::model::{self, Warehouse};
use crate::plan::{Hazard, Step};

/// What the next migration would do, statement by statement, with hazards
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct Plan {
    /// How it is shown
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// How a plan is shown.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// A line a statement
    Human,
    /// The statements whole
    Sql,
    /// For programs
    Json,
    /// For a pull request
    Markdown,
}

pub(super) fn run(workspace: &Workspace, plan: Plan) -> Result<ExitCode, Error> {
    let specs = read::chosen(workspace.spec.as_deref())?;
    let loaded: Vec<Result<Warehouse, Findings>> = specs.iter().map(model::load).collect();
    let mut findings: Vec<Findings> = loaded.iter().filter_map(|one| one.as_ref().err().cloned()).collect();
    let mut plans = Vec::new();
    for (warehouse, files) in
        loaded.iter().zip(&specs).filter_map(|(one, files)| Some((one.as_ref().ok()?, files)))
    {
        let planned = match read::past(&workspace.root, &warehouse.name)? {
            None => None,
            Some(past) => match emit::plan(warehouse, &past) {
                Err(Unable::Undecided(list)) => {
                    findings.push(evolution::findings(&list, files));
                    continue;
                }
                planned => planned.map_err(evolution::unable)?,
            },
        };
        plans.push((warehouse.name.as_str(), planned));
    }
    if !findings.is_empty() {
        findings.iter().for_each(check::print_findings);
        return Ok(ExitCode::from(1));
    }
    match plan.format {
        Format::Human => plans.iter().for_each(|(name, planned)| print!("{}", human(name, planned.as_ref()))),
        Format::Sql => plans.iter().filter_map(|(_, planned)| planned.as_ref()).for_each(|planned| {
            println!("-- {}\n\n{}", planned.name, statements(&planned.up));
        }),
        Format::Json => println!("{:#}", json(&plans)),
        Format::Markdown => {
            plans.iter().for_each(|(name, planned)| print!("{}", markdown(name, planned.as_ref())))
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A line a statement, what it risks below it.
pub fn human(warehouse: &str, planned: Option<&Planned>) -> String {
    let Some(planned) = planned else { return format!("{warehouse}: nothing to migrate\n") };
    let mut text = format!("{warehouse}: {}, {}\n", planned.name, counted(planned.up.len(), "statement"));
    let mut section = "";
    let comments = planned.up.iter().filter(|step| is_comment(step)).count();
    for step in planned.up.iter().filter(|step| !is_comment(step)) {
        if step.section != section {
            section = &step.section;
            let _ = write!(text, "\n{section}\n");
        }
        let _ = writeln!(text, "    {}", first_line(&step.sql));
        for hazard in &step.hazards {
            let _ = writeln!(text, "      ! {hazard}");
        }
    }
    if comments > 0 {
        let _ = write!(text, "\nand {}\n", counted(comments, "comment"));
    }
    text
}

/// What a reviewer sees first is what it risks; the statements are below, folded.
pub fn markdown(warehouse: &str, planned: Option<&Planned>) -> String {
    let Some(planned) = planned else { return format!("**{warehouse}**: nothing to migrate\n") };
    let mut text =
        format!("### `{warehouse}`: `{}`, {}\n\n", planned.name, counted(planned.up.len(), "statement"));
    let risky: Vec<&Step> = planned.up.iter().filter(|step| !step.hazards.is_empty()).collect();
    if risky.is_empty() {
        text.push_str("No hazards.\n");
    } else {
        text.push_str("| hazard | where | statement |\n| --- | --- | --- |\n");
        for step in risky {
            for hazard in &step.hazards {
                let statement = first_line(&step.sql).replace('|', "\\|");
                let _ = writeln!(text, "| {hazard} | {} | `{statement}` |", step.section);
            }
        }
    }
    let _ = write!(
        text,
        "\n<details><summary>SQL</summary>\n\n```sql\n{}\n```\n\n</details>\n",
        statements(&planned.up)
    );
    text
}

fn is_comment(step: &Step) -> bool {
    step.sql.starts_with("COMMENT ON ")
}

fn json(plans: &[(&str, Option<Planned>)]) -> serde_json::Value {
    let step = |step: &Step| {
        let hazards: Vec<&str> = step.hazards.iter().map(|hazard| hazard.code()).collect();
        serde_json::json!({ "section": step.section, "sql": step.sql, "hazards": hazards })
    };
    let list = plans.iter().map(|(warehouse, planned)| {
        let steps: Vec<serde_json::Value> = planned.iter().flat_map(|one| one.up.iter().map(step)).collect();
        let hazards: BTreeSet<&str> = planned
            .iter()
            .flat_map(|one| &one.up)
            .flat_map(|one| &one.hazards)
            .map(|one: &Hazard| one.code())
            .collect();
        serde_json::json!({
            "warehouse": warehouse,
            "migration": planned.as_ref().map(|one| &one.name),
            "hazards": hazards,
            "statements": steps,
        })
    });
    serde_json::Value::Array(list.collect())
}

fn statements(steps: &[Step]) -> String {
    let list: Vec<&str> = steps.iter().map(|step| step.sql.as_str()).collect();
    list.join("\n\n")
}

/// The first line, or two where the first only names a table.
fn first_line(sql: &str) -> String {
    let mut lines = sql.lines().map(str::trim);
    let first = lines.next().unwrap_or_default();
    let rest = lines.next().filter(|_| first.starts_with("ALTER "));
    let whole = rest.map_or_else(|| first.to_owned(), |rest| format!("{first} {rest}"));
    let more = sql.lines().count() > 1 + usize::from(rest.is_some());
    if more { format!("{} …", whole.trim_end_matches([',', ';'])) } else { whole }
}

fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}
