//! Thresholds: times, amounts of the log, counts. Knows no relation.

use super::identity;
use super::report::Report;
use crate::finding::{Code, Finding};
use crate::model::{Alert, Watched};
use crate::spec::{self, At};

/// Ten years are long for any of them.
const LONGEST: u64 = 3_653 * 86_400;

pub(super) fn lower(written: &spec::Alerts, report: &mut Report<'_>) -> Vec<Alert> {
    let lag = written.lag.as_ref().and_then(|lag| duration(lag, report));
    let backlog = written.backlog.as_ref().and_then(|backlog| bytes(backlog, report));
    let age = written.age.as_ref().and_then(|age| duration(age, report));
    let count = |count: &Option<At<u64>>| count.as_ref().map(|count| count.value);
    let all = [
        (Watched::Lag, lag),
        (Watched::Backlog, backlog),
        (Watched::Unapplied, count(&written.unapplied)),
        (Watched::Duplicates, count(&written.duplicates)),
        (Watched::Quarantined, count(&written.quarantined)),
        (Watched::Age, age),
    ];
    all.into_iter().filter_map(|(of, most)| Some(Alert { of, most: most? })).collect()
}

fn duration(written: &At<String>, report: &mut Report<'_>) -> Option<u64> {
    let read = identity::whole_seconds(written).filter(|seconds| (1..=LONGEST).contains(seconds));
    if read.is_none() {
        let place = report.at(&written.span);
        let message = format!("`{}` is no time to be behind", written.value);
        report.push(
            Finding::new(Code::UnfitDuration, message, place)
                .label("a number of seconds, minutes, hours or days")
                .help("write `5 minutes`"),
        );
    }
    read
}

/// A number of bytes, kilobytes and so on, each 1024 of the one before, as PostgreSQL has it.
fn bytes(written: &At<String>, report: &mut Report<'_>) -> Option<u64> {
    let read = written.trim().split_once(' ').and_then(|(count, unit)| {
        let power = ["B", "kB", "MB", "GB", "TB"].iter().position(|known| *known == unit.trim())?;
        count.parse::<u64>().ok()?.checked_mul(1024_u64.checked_pow(u32::try_from(power).ok()?)?)
    });
    if read.is_none() {
        let place = report.at(&written.span);
        let message = format!("`{}` is no amount of log", written.value);
        report.push(
            Finding::new(Code::WrongShape, message, place)
                .label("a number of B, kB, MB, GB or TB")
                .help("write `1 GB`"),
        );
    }
    read
}
