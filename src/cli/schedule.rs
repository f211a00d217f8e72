//! `medallion schedule`: definitions of jobs for a scheduler of others, to be looked at and taken over. Needs no database.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::workspace::Workspace;
use super::{Error, check};
use crate::emit::schedule::{self, Cron, Job, Scheduler};
use crate::output;

/// Write job definitions for a scheduler
///
/// A task publishes all relations together, as `medallion run` does; a task for each relation then holds all its rows to the
/// tests of the data, after those of what it reads. The files name environment variables, and hold no secret.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    medallion schedule --for airflow --to dags\n  \
    medallion schedule --for cron --cron \"0 6 * * *\"\n  \
    medallion schedule --for systemd --program /usr/local/bin/warehouse --to units")]
pub(super) struct Schedule {
    /// Who starts the jobs
    #[arg(long = "for", value_enum, value_name = "SCHEDULER")]
    scheduler: Known,

    /// When they begin: minute, hour, day of the month, month, day of the week, in the warehouse's time zone
    #[arg(long, value_name = "TIME", default_value = "*/15 * * * *")]
    cron: Cron,

    /// A folder to write into; to standard output without
    #[arg(long, value_name = "FOLDER")]
    to: Option<PathBuf>,

    /// The warehouse's binary, as the jobs find it
    #[arg(long, value_name = "PATH", default_value = "warehouse")]
    program: String,

    /// The image that has it, for Kubernetes
    #[arg(long, value_name = "IMAGE", default_value = "warehouse:latest")]
    image: String,
}

/// Who can be written for.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Known {
    /// A DAG for Apache Airflow 3
    Airflow,
    /// Assets and checks for Dagster
    Dagster,
    /// A line of a crontab
    Cron,
    /// A timer and services
    Systemd,
    /// A CronJob
    Kubernetes,
}

impl Schedule {
    /// The same, with a path that stays what it is when the current folder becomes another one.
    pub(super) fn settled(self) -> Self {
        let to = self.to.map(|path| std::path::absolute(&path).unwrap_or(path));
        Self { to, ..self }
    }
}

pub(super) fn run(workspace: &Workspace, schedule: &Schedule) -> Result<ExitCode, Error> {
    let Some(warehouse) = check::model(workspace)? else { return Ok(ExitCode::from(1)) };
    let scheduler = match schedule.scheduler {
        Known::Airflow => Scheduler::Airflow,
        Known::Dagster => Scheduler::Dagster,
        Known::Cron => Scheduler::Cron,
        Known::Systemd => Scheduler::Systemd,
        Known::Kubernetes => Scheduler::Kubernetes,
    };
    let Schedule { cron, program, image, .. } = schedule.clone();
    let files = schedule::schedule(&warehouse, scheduler, &Job { cron, program, image });
    for (name, text) in files.iter() {
        match &schedule.to {
            Some(folder) => {
                output::replace_file(&folder.join(name), text)?;
                check::answer(&format!("{}\n", folder.join(name).display()));
            }
            None if files.len() == 1 => check::answer(text),
            None => check::answer(&format!("# {name}\n{text}\n")),
        }
    }
    Ok(ExitCode::SUCCESS)
}
