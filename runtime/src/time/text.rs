//! Dates and timestamps as text, in the ISO form that PostgreSQL reads and writes, over its whole range
//! (4714 BC to the year 5874897), which is wider than chrono's. Knows the calendar and nothing else.

use std::fmt;

use super::DAY;

/// How PostgreSQL writes the end of time.
pub(super) const INFINITY: &str = "infinity";
/// How PostgreSQL writes the beginning of time.
pub(super) const NEG_INFINITY: &str = "-infinity";

/// Days from 0000-03-01 to 2000-01-01: the calendar is reckoned from March, so that a leap day ends a year.
const EPOCH: i64 = 730_425;
/// Days in 400 years.
const ERA: i64 = 146_097;

/// Writes a count of microseconds since 2000, with the offset given.
pub(super) fn write_timestamp(formatter: &mut fmt::Formatter<'_>, micros: i64, offset: &str) -> fmt::Result {
    match micros {
        i64::MAX => return formatter.write_str(INFINITY),
        i64::MIN => return formatter.write_str(NEG_INFINITY),
        _ => {}
    }
    let (year, month, day) = civil(micros.div_euclid(DAY));
    let time = micros.rem_euclid(DAY);
    let (seconds, fraction) = (time / 1_000_000, time % 1_000_000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    write!(formatter, "{:04}-{month:02}-{day:02} ", era_year(year))?;
    write!(formatter, "{hour:02}:{minute:02}:{second:02}")?;
    if fraction != 0 {
        write!(formatter, ".{}", format!("{fraction:06}").trim_end_matches('0'))?;
    }
    formatter.write_str(offset)?;
    formatter.write_str(era(year))
}

/// Writes a count of days since 2000.
pub(super) fn write_date(formatter: &mut fmt::Formatter<'_>, days: i32) -> fmt::Result {
    match days {
        i32::MAX => return formatter.write_str(INFINITY),
        i32::MIN => return formatter.write_str(NEG_INFINITY),
        _ => {}
    }
    let (year, month, day) = civil(i64::from(days));
    write!(formatter, "{:04}-{month:02}-{day:02}{}", era_year(year), era(year))
}

/// Reads microseconds since 2000, UTC where an offset is named.
pub(super) fn timestamp(text: &str) -> Option<i64> {
    match text {
        INFINITY => return Some(i64::MAX),
        NEG_INFINITY => return Some(i64::MIN),
        _ => {}
    }
    let (text, before_christ) = without_era(text);
    let (date, time) = text.split_once([' ', 'T']).unwrap_or((text, "00:00:00"));
    let days = days_of(date, before_christ)?;
    let (clock, offset) = match time.find(['+', '-', 'Z']) {
        Some(at) => time.split_at(at),
        None => (time, ""),
    };
    let micros = days.checked_mul(DAY)?.checked_add(clock_of(clock)?)?.checked_sub(offset_of(offset)?)?;
    (micros != i64::MAX && micros != i64::MIN).then_some(micros)
}

/// Reads days since 2000.
pub(super) fn date(text: &str) -> Option<i32> {
    match text {
        INFINITY => return Some(i32::MAX),
        NEG_INFINITY => return Some(i32::MIN),
        _ => {}
    }
    let (text, before_christ) = without_era(text);
    let days = i32::try_from(days_of(text, before_christ)?).ok()?;
    (days != i32::MAX && days != i32::MIN).then_some(days)
}

fn without_era(text: &str) -> (&str, bool) {
    match text.strip_suffix(" BC") {
        Some(rest) => (rest, true),
        None => (text, false),
    }
}

fn days_of(text: &str, before_christ: bool) -> Option<i64> {
    let mut parts = text.splitn(3, '-');
    let (year, month, day) = (number(parts.next()?)?, number(parts.next()?)?, number(parts.next()?)?);
    if year == 0 || year > 9_999_999 {
        return None;
    }
    let year = if before_christ { 1 - year } else { year };
    let days = days_from_civil(year, month, day);
    // A day that the month does not have comes back as one of the next month.
    (civil(days) == (year, month, day)).then_some(days)
}

fn clock_of(text: &str) -> Option<i64> {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let mut parts = clock.splitn(3, ':');
    let (hour, minute) = (number(parts.next()?)?, number(parts.next()?)?);
    let second = parts.next().map_or(Some(0), number)?;
    if hour > 23 || minute > 59 || second > 59 || fraction.len() > 6 {
        return None;
    }
    let micros = number(&format!("{fraction:0<6}"))?;
    Some(((hour * 60 + minute) * 60 + second) * 1_000_000 + micros)
}

fn offset_of(text: &str) -> Option<i64> {
    if text.is_empty() || text == "Z" {
        return Some(0);
    }
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let mut parts = text.get(1..)?.splitn(3, ':');
    let hour = number(parts.next()?)?;
    let minute = parts.next().map_or(Some(0), number)?;
    let second = parts.next().map_or(Some(0), number)?;
    (hour < 16 && minute < 60 && second < 60).then(|| sign * ((hour * 60 + minute) * 60 + second) * 1_000_000)
}

fn number(text: &str) -> Option<i64> {
    let digits = !text.is_empty() && text.len() <= 7 && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// The days since 2000 of a day of the proleptic Gregorian calendar, its year counted astronomically.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year.div_euclid(400) * ERA + of_era * 365 + of_era / 4 - of_era / 100 + of_year - EPOCH
}

/// Year (counted astronomically: 0 is 1 BC), month and day.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + EPOCH;
    let of_era = days.rem_euclid(ERA);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / (ERA - 1)) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march = (5 * of_year + 2) / 153;
    let month = if march < 10 { march + 3 } else { march - 9 };
    let day = of_year - (153 * march + 2) / 5 + 1;
    let year = days.div_euclid(ERA) * 400 + year;
    (if month <= 2 { year + 1 } else { year }, month, day)
}

fn era_year(year: i64) -> i64 {
    if year > 0 { year } else { 1 - year }
}

fn era(year: i64) -> &'static str {
    if year > 0 { "" } else { " BC" }
}
