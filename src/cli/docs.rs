//! `medallion docs`: one HTML page that explains the warehouse, or what dbt is told of it. Needs no database; where it is
//! given one, the page tells of runs and freshness as well, and of the results that `medallion test --results` has left.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::workspace::Workspace;
use super::{Error, check, live};
use crate::emit::dbt;
use crate::emit::page::{self, Fresh, Observed, Run, TestResult};
use crate::model::Warehouse;
use crate::output;

/// Write a page that explains the warehouse: lineage, columns, SQL, tests, runs
///
/// The page is one HTML file that needs no network. With the warehouse's DATABASE_URL it shows runs and freshness as
/// well, and the last results of the tests where `medallion test --results target` has written them. For dbt it is a file of
/// sources and exposures, for the models of a project that builds on silver and gold.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    medallion docs\n  \
    medallion docs --output public/index.html\n  \
    medallion docs --for dbt --output models/sources.yml")]
pub(super) struct Docs {
    /// Who reads it
    #[arg(long = "for", value_enum, value_name = "READER", default_value_t)]
    reader: Reader,

    /// The file to write; target/docs/<warehouse>.html without, or .yml
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Results of tests as `medallion test --results` writes them
    #[arg(long, value_name = "FILE", default_value = "target/run_results.json")]
    results: PathBuf,
}

/// Who reads what is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Reader {
    /// People, in a browser
    #[default]
    People,
    /// dbt, in a project of its own
    Dbt,
}

impl Reader {
    fn extension(self) -> &'static str {
        match self {
            Self::People => "html",
            Self::Dbt => "yml",
        }
    }
}

impl Docs {
    /// The same, with a path that stays what it is when the current folder becomes another one.
    pub(super) fn settled(self) -> Self {
        let output = self.output.map(|path| std::path::absolute(&path).unwrap_or(path));
        Self { output, ..self }
    }
}

pub(super) fn run(workspace: &Workspace, docs: &Docs) -> Result<ExitCode, Error> {
    let Some(warehouse) = check::model(workspace)? else { return Ok(ExitCode::from(1)) };
    let text = match docs.reader {
        Reader::People => page::page(&warehouse, &observed(workspace, docs, &warehouse)?),
        Reader::Dbt => dbt::schema(&warehouse),
    };
    let path = docs.output.clone().unwrap_or_else(|| {
        let file = format!("{}.{}", warehouse.name, docs.reader.extension());
        workspace.root.join("target/docs").join(file)
    });
    output::replace_file(&path, &text)?;
    let shown = path.strip_prefix(".").unwrap_or(&path);
    check::answer(&format!("{}\n", shown.display()));
    Ok(ExitCode::SUCCESS)
}

/// What is there to tell beside the spec.
fn observed(workspace: &Workspace, docs: &Docs, warehouse: &Warehouse) -> Result<Observed, Error> {
    let mut observed = Observed::default();
    results(&workspace.root.join(&docs.results), warehouse, &mut observed)?;
    if let Some(url) = std::env::var("DATABASE_URL").ok().filter(|url| !url.is_empty())
        && let Err(why) = ask(&url, &mut observed)
    {
        eprintln!("the page is without runs and freshness: {why}");
    }
    Ok(observed)
}

/// Results that are there; none are fine, and those of another warehouse are none.
fn results(path: &Path, warehouse: &Warehouse, observed: &mut Observed) -> Result<(), Error> {
    let unreadable = |why: String| {
        Error::new(
            format!("cannot read `{}`: {why}", path.display()),
            "write it anew with `medallion test --results target`, or name another file with `--results`",
        )
    };
    let text = match fs::read_to_string(path) {
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        text => text.map_err(|cause| unreadable(cause.to_string()))?,
    };
    let results: Value = serde_json::from_str(&text).map_err(|cause| unreadable(cause.to_string()))?;
    let prefix = format!("test.{}.", warehouse.name);
    let list =
        results["results"].as_array().ok_or_else(|| unreadable("there are no results in it".to_owned()))?;
    for one in list {
        let Some(name) = one["unique_id"].as_str().and_then(|id| id.strip_prefix(&prefix)) else { continue };
        let result = TestResult {
            status: one["status"].as_str().unwrap_or_default().to_owned(),
            message: one["message"].as_str().map(str::to_owned),
            seconds: one["execution_time"].as_f64().unwrap_or_default(),
        };
        observed.tests.insert(name.to_owned(), result);
    }
    observed.tested = results["metadata"]["generated_at"].as_str().map(str::to_owned);
    Ok(())
}

/// Runs, how far relations are, and how far landing is: a line each, of its kind.
const QUESTION: &str = r#"
SELECT json_build_object(
    'run', to_char(start_time AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
    'seconds', extract(epoch FROM coalesce(end_time, updated_at) - start_time),
    'status', status,
    'metrics', performance_metrics
)::text
FROM (SELECT * FROM medallion.pipeline_metadata ORDER BY id DESC LIMIT 200) AS latest
ORDER BY id;
SELECT json_build_object(
    'relation', relation,
    'time', to_char(system_time AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
)::text
FROM medallion.watermark
WHERE isfinite(system_time)
ORDER BY relation;
SELECT json_build_object(
    'landed', to_char(max(last_commit_ts) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
)::text
FROM medallion.source_position;"#;

fn ask(url: &str, observed: &mut Observed) -> Result<(), String> {
    let mut last: BTreeMap<String, (u64, f64)> = BTreeMap::new();
    for line in live::ask(url, QUESTION)?.lines().filter(|line| line.starts_with('{')) {
        let line: Value = serde_json::from_str(line).map_err(|cause| format!("{cause} in `{line}`"))?;
        if let Some(started) = line["run"].as_str() {
            let metrics = &line["metrics"];
            let rows = |value: &Value| value["rows"].as_u64().unwrap_or_default();
            let mut written = 0;
            for (relation, step) in
                ["applied", "refreshed"].iter().flat_map(|kind| metrics[kind].as_object()).flatten()
            {
                written += rows(step);
                last.insert(relation.clone(), (rows(step), step["seconds"].as_f64().unwrap_or_default()));
            }
            let landed = metrics["landed"].as_object().map_or_else(
                || metrics["landed_rows"].as_u64().unwrap_or_default(),
                |landed| landed.values().filter_map(Value::as_u64).sum(),
            );
            observed.runs.push(Run {
                started: started.to_owned(),
                seconds: line["seconds"].as_f64().unwrap_or_default(),
                status: line["status"].as_str().unwrap_or_default().to_owned(),
                landed,
                written,
                watch: metrics["watch"] == true,
                error: metrics["error"].as_str().map(str::to_owned),
            });
        } else if let (Some(relation), Some(time)) = (line["relation"].as_str(), line["time"].as_str()) {
            observed.fresh.insert(relation.to_owned(), Fresh { time: time.to_owned(), last: None });
        } else if let Some(time) = line["landed"].as_str() {
            observed.landed = Some(time.to_owned());
        }
    }
    for (relation, done) in last {
        if let Some(fresh) = observed.fresh.get_mut(&relation) {
            fresh.last = Some(done);
        } else if let Some(time) = &observed.landed {
            // A mart is as true as what it reads: refreshed with it, or not touched by it.
            observed.fresh.insert(relation, Fresh { time: time.clone(), last: Some(done) });
        }
    }
    Ok(())
}
