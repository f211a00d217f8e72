//! `medallion plan`: what the next migration would do, statement by statement, with what each could break or block.
//! Writes nothing, and needs no database; where it is given one, it says how much each statement touches.

pub mod shown;
mod touched;

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use self::shown::Shown;
use self::touched::Touched;
use super::workspace::Workspace;
use super::{Error, branch, check, evolution, read};
use crate::emit::{self, Planned, Unable};
use crate::finding::Findings;
use crate::model::{self, Warehouse};
use crate::plan::hazard;

/// Say what the next migration would do, statement by statement, with what each could break or block
///
/// With the warehouse's DATABASE_URL it says as well how many rows and bytes each statement touches.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    medallion plan\n  \
    medallion plan --format sql\n  \
    medallion plan --base main --format markdown")]
pub(super) struct Plan {
    /// How it is shown
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,

    /// All that this branch changes since it parted from another one: a branch or commit that git knows
    #[arg(long, value_name = "REVISION")]
    base: Option<String>,
}

/// How a plan is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
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

pub(super) fn run(workspace: &Workspace, plan: &Plan) -> Result<ExitCode, Error> {
    let specs = read::chosen(workspace.spec.as_deref())?;
    let loaded: Vec<Result<Warehouse, Findings>> = specs.iter().map(model::load).collect();
    let mut findings: Vec<Findings> = loaded.iter().filter_map(|one| one.as_ref().err().cloned()).collect();
    let mut plans = Vec::new();
    let mut undecided = Vec::new();
    for (warehouse, files) in
        loaded.iter().zip(&specs).filter_map(|(one, files)| Some((one.as_ref().ok()?, files)))
    {
        let past = match &plan.base {
            Some(base) => branch::parted(workspace, base, &warehouse.name)?,
            None => read::past(&workspace.root, &warehouse.name)?,
        };
        let is_begun = past.is_some();
        let planned = match past {
            None => Vec::new(),
            Some(past) => match emit::plan(warehouse, &past) {
                Err(Unable::Undecided(list)) => {
                    undecided.push(evolution::findings(&list, files));
                    continue;
                }
                planned => planned.map_err(evolution::unable)?,
            },
        };
        plans.push((warehouse, planned, is_begun));
    }
    let anew = evolution::anew(&undecided);
    findings.extend(undecided);
    if !findings.is_empty() {
        let reader = if plan.format == Format::Json { check::Format::Json } else { check::Format::Human };
        check::print_findings(findings.iter(), reader);
        if let Some(anew) = anew {
            eprintln!("{anew}");
        }
        return Ok(ExitCode::from(1));
    }
    let database = std::env::var("DATABASE_URL").ok().filter(|url| !url.is_empty());
    let plans: Vec<Shown<'_>> = plans
        .iter()
        .flat_map(|(warehouse, planned, is_begun)| {
            let nothing = planned.is_empty().then_some(None);
            let each = planned.iter().map(Some).chain(nothing);
            each.map(|planned| shown(warehouse, planned, *is_begun, database.as_deref()))
        })
        .collect();
    match plan.format {
        Format::Human => plans.iter().for_each(|plan| print!("{}", plan.human())),
        Format::Sql => plans.iter().filter_map(|plan| plan.planned).for_each(|planned| {
            println!("-- {}\n\n{}", planned.name, shown::statements(&planned.up));
        }),
        Format::Json => println!("{:#}", plans.iter().map(Shown::json).collect::<serde_json::Value>()),
        Format::Markdown => plans.iter().for_each(|plan| print!("{}", plan.markdown())),
    }
    Ok(ExitCode::SUCCESS)
}

fn shown<'a>(
    warehouse: &'a Warehouse,
    planned: Option<&'a Planned>,
    is_begun: bool,
    database: Option<&str>,
) -> Shown<'a> {
    let steps = planned.map_or(&[][..], |planned| &planned.up);
    let touched = match database {
        Some(url) if !steps.is_empty() => Touched::ask(url, steps).unwrap_or_else(|why| {
            eprintln!("the plan is without rows and bytes: {why}");
            Touched::default()
        }),
        _ => Touched::default(),
    };
    let allowed = &warehouse.evolution.allowed_hazards;
    let refused = hazard::risks(steps).into_iter().filter(|risk| !allowed.contains_key(risk)).collect();
    Shown { warehouse: &warehouse.name, planned, touched, refused, is_begun }
}
