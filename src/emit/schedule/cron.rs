//! Times as cron writes them, in five fields, and as systemd does. Knows no job.

use std::fmt;
use std::str::FromStr;

/// When something begins, again and again: minute, hour, day of the month, month, day of the week.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    text: String,
    fields: [Field; 5],
}

/// A field: the values that it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Field {
    /// Whether it begins with a star; then it does not widen what the other day says.
    star: bool,
    values: Vec<u32>,
}

/// What a field is of, its least value and its greatest, and words for values.
const KINDS: [(&str, u32, u32, &[&str]); 5] = [
    ("minute", 0, 59, &[]),
    ("hour", 0, 23, &[]),
    ("day of the month", 1, 31, &[]),
    (
        "month",
        1,
        12,
        &["", "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    ),
    ("day of the week", 0, 7, &["sun", "mon", "tue", "wed", "thu", "fri", "sat"]),
];

/// Days as systemd calls them, from Monday on.
const DAYS: [(u32, &str); 7] =
    [(1, "Mon"), (2, "Tue"), (3, "Wed"), (4, "Thu"), (5, "Fri"), (6, "Sat"), (0, "Sun")];

impl FromStr for Cron {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let five: [&str; 5] = words.as_slice().try_into().map_err(|_| {
            "a time has five fields: minute, hour, day of the month, month, day of the week".to_owned()
        })?;
        let mut fields = Vec::new();
        for (word, kind) in five.into_iter().zip(KINDS) {
            fields.push(Field::read(word, kind).ok_or_else(|| {
                let (name, least, most, _) = kind;
                format!("`{word}` is no {name}: write `*`, or values from {least} to {most} as `1,2`, `1-5` or `*/2`")
            })?);
        }
        let fields = fields.try_into().map_err(|_| "a time has five fields".to_owned())?;
        Ok(Self { text: five.join(" "), fields })
    }
}

/// As cron writes it.
impl fmt::Display for Cron {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl Field {
    fn read(word: &str, (_, least, most, names): (&str, u32, u32, &[&str])) -> Option<Self> {
        let value = |text: &str| {
            let named = names.iter().position(|name| !name.is_empty() && name.eq_ignore_ascii_case(text));
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let value = match named {
                Some(place) => u32::try_from(place).ok()?,
                None => digits.then(|| text.parse().ok()).flatten()?,
            };
            (least..=most).contains(&value).then_some(value)
        };
        let mut values = Vec::new();
        for part in word.split(',') {
            let (range, step) = match part.split_once('/') {
                Some((range, step)) => (range, Some(step.parse().ok().filter(|step| *step > 0)?)),
                None => (part, None),
            };
            let (first, last) = match (range, range.split_once('-')) {
                ("*", _) => (least, most),
                (_, Some((first, last))) => (value(first)?, value(last)?),
                (one, None) if step.is_none() => (value(one)?, value(one)?),
                // Cron has steps of ranges alone.
                _ => return None,
            };
            if first > last {
                return None;
            }
            values.extend((first..=last).step_by(step.unwrap_or(1)));
        }
        if most == 7 {
            values.iter_mut().for_each(|day| *day %= 7);
        }
        values.sort_unstable();
        values.dedup();
        Some(Self { star: word.starts_with('*'), values })
    }

    fn is_all(&self, (_, least, most, _): (&str, u32, u32, &[&str])) -> bool {
        let all = if most == 7 { 7 } else { most - least + 1 };
        u32::try_from(self.values.len()) == Ok(all)
    }

    /// As systemd writes numbers.
    fn numbers(&self, kind: (&str, u32, u32, &[&str]), width: usize) -> String {
        if self.is_all(kind) {
            return "*".to_owned();
        }
        let number = |value: &u32| format!("{value:0width$}");
        stretches(&self.values, |one, next| one + 1 == *next, number)
    }
}

/// Values, with `..` in place of those between the first and the last of three or more neighbours.
fn stretches<T>(values: &[T], follows: impl Fn(&T, &T) -> bool, write: impl Fn(&T) -> String) -> String {
    let stretches = values.chunk_by(|one, next| follows(one, next)).map(|stretch| match stretch {
        [first, _, .., last] => format!("{}..{}", write(first), write(last)),
        few => few.iter().map(&write).collect::<Vec<_>>().join(","),
    });
    stretches.collect::<Vec<_>>().join(",")
}

impl Cron {
    /// The same for systemd: one of these times. Where both days are said, either counts.
    pub(super) fn calendar(&self) -> Vec<String> {
        let [minute, hour, day, month, weekday] = &self.fields;
        let either = !day.star && !weekday.star;
        let number = |place: usize, field: &Field| field.numbers(KINDS[place], 2);
        let line = |days: Option<&Field>, weekdays: Option<&Field>| {
            let weekdays = weekdays.filter(|field| !field.is_all(KINDS[4])).map(|field| {
                let days: Vec<(usize, &str)> = DAYS
                    .iter()
                    .enumerate()
                    .filter(|(_, (day, _))| field.values.contains(day))
                    .map(|(place, (_, name))| (place, *name))
                    .collect();
                stretches(&days, |one, next| one.0 + 1 == next.0, |day| day.1.to_owned()) + " "
            });
            let days = days.map_or_else(|| "*".to_owned(), |field| number(2, field));
            let (month, hour, minute) = (number(3, month), number(1, hour), number(0, minute));
            format!("{}*-{month}-{days} {hour}:{minute}:00", weekdays.unwrap_or_default())
        };
        match either {
            true => vec![line(Some(day), None), line(None, Some(weekday))],
            false => vec![line(Some(day), Some(weekday))],
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by it")]

    use super::*;

    #[test]
    fn times_are_the_same_for_systemd() {
        let cases: [(&str, &[&str]); 8] = [
            ("*/15 * * * *", &["*-*-* *:00,15,30,45:00"]),
            ("0 6 * * *", &["*-*-* 06:00:00"]),
            ("5 8-18/2 * * 1-5", &["Mon..Fri *-*-* 08,10,12,14,16,18:05:00"]),
            ("0 0 1 jan,jul *", &["*-01,07-01 00:00:00"]),
            ("0 0 * * 7", &["Sun *-*-* 00:00:00"]),
            ("0 0 * * sat,0", &["Sat,Sun *-*-* 00:00:00"]),
            // Either day counts.
            ("0 0 1-7 * mon", &["*-*-01..07 00:00:00", "Mon *-*-* 00:00:00"]),
            // But not of a star with a step, which cron takes for a star.
            ("0 0 */10 * mon", &["Mon *-*-01,11,21,31 00:00:00"]),
        ];
        for (text, calendar) in cases {
            assert_eq!(text.parse::<Cron>().unwrap().calendar(), calendar, "{text}");
        }
    }

    #[test]
    fn what_no_cron_reads_is_refused() {
        for text in
            ["", "@daily", "* * * *", "60 * * * *", "5/2 * * * *", "9-5 * * * *", "*/0 * * * *", "x * * * *"]
        {
            text.parse::<Cron>().unwrap_err();
        }
        let refused = "0 24 * * *".parse::<Cron>().unwrap_err();
        assert_eq!(refused, "`24` is no hour: write `*`, or values from 0 to 23 as `1,2`, `1-5` or `*/2`");
    }
}
