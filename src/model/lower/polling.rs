//! A source that is captured by watermark: how it is asked, and by which column of each table. Knows no silver
//! relation.

use super::catalog::Landing;
use super::report::Report;
use super::{identity, names, snapshot};
use crate::finding::{Code, Finding};
use crate::model::{Deletes, Polling, Watermark};
use crate::spec::{self, At, Capture};

/// A day is long for any of them.
const LONGEST: u64 = 86_400;

/// Rows of a page. A page is one transaction of the warehouse, and stands on its disk meanwhile.
const PAGES: std::ops::RangeInclusive<u32> = 1..=1_000_000;

/// How the source is asked; none where its log is read.
pub(super) fn lower(written: &spec::Source, report: &mut Report<'_>) -> Option<Polling> {
    let polls = is_polled(written);
    if let (false, Some(polling)) = (polls, &written.polling) {
        let place = report.at(&polling.span);
        let why = match written.capture.as_ref().map(|capture| capture.value) {
            Some(Capture::Snapshot) => "snapshots are taken",
            _ => "the source's log is read",
        };
        report.push(
            Finding::new(Code::KeysDisagree, format!("nothing is polled: {why}"), place)
                .help("write `capture = \"watermark\"` in `[source]`, or leave `[source.polling]` out"),
        );
    }
    let by = match written.capture.as_ref().map(|capture| capture.value) {
        None | Some(Capture::Logical) => return None,
        Some(Capture::Watermark) => "the source is captured by watermark",
        Some(Capture::Snapshot) => "the source is captured by snapshots",
    };
    for (name, span) in of_the_log(written) {
        let place = report.at(&span);
        report.push(
            Finding::new(
                Code::KeysDisagree,
                format!("`{name}` is about the source's log, which is not read"),
                place,
            )
            .label(by)
            .help(format!("leave `{name}` out")),
        );
    }
    if !polls {
        return None;
    }
    let nothing = spec::Polling::default();
    let polling = written.polling.as_ref().map_or(&nothing, |polling| &polling.value);
    let mut stretch = |written: &Option<At<String>>, least: u64, usual: u64| {
        written.as_ref().map_or(Some(usual), |written| duration(written, least, report)).unwrap_or(usual)
    };
    let (every, margin) = (stretch(&polling.every, 1, 1), stretch(&polling.margin, 0, 1));
    let look_back = stretch(&polling.look_back, 0, 60);
    let compare_every = stretch(&polling.compare_every, 0, 3_600);
    let page = polling.page.as_ref().map_or(10_000, |page| {
        if !PAGES.contains(&page.value) {
            let place = report.at(&page.span);
            report.push(
                Finding::new(Code::WrongShape, format!("`{}` is no size of a page", page.value), place)
                    .label("between 1 and 1000000 rows"),
            );
        }
        page.value
    });
    Some(Polling { every, margin, look_back, page, compare_every })
}

/// By what a landing table's changes are found; none where the source's log is read.
pub(super) fn watermark(
    landing: &Landing<'_>,
    source: &spec::Source,
    report: &mut Report<'_>,
) -> Option<Watermark> {
    if landing.feed.is_some() || snapshot::feeds(landing, source) {
        return None;
    }
    let polls = is_polled(source);
    if !polls {
        let deletes = landing.deletes.map(|deletes| ("deletes", &deletes.span));
        let column = landing.watermark.map(|column| ("watermark", &column.span));
        for (name, span) in column.into_iter().chain(deletes) {
            let place = report.at(span);
            let message = format!("`{name}` says nothing: the source's log is read");
            report.push(
                Finding::new(Code::KeysDisagree, message, place)
                    .help(format!("write `capture = \"watermark\"` in `[source]`, or leave `{name}` out")),
            );
        }
        return None;
    }
    let Some(column) = landing.watermark else {
        if landing.complete {
            let place = report.at(&landing.declared.span);
            let message = format!("nothing says by what changes of `{}` are found", landing.declared.value);
            report.push(
                Finding::new(Code::MissingKey, message, place)
                    .label("the source is captured by watermark")
                    .help("name the column that rises with each change: `watermark = \"last_updated\"`"),
            );
        }
        return None;
    };
    names::check(column, "the watermark", report);
    let deletes = match landing.deletes.map(|deletes| deletes.value) {
        None | Some(spec::Deletes::Ignore) => Deletes::Ignored,
        Some(spec::Deletes::Compare) => Deletes::Compared,
    };
    Some(Watermark { column: column.value.clone(), deletes })
}

fn is_polled(source: &spec::Source) -> bool {
    source.capture.as_ref().is_some_and(|capture| capture.value == Capture::Watermark)
}

/// What is said of the log, and where.
fn of_the_log(source: &spec::Source) -> Vec<(&'static str, std::ops::Range<usize>)> {
    let words = [
        ("plugin", source.plugin.as_ref().map(|one| one.span.clone())),
        ("publication", source.publication.as_ref().map(|one| one.span.clone())),
        ("slot", source.slot.as_ref().map(|one| one.span.clone())),
        ("recorded_log", source.recorded_log.as_ref().map(|one| one.span.clone())),
        ("keep_log", source.keep_log.as_ref().map(|one| one.span.clone())),
        ("removed_partitions", source.removed_partitions.as_ref().map(|one| one.span.clone())),
    ];
    words.into_iter().filter_map(|(name, span)| Some((name, span?))).collect()
}

/// A number of seconds, minutes, hours, or one day.
fn duration(written: &At<String>, least: u64, report: &mut Report<'_>) -> Option<u64> {
    let read = identity::whole_seconds(written).filter(|seconds| (least..=LONGEST).contains(seconds));
    if read.is_none() {
        let place = report.at(&written.span);
        let message = format!("`{}` is no time to wait", written.value);
        report.push(
            Finding::new(Code::UnfitDuration, message, place)
                .label("a number of seconds, minutes or hours, a day at most")
                .help("write `5 seconds`"),
        );
    }
    read
}
