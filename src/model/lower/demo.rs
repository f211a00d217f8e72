//! The guided tour: `demo.toml` beside the spec. Asks nothing of the warehouse: it is played, not checked.

use schemars::JsonSchema;
use serde::Deserialize;

use super::report::Report;
use crate::finding::{Code, Finding, Span};
use crate::model::{DemoAction, DemoStep};
use crate::spec::{At, Files, parse_text};

/// The tour, as written.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Demo {
    /// Its steps, in their order.
    step: Vec<At<Step>>,
}

/// A step of it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Step {
    /// What the reader is told.
    #[schemars(required)]
    say: Option<At<String>>,
    /// A question to the warehouse.
    query: Option<At<String>>,
    /// The time that it is asked as of.
    as_of: Option<At<String>>,
    /// A change of the source.
    source: Option<At<String>>,
    /// Whether the pipeline runs.
    run: Option<At<bool>>,
}

pub(super) fn lower(files: &Files, report: &mut Report<'_>) -> Vec<DemoStep> {
    let Some(text) = &files.demo else { return Vec::new() };
    let parsed = parse_text::<Demo>(text);
    for finding in parsed.findings {
        report.push(finding);
    }
    let steps = parsed.value.step.into_iter().filter_map(|step| {
        let at = |range: &std::ops::Range<usize>| Span::new(text.path(), range.clone());
        let Step { say, query, as_of, source, run } = step.value;
        let runs = run.filter(|run| run.value);
        let words = [
            query.as_ref().map(|query| at(&query.span)),
            source.as_ref().map(|source| at(&source.span)),
            runs.as_ref().map(|run| at(&run.span)),
        ];
        let mut words = words.into_iter().flatten();
        if let (Some(first), Some(second)) = (words.next(), words.next()) {
            report.push(
                Finding::new(Code::KeysDisagree, "a step does one thing", second)
                    .also(first, "this already")
                    .help("make it two steps"),
            );
        }
        if let (None, Some(as_of)) = (&query, &as_of) {
            report.push(
                Finding::new(Code::KeysDisagree, "nothing is asked as of a time", at(&as_of.span))
                    .help("add a `query`, or leave `as_of` out"),
            );
        }
        let action = match (query, source, runs) {
            (Some(query), ..) => {
                DemoAction::Query { sql: query.value, as_of: as_of.map(|as_of| as_of.value) }
            }
            (None, Some(source), _) => DemoAction::Source(source.value),
            (None, None, Some(_)) => DemoAction::Run,
            (None, None, None) => DemoAction::Nothing,
        };
        Some(DemoStep { say: say?.value, action })
    });
    steps.collect()
}
