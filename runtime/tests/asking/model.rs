//! Histories in plain Rust, and what each question about them has to answer. Times are small numbers; what
//! lies before and after all of them are the infinities.

use std::collections::BTreeMap;

use proptest::prelude::*;

/// Before all times, and after them: the infinities.
pub const BEGINNING: i64 = -1;
pub const FOREVER: i64 = 9;

/// A column's value as text.
pub type Value = Option<&'static str>;
/// A row of an answer.
pub type Row = Vec<Option<String>>;

/// The attributes, in the order of the spec.
pub const ATTRIBUTES: [&str; 5] = ["key", "old", "new", "it's", "op"];
/// Values whose equality hides that they differ, or that have none.
const VALUES: [&[Value]; 5] = [
    &[None, Some(""), Some("a"), Some("A")],
    &[None, Some("1.0"), Some("1.00"), Some("NaN")],
    &[None, Some("0"), Some("-0"), Some("NaN")],
    &[None, Some("{}"), Some("{ }"), Some("[1, 2]")],
    &[None, Some("x"), Some("y"), Some("'")],
];

/// A version: its period, half open, and its attributes.
#[derive(Clone, Debug)]
pub struct Version {
    pub start: i64,
    pub end: i64,
    pub attributes: Vec<Value>,
}

/// The versions of each key, in order.
#[derive(Clone, Debug, Default)]
pub struct History(pub BTreeMap<(i32, &'static str), Vec<Version>>);

/// Periods that never overlap, with gaps or without: the times at which something happens, and whether the
/// key is there from then on.
pub fn periods() -> impl Strategy<Value = Vec<(i64, i64)>> {
    prop::collection::btree_map(0..FOREVER, prop::bool::weighted(0.7), 0..6).prop_map(|events| {
        let ends = events.keys().copied().skip(1).chain([FOREVER]).collect::<Vec<_>>();
        let there = events.into_iter().zip(ends);
        there.filter(|((_, there), _)| *there).map(|((start, _), end)| (start, end)).collect()
    })
}

pub fn history() -> impl Strategy<Value = History> {
    let attributes = VALUES.map(prop::sample::select);
    let versions = (periods(), prop::collection::vec(attributes, 6)).prop_map(|(periods, rows)| {
        let versions = periods.into_iter().zip(rows);
        let version = |((start, end), row): (_, [Value; 5])| Version { start, end, attributes: row.to_vec() };
        versions.map(version).collect::<Vec<_>>()
    });
    let keys = prop::sample::subsequence(vec![(1, "a"), (1, "b"), (2, "a")], 1..=3);
    (keys, prop::collection::vec(versions, 3))
        .prop_map(|(keys, versions)| History(keys.into_iter().zip(versions).collect()))
}

/// A time as a test's database knows it, which has a function `t` for it.
pub fn time(number: i64) -> String {
    format!("t({number})")
}

fn said(value: Value) -> Option<String> {
    value.map(str::to_owned)
}

fn key_of((at, from): (i32, &str)) -> Row {
    vec![Some(at.to_string()), Some(from.to_owned())]
}

fn number(number: i64) -> Option<String> {
    Some(number.to_string())
}

impl History {
    /// Statements that make it.
    pub fn inserts(&self) -> String {
        let literal =
            |value: &Value| value.map_or("NULL".to_owned(), |text| format!("'{}'", text.replace('\'', "''")));
        let mut sql = "SELECT medallion.backfill();\nDELETE FROM silver.thing_hist;\n".to_owned();
        for ((at, from), versions) in &self.0 {
            for version in versions {
                let attributes: Vec<String> = version.attributes.iter().map(literal).collect();
                sql.push_str(&format!(
                    "INSERT INTO silver.thing_hist VALUES ({at}, '{from}', {}, '', {}, {});\n",
                    attributes.join(", "),
                    time(version.start),
                    time(version.end),
                ));
            }
        }
        sql
    }

    /// Key, attributes, start.
    pub fn as_of(&self, then: i64) -> Vec<Row> {
        let there =
            |version: &&Version| version.start <= then && (version.end > then || version.end == FOREVER);
        self.rows(there)
            .into_iter()
            .map(|(mut row, start, _)| {
                row.push(number(start));
                row
            })
            .collect()
    }

    /// Key, attributes, start, end.
    pub fn between(&self, from: i64, to: i64) -> Vec<Row> {
        let there = |version: &&Version| {
            from <= to && version.start <= to && (version.end > from || version.end == FOREVER)
        };
        self.rows(there)
            .into_iter()
            .map(|(mut row, start, end)| {
                row.extend([number(start), number(end)]);
                row
            })
            .collect()
    }

    fn rows(&self, there: impl Fn(&&Version) -> bool) -> Vec<(Row, i64, i64)> {
        let mut rows = Vec::new();
        for (key, versions) in &self.0 {
            for version in versions.iter().filter(&there) {
                let attributes = version.attributes.iter().map(|value| said(*value));
                let row = key_of(*key).into_iter().chain(attributes).collect();
                rows.push((row, version.start, version.end));
            }
        }
        rows
    }

    /// Key, time, what was done, column, old, new: after one time, up to and including another.
    pub fn changes(&self, from: i64, to: i64) -> Vec<Row> {
        let mut rows = Vec::new();
        for (key, versions) in &self.0 {
            for at in BEGINNING + 1..FOREVER {
                if at <= from || at > to {
                    continue;
                }
                let before = versions.iter().find(|version| version.end == at);
                let after = versions.iter().find(|version| version.start == at);
                let op = match (before, after) {
                    (None, None) => continue,
                    (None, Some(_)) => "insert",
                    (Some(_), None) => "delete",
                    (Some(_), Some(_)) => "update",
                };
                for (index, name) in ATTRIBUTES.iter().enumerate() {
                    let value =
                        |version: Option<&Version>| version.and_then(|version| version.attributes[index]);
                    let (old, new) = (value(before), value(after));
                    if op == "update" && old == new {
                        continue;
                    }
                    let mut row = key_of(*key);
                    row.extend([
                        number(at),
                        Some(op.to_owned()),
                        Some((*name).to_owned()),
                        said(old),
                        said(new),
                    ]);
                    rows.push(row);
                }
            }
        }
        rows
    }
}
