//! Batches of changes as files: what they say by themselves, so that the spec does not.

use super::report::Report;
use crate::finding::{Code, Finding};
use crate::model::{Change, ColumnFrom, FeedFormat, Landing, Silver};
use crate::spec::{self, At};

/// Each change tells its time.
pub(super) fn check_time(format: &At<spec::FeedFormat>, time: &At<String>, report: &mut Report<'_>) {
    if format.value == spec::FeedFormat::ChangeLog {
        let place = report.at(&time.span);
        report.push(
            Finding::new(Code::KeysDisagree, "each change of a log tells its time: `cdc_timestamp`", place)
                .help("leave `time` out"),
        );
    }
}

/// Where a landing table is fed by batches of changes, the batch of a change is the one that they say.
pub(super) fn name_batches(landings: &[Landing], silver: &mut [Silver]) {
    let is_log = |landing: &&Landing| landing.feed().is_some_and(|feed| feed.format == FeedFormat::ChangeLog);
    for landing in landings.iter().filter(is_log) {
        for relation in silver.iter_mut().filter(|relation| relation.feed == landing.name) {
            for column in &mut relation.columns {
                if column.from == ColumnFrom::Change(Change::Batch) {
                    column.from = ColumnFrom::Change(Change::BatchId);
                }
            }
        }
    }
}
