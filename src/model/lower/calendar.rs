//! Calendars: the days that there are. Knows no other relation.

use super::catalog::Catalog;
use super::identity::described;
use super::report::Report;
use super::scope::{ReadColumn, Readable};
use crate::finding::{Code, Finding};
use crate::model::{Calendar, Name, Nullability};
use crate::spec::{self, At};

/// The most years: as many as anybody plans for.
const MOST_YEARS: u32 = 500;

pub(super) fn lower(catalog: &Catalog<'_>, report: &mut Report<'_>) -> Vec<Calendar> {
    let mut lowered: Vec<Calendar> = catalog
        .calendars
        .iter()
        .map(|(name, written)| Calendar {
            name: Name::new(&catalog.schemas.silver, &name.value),
            description: described(written.description.as_ref()),
            first: first(written, report),
            years: years(written, report),
        })
        .collect();
    lowered.sort_by(|a, b| a.name.cmp(&b.name));
    lowered
}

/// What marts and tests read of it.
pub(super) fn readable(name: &str, catalog: &Catalog<'_>) -> Readable {
    let columns = Calendar::columns().into_iter().map(|(name, data_type, _)| ReadColumn {
        name: name.to_owned(),
        data_type: Some(data_type),
        nullability: Nullability::NotNull,
    });
    let mut readable = Readable::stored(Name::new(&catalog.schemas.silver, name), columns.collect(), true);
    readable.key = vec![Calendar::KEY.to_owned()];
    readable
}

fn first(written: &spec::Calendar, report: &mut Report<'_>) -> String {
    let Some(from) = &written.from else { return String::new() };
    if !is_day(from) {
        let place = report.at(&from.span);
        report.push(
            Finding::new(Code::UnfitDuration, format!("`{}` is no day", from.value), place)
                .label("a year, a month and a day")
                .help("write `2023-01-01`"),
        );
    }
    from.value.clone()
}

fn years(written: &spec::Calendar, report: &mut Report<'_>) -> u32 {
    let Some(years) = &written.years else { return 1 };
    if !(1..=MOST_YEARS).contains(&years.value) {
        let place = report.at(&years.span);
        let message = format!("a calendar does not go on for {} years", years.value);
        let label = format!("1 at least, and {MOST_YEARS} at most");
        report.push(Finding::new(Code::UnfitDuration, message, place).label(label));
    }
    years.value
}

/// Whether a text is a day of the calendar that everybody uses.
fn is_day(text: &At<String>) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts.as_slice() else { return false };
    let number = |part: &str, digits: usize| {
        let plain = part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| part.parse::<u32>().ok()).flatten()
    };
    let (Some(year), Some(month), Some(day)) = (number(year, 4), number(month, 2), number(day, 2)) else {
        return false;
    };
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    year > 0 && (1..=days).contains(&day)
}
