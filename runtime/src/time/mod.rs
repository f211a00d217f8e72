//! Dates and timestamps that may be infinite, as PostgreSQL's are: what an entity's field holds where
//! chrono's types would panic on `infinity`. Ordered as the database orders them. Knows no relation.
//!
//! Read from the wire as they stand, they are written as text that a column's `save_as` casts, for no
//! driver can bind an infinite value.

mod field;
mod text;

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Duration, NaiveDate, NaiveDateTime, Utc};

/// Microseconds in a day.
const DAY: i64 = 86_400_000_000;

/// A `timestamptz`: a point in time, or one of the two infinities.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimestampTz {
    /// Microseconds since 2000-01-01 00:00:00 UTC; the two ends of the range are the infinities.
    micros: i64,
}

/// A `timestamp`: a reading of calendar and clock, or one of the two infinities.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Microseconds since 2000-01-01 00:00:00; the two ends of the range are the infinities.
    micros: i64,
}

/// A `date`: a day, or one of the two infinities.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date {
    /// Days since 2000-01-01; the two ends of the range are the infinities.
    days: i32,
}

/// Why a value is not what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An infinity has no date.
    #[error("`{0}` is no date")]
    Infinite(&'static str),
    /// The value is outside of what the other type holds.
    #[error("the value is out of range")]
    OutOfRange,
    /// The text is none that PostgreSQL writes.
    #[error("`{0}` is neither an ISO date or time nor an infinity")]
    Text(String),
}

macro_rules! infinite {
    ($name:ident, $field:ident, $number:ty) => {
        impl $name {
            /// Later than any other.
            pub const INFINITY: Self = Self { $field: <$number>::MAX };
            /// Earlier than any other.
            pub const NEG_INFINITY: Self = Self { $field: <$number>::MIN };

            /// Whether it is neither infinity.
            pub fn is_finite(self) -> bool {
                self != Self::INFINITY && self != Self::NEG_INFINITY
            }

            fn finite(self) -> Result<$number, Error> {
                match self {
                    Self::INFINITY => Err(Error::Infinite(text::INFINITY)),
                    Self::NEG_INFINITY => Err(Error::Infinite(text::NEG_INFINITY)),
                    Self { $field } => Ok($field),
                }
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, formatter)
            }
        }
    };
}

infinite!(TimestampTz, micros, i64);
infinite!(Timestamp, micros, i64);
infinite!(Date, days, i32);

impl TimestampTz {
    /// The present moment of this machine.
    pub fn now() -> Self {
        Self::from(Utc::now())
    }
}

impl fmt::Display for TimestampTz {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::write_timestamp(formatter, self.micros, "+00")
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::write_timestamp(formatter, self.micros, "")
    }
}

impl fmt::Display for Date {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::write_date(formatter, self.days)
    }
}

impl FromStr for TimestampTz {
    type Err = Error;

    /// Reads what PostgreSQL writes with `DateStyle` ISO; without an offset the time is in UTC.
    fn from_str(text: &str) -> Result<Self, Error> {
        text::timestamp(text).map(|micros| Self { micros }).ok_or_else(|| Error::Text(text.to_owned()))
    }
}

impl FromStr for Timestamp {
    type Err = Error;

    /// Reads what PostgreSQL writes with `DateStyle` ISO.
    fn from_str(text: &str) -> Result<Self, Error> {
        text::timestamp(text).map(|micros| Self { micros }).ok_or_else(|| Error::Text(text.to_owned()))
    }
}

impl FromStr for Date {
    type Err = Error;

    /// Reads what PostgreSQL writes with `DateStyle` ISO.
    fn from_str(text: &str) -> Result<Self, Error> {
        text::date(text).map(|days| Self { days }).ok_or_else(|| Error::Text(text.to_owned()))
    }
}

impl From<DateTime<Utc>> for TimestampTz {
    fn from(time: DateTime<Utc>) -> Self {
        Self { micros: micros(time.naive_utc()) }
    }
}

impl From<NaiveDateTime> for Timestamp {
    fn from(time: NaiveDateTime) -> Self {
        Self { micros: micros(time) }
    }
}

impl From<NaiveDate> for Date {
    fn from(day: NaiveDate) -> Self {
        let days = day.signed_duration_since(NaiveDate::from(epoch())).num_days();
        Self { days: i32::try_from(days).expect("chrono's years are fewer than 263,000 either way") }
    }
}

impl TryFrom<TimestampTz> for DateTime<Utc> {
    type Error = Error;

    fn try_from(time: TimestampTz) -> Result<Self, Error> {
        time.finite().and_then(date_time).map(|time| time.and_utc())
    }
}

impl TryFrom<Timestamp> for NaiveDateTime {
    type Error = Error;

    fn try_from(time: Timestamp) -> Result<Self, Error> {
        time.finite().and_then(date_time)
    }
}

impl TryFrom<Date> for NaiveDate {
    type Error = Error;

    fn try_from(day: Date) -> Result<Self, Error> {
        let days = Duration::days(i64::from(day.finite()?));
        Self::from(epoch()).checked_add_signed(days).ok_or(Error::OutOfRange)
    }
}

fn epoch() -> NaiveDateTime {
    DateTime::<Utc>::from_timestamp_secs(946_684_800).expect("the year 2000 is in range").naive_utc()
}

fn micros(time: NaiveDateTime) -> i64 {
    let micros = time.signed_duration_since(epoch()).num_microseconds();
    micros.expect("chrono's years are fewer than 263,000 either way")
}

fn date_time(micros: i64) -> Result<NaiveDateTime, Error> {
    epoch().checked_add_signed(Duration::microseconds(micros)).ok_or(Error::OutOfRange)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_value_agree() {
        for text in [
            "infinity",
            "-infinity",
            "2000-01-01 00:00:00+00",
            "1999-12-31 23:59:59.999999+00",
            "2024-02-29 12:30:00.5+00",
            "0044-03-15 00:00:00+00 BC",
            "294276-12-31 23:59:59.999999+00",
            "4714-11-24 00:00:00+00 BC",
        ] {
            assert_eq!(text.parse::<TimestampTz>().unwrap().to_string(), text);
        }
        for text in ["infinity", "-infinity", "2024-02-29", "0001-01-01 BC", "5874897-12-31"] {
            assert_eq!(text.parse::<Date>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn an_offset_is_taken_off() {
        let there: TimestampTz = "2024-01-01 01:30:00+05:30".parse().unwrap();
        assert_eq!(there.to_string(), "2023-12-31 20:00:00+00");
        let there: TimestampTz = "2024-01-01 01:30:00-08".parse().unwrap();
        assert_eq!(there.to_string(), "2024-01-01 09:30:00+00");
    }

    #[test]
    fn other_text_is_refused() {
        for text in
            ["", "now", "2024-13-01", "2024-02-30", "2024-01-01 25:00:00", "2024-01-01T", "é024-01-01", "-"]
        {
            assert!(text.parse::<TimestampTz>().is_err(), "{text}");
            assert!(text.parse::<Date>().is_err(), "{text}");
        }
    }

    #[test]
    fn infinities_stand_at_the_ends() {
        let now = TimestampTz::now();
        assert!(TimestampTz::NEG_INFINITY < now && now < TimestampTz::INFINITY);
        assert!(now.is_finite() && !TimestampTz::INFINITY.is_finite());
        assert_eq!(DateTime::<Utc>::try_from(TimestampTz::INFINITY), Err(Error::Infinite("infinity")));
    }

    #[test]
    fn chrono_goes_there_and_back() {
        for day in [NaiveDate::MIN, NaiveDate::MAX, NaiveDate::from(epoch())] {
            assert_eq!(NaiveDate::try_from(Date::from(day)), Ok(day));
            let time = day.and_hms_micro_opt(23, 59, 59, 999_999).unwrap();
            assert_eq!(NaiveDateTime::try_from(Timestamp::from(time)), Ok(time));
            assert_eq!(DateTime::<Utc>::try_from(TimestampTz::from(time.and_utc())), Ok(time.and_utc()));
        }
        let beyond: Date = "5874897-12-31".parse().unwrap();
        assert_eq!(NaiveDate::try_from(beyond), Err(Error::OutOfRange));
    }
}
