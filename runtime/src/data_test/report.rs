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

/// The results as `run_results.json` has them.
pub fn run_results(
    warehouse: &Warehouse,
    tested: &[Tested],
    started: DateTime<Utc>,
    elapsed: Duration,
) -> Value {
    let text = |time: DateTime<Utc>| time.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    let mut at = started;
    let results = tested.iter().map(|one| {
        let began = at;
        at += chrono::Duration::from_std(one.elapsed).unwrap_or_default();
        json!({
            "status": status(one.status),
            "timing": [{ "name": "execute", "started_at": text(began), "completed_at": text(at) }],
            "thread_id": "main",
            "execution_time": one.elapsed.as_secs_f64(),
            "adapter_response": {},
            "message": one.message,
            "failures": one.failures,
            "unique_id": format!("test.{}.{}", warehouse.name, one.name),
            "compiled": !one.sql.is_empty(),
            "compiled_code": one.sql,
            "relation_name": quote::name(&one.relation),
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
fn status(status: Status) -> &'static str {
    match status {
        Status::Proved | Status::Passed => "pass",
        Status::Warned => "warn",
        Status::Failed => "fail",
        Status::Broken => "error",
    }
}

/// The results as JUnit's XML, a suite a relation. What is only told has passed, and says so.
pub fn junit(warehouse: &Warehouse, tested: &[Tested]) -> Result<String> {
    let mut report = Report::new(warehouse.name);
    let mut suites: Vec<TestSuite> = Vec::new();
    for one in tested {
        let relation = one.relation.to_string();
        let said = one.message.clone().unwrap_or_default();
        let mut outcome = match one.status {
            Status::Proved | Status::Passed | Status::Warned => TestCaseStatus::success(),
            Status::Failed => TestCaseStatus::non_success(NonSuccessKind::Failure),
            Status::Broken => TestCaseStatus::non_success(NonSuccessKind::Error),
        };
        if one.status.holds_back() {
            outcome.set_message(said.clone());
            outcome.set_description(one.rows.join("\n"));
        }
        let mut case = TestCase::new(one.name, outcome);
        case.set_classname(relation.clone()).set_time(one.elapsed);
        if one.status == Status::Warned {
            case.set_system_out(format!("warned: {said}"));
        }
        match suites.iter_mut().find(|suite| suite.name.as_str() == relation) {
            Some(suite) => drop(suite.add_test_case(case)),
            None => {
                let mut suite = TestSuite::new(relation);
                suite.add_test_case(case);
                suites.push(suite);
            }
        }
    }
    report.add_test_suites(suites);
    report.to_string().during(|| "cannot write JUnit's XML".to_owned())
}
