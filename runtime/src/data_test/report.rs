//! Results of tests for other programs: as dbt's run results (version 6 of their schema), and as JUnit's XML. Knows no
//! file.

use std::time::Duration;

use chrono::{DateTime, Utc};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use serde_json::{Value, json};

use super::{Status, Tested};
use crate::descriptor::Warehouse;
use crate::error::{During as _, Result};
use crate::quote;

/// What dbt calls the shape.
const SCHEMA: &str = "https://schemas.getdbt.com/dbt/run-results/v6.json";

/// A result, whatever was tested.
pub(crate) struct Case<'a> {
    pub name: &'a str,
    /// What it is shown with.
    pub suite: String,
    /// The relation, as SQL.
    pub relation: String,
    pub ended: Ended,
    pub message: Option<String>,
    pub failures: u64,
    pub sql: &'a str,
    /// What was found, a line each.
    pub rows: &'a [String],
    pub elapsed: Duration,
}

/// How a test ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Passed,
    Warned,
    Failed,
    Broken,
}

/// The results as `run_results.json` has them.
pub fn run_results(
    warehouse: &Warehouse,
    tested: &[Tested],
    started: DateTime<Utc>,
    elapsed: Duration,
) -> Value {
    run_results_of(warehouse.name, "test", tested.iter().map(case), started, elapsed)
}

/// The results as JUnit's XML, a suite a relation. What is only told has passed, and says so.
pub fn junit(warehouse: &Warehouse, tested: &[Tested]) -> Result<String> {
    junit_of(warehouse.name, tested.iter().map(case))
}

fn case(one: &Tested) -> Case<'_> {
    Case {
        name: one.name,
        suite: one.relation.to_string(),
        relation: quote::name(&one.relation),
        ended: match one.status {
            Status::Proved | Status::Passed => Ended::Passed,
            Status::Warned => Ended::Warned,
            Status::Failed => Ended::Failed,
            Status::Broken => Ended::Broken,
        },
        message: one.message.clone(),
        failures: one.failures,
        sql: &one.sql,
        rows: &one.rows,
        elapsed: one.elapsed,
    }
}

/// Results of one kind, which begins the names that dbt knows them by.
pub(crate) fn run_results_of<'a>(
    warehouse: &str,
    kind: &str,
    cases: impl Iterator<Item = Case<'a>>,
    started: DateTime<Utc>,
    elapsed: Duration,
) -> Value {
    let text = |time: DateTime<Utc>| time.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    let mut at = started;
    let results = cases.map(|one| {
        let began = at;
        at += chrono::Duration::from_std(one.elapsed).unwrap_or_default();
        json!({
            "status": status(one.ended),
            "timing": [{ "name": "execute", "started_at": text(began), "completed_at": text(at) }],
            "thread_id": "main",
            "execution_time": one.elapsed.as_secs_f64(),
            "adapter_response": {},
            "message": one.message,
            "failures": one.failures,
            "unique_id": format!("{kind}.{warehouse}.{}", one.name),
            "compiled": !one.sql.is_empty(),
            "compiled_code": one.sql,
            "relation_name": one.relation,
        })
    });
    let results: Vec<Value> = results.collect();
    json!({
        "metadata": {
            "dbt_schema_version": SCHEMA,
            "dbt_version": concat!("medallion ", env!("CARGO_PKG_VERSION")),
            "generated_at": text(started + chrono::Duration::from_std(elapsed).unwrap_or_default()),
            "env": {},
        },
        "results": results,
        "elapsed_time": elapsed.as_secs_f64(),
        "args": {},
    })
}

/// The word that dbt has for it.
fn status(ended: Ended) -> &'static str {
    match ended {
        Ended::Passed => "pass",
        Ended::Warned => "warn",
        Ended::Failed => "fail",
        Ended::Broken => "error",
    }
}

pub(crate) fn junit_of<'a>(warehouse: &str, cases: impl Iterator<Item = Case<'a>>) -> Result<String> {
    let mut report = Report::new(warehouse);
    let mut suites: Vec<TestSuite> = Vec::new();
    for one in cases {
        let said = one.message.clone().unwrap_or_default();
        let mut outcome = match one.ended {
            Ended::Passed | Ended::Warned => TestCaseStatus::success(),
            Ended::Failed => TestCaseStatus::non_success(NonSuccessKind::Failure),
            Ended::Broken => TestCaseStatus::non_success(NonSuccessKind::Error),
        };
        if matches!(one.ended, Ended::Failed | Ended::Broken) {
            outcome.set_message(said.clone());
            outcome.set_description(one.rows.join("\n"));
        }
        let mut case = TestCase::new(one.name, outcome);
        case.set_classname(one.suite.clone()).set_time(one.elapsed);
        if one.ended == Ended::Warned {
            case.set_system_out(format!("warned: {said}"));
        }
        match suites.iter_mut().find(|suite| suite.name.as_str() == one.suite) {
            Some(suite) => drop(suite.add_test_case(case)),
            None => {
                let mut suite = TestSuite::new(one.suite);
                suite.add_test_case(case);
                suites.push(suite);
            }
        }
    }
    report.add_test_suites(suites);
    report.to_string().during(|| "cannot write JUnit's XML".to_owned())
}
