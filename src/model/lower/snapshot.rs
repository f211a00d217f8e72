//! Landing tables that are fed by snapshots: how often, and what becomes of rows that are gone. Knows no silver relation.

use super::catalog::Landing;
use super::identity;
use super::report::Report;
use crate::finding::{Code, Finding};
use crate::model::{Gone, Snapshots};
use crate::spec::{self, At, Capture};

/// A year is long between two snapshots.
const LONGEST: u64 = 366 * 86_400;

/// How snapshots feed a landing table; none where they do not.
pub(super) fn lower(
    landing: &Landing<'_>,
    source: &spec::Source,
    report: &mut Report<'_>,
) -> Option<Snapshots> {
    if !feeds(landing, source) {
        return None;
    }
    let column = landing.watermark.map(|column| ("watermark", &column.span));
    let deletes = landing.deletes.map(|deletes| ("deletes", &deletes.span));
    for (name, span) in column.into_iter().chain(deletes) {
        let place = report.at(span);
        let message = format!("`{name}` says nothing: `{}` is fed by snapshots", landing.declared.value);
        let finding = Finding::new(Code::KeysDisagree, message, place);
        report.push(match name {
            "deletes" => finding.help("write `snapshot = { deletes = \"close\" }`: keep, close or ignore"),
            _ => finding.help(format!("leave `{name}` out")),
        });
    }
    let nothing = spec::Snapshot::default();
    let written = landing.snapshot.map_or(&nothing, |snapshot| &snapshot.value);
    let every = written.every.as_ref().and_then(|every| duration(every, report));
    let gone = match written.deletes.as_ref().map(|deletes| deletes.value) {
        None | Some(spec::Gone::Close) => Gone::Closed,
        Some(spec::Gone::Keep) => Gone::Kept,
        Some(spec::Gone::Ignore) => Gone::Ignored,
    };
    Some(Snapshots { every, gone })
}

/// Whether snapshots feed a landing table: the spec says so of it, or of the source.
pub(super) fn feeds(landing: &Landing<'_>, source: &spec::Source) -> bool {
    let all = source.capture.as_ref().is_some_and(|capture| capture.value == Capture::Snapshot);
    landing.feed.is_none() && (all || landing.snapshot.is_some())
}

fn duration(written: &At<String>, report: &mut Report<'_>) -> Option<u64> {
    let read = identity::whole_seconds(written).filter(|seconds| (1..=LONGEST).contains(seconds));
    if read.is_none() {
        let place = report.at(&written.span);
        let message = format!("`{}` is no time between two snapshots", written.value);
        report.push(
            Finding::new(Code::UnfitDuration, message, place)
                .label("a number of seconds, minutes, hours or days, a year at most")
                .help("write `1 day`"),
        );
    }
    read
}
