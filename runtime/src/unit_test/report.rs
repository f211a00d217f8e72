//! Results of unit tests for other programs, in the words of those of the data's tests. Knows no file.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Status, Tested};
use crate::data_test::report::{Case, Ended, junit_of, run_results_of};
use crate::descriptor::Warehouse;
use crate::error::Result;

/// The results as `run_results.json` has them.
pub fn run_results(
    warehouse: &Warehouse,
    tested: &[Tested],
    started: DateTime<Utc>,
    elapsed: Duration,
) -> Value {
    run_results_of(warehouse.name, "unit_test", tested.iter().map(case), started, elapsed)
}

/// The results as JUnit's XML, a suite a relation.
pub fn junit(warehouse: &Warehouse, tested: &[Tested]) -> Result<String> {
    junit_of(warehouse.name, tested.iter().map(case))
}

fn case(one: &Tested) -> Case<'_> {
    let place = |message: &String| format!("{}: {message}", one.place);
    Case {
        name: &one.name,
        suite: one.relation.clone(),
        relation: one.relation.clone(),
        ended: match one.status {
            Status::Passed => Ended::Passed,
            Status::Failed => Ended::Failed,
            Status::Broken => Ended::Broken,
        },
        message: one.message.as_ref().map(place),
        failures: one.failures,
        sql: "",
        rows: &one.diff,
        elapsed: one.elapsed,
    }
}
