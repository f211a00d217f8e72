//! How long the past is kept: a number, a unit, and what becomes of the rest. Knows no relation.

use super::report::Report;
use crate::finding::{Code, Finding};
use crate::model::{Older, Retention, Unit};
use crate::spec::{self, At};

/// The longest stretch, in days: a thousand years are for ever.
const LONGEST: u32 = 366_000;

pub(super) fn lower(written: Option<&At<spec::Retention>>, report: &mut Report<'_>) -> Retention {
    let Some(written) = written else { return Retention::Whole };
    let kept = written.keep.as_ref().and_then(|keep| stretch(keep, report));
    match (kept, &written.then) {
        (Some((count, unit)), Some(then)) => {
            let older = match then.value {
                spec::Then::Archive => Older::Archived,
                spec::Then::Drop => Older::Dropped,
            };
            Retention::Since { count, unit, older }
        }
        _ => Retention::Whole,
    }
}

fn stretch(written: &At<String>, report: &mut Report<'_>) -> Option<(u32, Unit)> {
    let read = written.trim().split_once(' ').and_then(|(count, unit)| {
        let (unit, days) = match unit.trim() {
            "day" | "days" => (Unit::Day, 1),
            "week" | "weeks" => (Unit::Week, 7),
            "month" | "months" => (Unit::Month, 30),
            "year" | "years" => (Unit::Year, 366),
            _ => return None,
        };
        let count = count.parse::<u32>().ok()?;
        (1..=LONGEST / days).contains(&count).then_some((count, unit))
    });
    if read.is_none() {
        let place = report.at(&written.span);
        let message = format!("`{}` is no stretch of time", written.value);
        report.push(
            Finding::new(Code::UnfitDuration, message, place)
                .label("a number of days, weeks, months or years")
                .help("write `24 months`"),
        );
    }
    read
}
