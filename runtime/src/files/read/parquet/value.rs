//! One value of a column as JSON: numbers as they are, to the last digit; times, dates, bytes and what else JSON has no
//! word for as PostgreSQL writes them.

use std::fmt::Write as _;
use std::io::Write as _;

use chrono::{DateTime, Datelike as _, NaiveDateTime, Timelike as _};
use num_bigint::BigInt;
use parquet::basic::{ConvertedType, LogicalType, TimeUnit};
use parquet::data_type::{ByteArray, FixedLenByteArray, Int96};
use parquet::schema::types::ColumnDescriptor;

use super::super::string;

/// What the values of a column are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What their physical type says: numbers, or bytes.
    Plain,
    Unsigned,
    /// Digits, of which so many stand behind the point.
    Decimal(i32),
    Date,
    /// So many of a second since midnight.
    Time(i64),
    /// So many of a second since 1970, in UTC or in nobody's zone.
    Timestamp(i64, Zone),
    Text,
    Json,
    Uuid,
    Half,
    Interval,
}

/// Whether a time is one of the world's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    Utc,
    None,
}

const MILLIS: i64 = 1_000;
const MICROS: i64 = 1_000_000;
const NANOS: i64 = 1_000_000_000;

/// The day on which 1970 begins, counted as astronomers do.
const EPOCH: i64 = 2_440_588;

const DAY: i64 = 86_400;

impl Kind {
    /// What a column says of its values: in the words of today, else in those of old.
    pub fn of(column: &ColumnDescriptor) -> Self {
        let of_second = |unit: &TimeUnit| match unit {
            TimeUnit::MILLIS => MILLIS,
            TimeUnit::MICROS => MICROS,
            TimeUnit::NANOS => NANOS,
        };
        match column.logical_type_ref() {
            Some(LogicalType::String | LogicalType::Enum) => Self::Text,
            Some(LogicalType::Json) => Self::Json,
            Some(LogicalType::Decimal(decimal)) => Self::Decimal(decimal.scale),
            Some(LogicalType::Date) => Self::Date,
            Some(LogicalType::Time(time)) => Self::Time(of_second(&time.unit)),
            Some(LogicalType::Timestamp(time)) => {
                let zone = if time.is_adjusted_to_u_t_c { Zone::Utc } else { Zone::None };
                Self::Timestamp(of_second(&time.unit), zone)
            }
            Some(LogicalType::Integer(integer)) if !integer.is_signed => Self::Unsigned,
            Some(LogicalType::Uuid) => Self::Uuid,
            Some(LogicalType::Float16) => Self::Half,
            Some(_) => Self::Plain,
            None => match column.converted_type() {
                ConvertedType::UTF8 | ConvertedType::ENUM => Self::Text,
                ConvertedType::JSON => Self::Json,
                ConvertedType::DECIMAL => Self::Decimal(column.type_scale()),
                ConvertedType::DATE => Self::Date,
                ConvertedType::TIME_MILLIS => Self::Time(MILLIS),
                ConvertedType::TIME_MICROS => Self::Time(MICROS),
                ConvertedType::TIMESTAMP_MILLIS => Self::Timestamp(MILLIS, Zone::Utc),
                ConvertedType::TIMESTAMP_MICROS => Self::Timestamp(MICROS, Zone::Utc),
                ConvertedType::UINT_8
                | ConvertedType::UINT_16
                | ConvertedType::UINT_32
                | ConvertedType::UINT_64 => Self::Unsigned,
                ConvertedType::INTERVAL => Self::Interval,
                _ => Self::Plain,
            },
        }
    }
}

/// A value that can be written.
pub trait Value {
    /// Writes it, or says what is wrong with it.
    fn write(&self, kind: &Kind, out: &mut Vec<u8>) -> Result<(), String>;
}

impl Value for bool {
    fn write(&self, _: &Kind, out: &mut Vec<u8>) -> Result<(), String> {
        put(out, format_args!("{self}"))
    }
}

impl Value for i32 {
    fn write(&self, kind: &Kind, out: &mut Vec<u8>) -> Result<(), String> {
        match kind {
            Kind::Unsigned => put(out, format_args!("{}", self.cast_unsigned())),
            _ => i64::from(*self).write(kind, out),
        }
    }
}

impl Value for i64 {
    fn write(&self, kind: &Kind, out: &mut Vec<u8>) -> Result<(), String> {
        match kind {
            Kind::Unsigned => put(out, format_args!("{}", self.cast_unsigned())),
            Kind::Decimal(scale) => decimal(self, *scale, out),
            Kind::Date => {
                let midnight = self.checked_mul(DAY).and_then(|seconds| time(seconds, 0)).ok_or_else(far)?;
                put(out, format_args!("\"{}\"", date(&midnight).0 + date(&midnight).1))
            }
            Kind::Time(of_second) => {
                let (seconds, rest) = (self.div_euclid(*of_second), self.rem_euclid(*of_second));
                let at = time(seconds, rest * (NANOS / of_second)).filter(|_| (0..=DAY).contains(&seconds));
                let at = at.ok_or_else(|| "is no time of a day".to_owned())?;
                // A day may end at 24:00.
                let hours = seconds / 3_600;
                put(out, format_args!("\"{hours:02}:{}\"", minutes(&at)))
            }
            Kind::Timestamp(of_second, zone) => {
                let (seconds, rest) = (self.div_euclid(*of_second), self.rem_euclid(*of_second));
                timestamp(seconds, rest * (NANOS / of_second), *zone, out)
            }
            _ => put(out, format_args!("{self}")),
        }
    }
}

impl Value for Int96 {
    /// Nanoseconds of a day, and the day: how times were written of old.
    fn write(&self, _: &Kind, out: &mut Vec<u8>) -> Result<(), String> {
        let [low, high, day] = *self.data() else { return Err(far()) };
        let nanos = (u64::from(high) << 32 | u64::from(low)).cast_signed();
        let seconds = (i64::from(day.cast_signed()) - EPOCH) * DAY + nanos.div_euclid(NANOS);
        timestamp(seconds, nanos.rem_euclid(NANOS), Zone::None, out)
    }
}

impl Value for f32 {
    fn write(&self, _: &Kind, out: &mut Vec<u8>) -> Result<(), String> {
        match self.is_finite() {
            true => put(out, format_args!("{self:e}")),
            false => f64::from(*self).write(&Kind::Plain, out),
        }
    }
}

impl Value for f64 {
    /// With as many digits as tell it from its neighbours.
    fn write(&self, _: &Kind, out: &mut Vec<u8>) -> Result<(), String> {
        match (self.is_finite(), self.is_nan()) {
            (true, _) => put(out, format_args!("{self:e}")),
            (false, true) => put(out, format_args!("\"NaN\"")),
            (false, false) if *self > 0.0 => put(out, format_args!("\"Infinity\"")),
            (false, false) => put(out, format_args!("\"-Infinity\"")),
        }
    }
}

impl Value for ByteArray {
    fn write(&self, kind: &Kind, out: &mut Vec<u8>) -> Result<(), String> {
        bytes(self.data(), kind, out)
    }
}

impl Value for FixedLenByteArray {
    fn write(&self, kind: &Kind, out: &mut Vec<u8>) -> Result<(), String> {
        bytes(self.data(), kind, out)
    }
}

fn bytes(value: &[u8], kind: &Kind, out: &mut Vec<u8>) -> Result<(), String> {
    let text = || std::str::from_utf8(value).map_err(|_| "is not UTF-8".to_owned());
    match kind {
        Kind::Text => string(text()?, out),
        Kind::Json => {
            let text = text()?;
            serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(|_| "is no JSON".to_owned())?;
            out.extend_from_slice(text.as_bytes());
        }
        Kind::Decimal(scale) => return decimal(&BigInt::from_signed_bytes_be(value), *scale, out),
        Kind::Uuid => {
            let uuid = uuid::Uuid::from_slice(value).map_err(|_| "is no UUID".to_owned())?;
            return put(out, format_args!("\"{uuid}\""));
        }
        Kind::Half => {
            let [low, high] = *value else { return Err("is no number of 16 bits".to_owned()) };
            return half(u16::from_le_bytes([low, high])).write(&Kind::Plain, out);
        }
        Kind::Interval => {
            let (parts, []) = value.as_chunks::<4>() else { return Err("is no interval".to_owned()) };
            let [months, days, millis] = *parts else { return Err("is no interval".to_owned()) };
            let [months, days, millis] = [months, days, millis].map(u32::from_le_bytes);
            let (seconds, millis) = (millis / 1_000, millis % 1_000);
            return put(out, format_args!("\"P{months}M{days}DT{seconds}.{millis:03}S\""));
        }
        _ => {
            let mut hex = String::with_capacity(2 * value.len() + 2);
            hex.push_str("\\x");
            for byte in value {
                let _ = write!(hex, "{byte:02x}");
            }
            string(&hex, out);
        }
    }
    Ok(())
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) -> Result<(), String> {
    out.write_fmt(text).map_err(|error| error.to_string())
}

/// Digits with a power of ten behind them: PostgreSQL keeps each.
fn decimal(digits: &dyn std::fmt::Display, scale: i32, out: &mut Vec<u8>) -> Result<(), String> {
    match scale {
        0 => put(out, format_args!("{digits}")),
        scale => put(out, format_args!("{digits}e{}", -i64::from(scale))),
    }
}

fn timestamp(seconds: i64, nanos: i64, zone: Zone, out: &mut Vec<u8>) -> Result<(), String> {
    let at = time(seconds, nanos).ok_or_else(far)?;
    let (day, era) = date(&at);
    let zone = if zone == Zone::Utc { "+00:00" } else { "" };
    put(out, format_args!("\"{day}T{:02}:{}{zone}{era}\"", at.hour(), minutes(&at)))
}

fn time(seconds: i64, nanos: i64) -> Option<NaiveDateTime> {
    Some(DateTime::from_timestamp(seconds, u32::try_from(nanos).ok()?)?.naive_utc())
}

fn far() -> String {
    "is further away than any time that is known".to_owned()
}

/// A day, and what stands behind it where it is of before our era.
fn date(at: &NaiveDateTime) -> (String, &'static str) {
    let (year, era) = if at.year() > 0 { (at.year(), "") } else { (1 - at.year(), " BC") };
    (format!("{year:04}-{:02}-{:02}", at.month(), at.day()), era)
}

/// Minutes and seconds, with as many digits of these as there are.
fn minutes(at: &NaiveDateTime) -> String {
    let mut text = format!("{:02}:{:02}", at.minute(), at.second());
    if at.nanosecond() > 0 {
        let _ = write!(text, ".{:09}", at.nanosecond());
        text.truncate(text.trim_end_matches('0').len());
    }
    text
}

/// A number of 16 bits: a sign, 5 bits of exponent, 10 of fraction.
fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    sign * match exponent {
        0 => fraction * 2_f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1.0 + fraction / 1_024.0) * 2_f64.powi(exponent - 15),
    }
}
