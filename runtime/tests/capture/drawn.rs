//! Any tables, any rows: what lands is what the source's own `to_jsonb` shows, by snapshot and by stream alike,
//! under every replica identity.

use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::bench::Bench;

/// Types with some of their values: the plain ones, the edges, and what needs quotes.
const PLAIN: &[(&str, &[&str])] = &[
    ("boolean", &["true", "false"]),
    ("smallint", &["-32768", "0", "32767"]),
    ("integer", &["-2147483648", "7", "2147483647"]),
    ("bigint", &["-9223372036854775808", "1", "9223372036854775807"]),
    ("real", &["NaN", "-Infinity", "1.1", "3e38", "1e-40"]),
    ("double precision", &["NaN", "Infinity", "0.1", "1e308", "4.9e-324", "-2.5"]),
    (
        "numeric",
        &["NaN", "Infinity", "-0.000", "1.10", "12345678901234567890123456789.0987654321", "1e500", "1e-500"],
    ),
    ("numeric(8, 3)", &["1.5", "-99999.999", "0"]),
    ("money", &["1.23", "-1000.5"]),
    (
        "text",
        &["", "NULL", "null", "{}", "(1,2)", "a\"b\\c", "é😀\u{2028}", "it's", "\t\r\n\u{1}\u{7f}", " "],
    ),
    ("varchar(12)", &["", "a b", ",", "\\"]),
    ("char(4)", &["", "ab", "\"x\""]),
    ("name", &["a name", "x\"y"]),
    ("bytea", &["\\x", "\\x00ff5c27"]),
    ("uuid", &["00000000-0000-0000-0000-0000000000ff"]),
    ("date", &["infinity", "-infinity", "4713-01-01 BC", "5874897-12-31", "2024-02-29"]),
    ("time", &["00:00", "24:00:00", "23:59:59.999999"]),
    ("timetz", &["12:00+05:30", "00:00:00.1-12"]),
    (
        "timestamp",
        &["infinity", "4713-01-01 00:00:00 BC", "294276-12-31 23:59:59.999999", "2024-02-29 12:00"],
    ),
    (
        "timestamptz",
        &["-infinity", "0044-03-15 12:00:00+00 BC", "2024-02-29 12:00:00.1+02", "294276-12-31 23:59:59+00"],
    ),
    ("interval", &["1 year 2 mons -3 days 04:05:06.7", "-178000000 years", "0"]),
    ("json", &["null", "\"x\"", "{\"b\": 1.00, \"a\": [null, true], \"a\": 2}", "[]", "1e3"]),
    ("jsonb", &["null", "{\"k\": [1, {\"z\": null}]}", "\"a\\\"b\"", "123456789012345678901234567890.10"]),
    ("inet", &["10.1.2.3/8", "::1"]),
    ("cidr", &["10.0.0.0/8"]),
    ("macaddr", &["08:00:2b:01:02:03"]),
    ("bit(5)", &["10101"]),
    ("varbit", &["", "1"]),
    ("tsvector", &["a:1 'it''s':2", ""]),
    ("tsquery", &["a & !b"]),
    ("point", &["(1,2.5)"]),
    ("box", &["(3,4),(1,2)"]),
    ("polygon", &["((0,0),(1,1),(2,0))"]),
    ("int4range", &["[1,5)", "empty", "(,)"]),
    ("tstzrange", &["[\"2024-01-01 00:00:00+00\",)"]),
    ("nummultirange", &["{[1,2),(3.5,)}", "{}"]),
    ("xml", &["<a b=\"c\">d</a>"]),
    ("pg_lsn", &["16/B374D848"]),
    ("oid", &["4294967295"]),
    ("mood", &["sad", "it's \"ok\"", "a,b", "NULL", ""]),
];

/// What all drawn tables may use.
const TYPES: &str = r#"CREATE TYPE mood AS ENUM ('sad', 'it''s "ok"', 'a,b', 'NULL', '');"#;

/// A type as it is drawn.
#[derive(Clone, Debug)]
enum Kind {
    /// One of the plain ones.
    Plain(usize),
    Array(Box<Self>),
    Composite(Vec<Self>),
    Domain(Box<Self>),
}

/// A value of a kind: which of its plain values, how long its arrays are, where a null is.
#[derive(Clone, Debug)]
struct Value(Vec<u8>);

#[derive(Clone, Debug)]
struct Table {
    kinds: Vec<Kind>,
    identity: &'static str,
    rows: Vec<Vec<Value>>,
    changes: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    /// A row takes a column of another.
    Update(usize, usize, usize),
    /// A row's key becomes one that no other had.
    Move(usize),
    Delete(usize),
}

fn kinds() -> impl Strategy<Value = Kind> {
    let plain = (0..PLAIN.len()).prop_map(Kind::Plain);
    plain.prop_recursive(3, 6, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|of| Kind::Array(Box::new(of))),
            prop::collection::vec(inner.clone(), 1..4).prop_map(Kind::Composite),
            inner.prop_map(|of| Kind::Domain(Box::new(of))),
        ]
    })
}

fn tables() -> impl Strategy<Value = Table> {
    let identity = prop_oneof![Just("DEFAULT"), Just("FULL"), Just("USING INDEX")];
    (prop::collection::vec(kinds(), 1..8), identity).prop_flat_map(|(kinds, identity)| {
        let value = prop::collection::vec(any::<u8>(), 12).prop_map(Value);
        let row = prop::collection::vec(value, kinds.len());
        let change = prop_oneof![
            4 => (0..12_usize, 0..12_usize, 0..kinds.len()).prop_map(|(a, b, c)| Change::Update(a, b, c)),
            1 => (0..12_usize).prop_map(Change::Move),
            1 => (0..12_usize).prop_map(Change::Delete),
        ];
        let rows = prop::collection::vec(row, 12);
        let changes = prop::collection::vec(change, 0..20);
        (rows, changes).prop_map(move |(rows, changes)| Table {
            kinds: kinds.clone(),
            identity,
            rows,
            changes,
        })
    })
}

/// Writes SQL for drawn types, which it names.
struct Names {
    table: usize,
    made: usize,
    sql: String,
}

impl Names {
    /// The SQL name of a kind, whose types are made on the way.
    fn of(&mut self, kind: &Kind) -> String {
        match kind {
            Kind::Plain(at) => PLAIN[*at].0.to_owned(),
            Kind::Array(of) => {
                let of = self.of(of);
                // An array of arrays is one of a domain over arrays.
                if of.ends_with("[]") { format!("{}[]", self.domain(&of)) } else { format!("{of}[]") }
            }
            Kind::Domain(of) => {
                let of = self.of(of);
                self.domain(&of)
            }
            Kind::Composite(of) => {
                let fields: Vec<String> = of.iter().map(|kind| self.of(kind)).collect();
                let fields: Vec<String> =
                    fields.iter().enumerate().map(|(at, kind)| format!("\"f {at}\" {kind}")).collect();
                let name = self.next();
                self.sql.push_str(&format!("CREATE TYPE {name} AS ({});", fields.join(", ")));
                name
            }
        }
    }

    fn domain(&mut self, of: &str) -> String {
        let name = self.next();
        self.sql.push_str(&format!("CREATE DOMAIN {name} AS {of};"));
        name
    }

    fn next(&mut self) -> String {
        self.made += 1;
        format!("kind_{}_{}", self.table, self.made)
    }
}

/// A value as the text that its type reads.
fn text(kind: &Kind, bytes: &mut impl Iterator<Item = u8>) -> Option<String> {
    let roll = bytes.next().unwrap_or(0);
    if roll.is_multiple_of(7) {
        return None;
    }
    Some(match kind {
        Kind::Plain(at) => {
            let values = PLAIN[*at].1;
            values[usize::from(roll / 7) % values.len()].to_owned()
        }
        Kind::Domain(of) => text(of, bytes)?,
        Kind::Array(of) => {
            let parts: Vec<String> = (0..roll % 4)
                .map(|_| text(of, bytes).map_or_else(|| "NULL".to_owned(), |text| quoted(&text)))
                .collect();
            // Boxes alone are parted by semicolons.
            let delimiter = if is_box(of) { ";" } else { "," };
            format!("{{{}}}", parts.join(delimiter))
        }
        Kind::Composite(of) => {
            let parts: Vec<String> = of
                .iter()
                .map(|kind| text(kind, bytes).map_or_else(String::new, |text| quoted(&text)))
                .collect();
            format!("({})", parts.join(","))
        }
    })
}

/// Whether it is one, or has its delimiter from one: a domain's and an array's is that of what they are made of.
fn is_box(kind: &Kind) -> bool {
    match kind {
        Kind::Plain(at) => PLAIN[*at].0 == "box",
        Kind::Domain(of) | Kind::Array(of) => is_box(of),
        Kind::Composite(_) => false,
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

impl Table {
    fn columns(&self) -> Vec<String> {
        (0..self.kinds.len()).map(|at| format!("\"c {at}\"")).collect()
    }

    fn create(&self, table: usize) -> String {
        let mut names = Names { table, made: 0, sql: String::new() };
        let columns: Vec<String> = self
            .columns()
            .iter()
            .zip(&self.kinds)
            .map(|(column, kind)| format!(", {column} {}", names.of(kind)))
            .collect();
        let identity = match self.identity {
            "USING INDEX" => format!("USING INDEX drawn_{table}_pkey"),
            other => other.to_owned(),
        };
        format!(
            "{} CREATE TABLE drawn_{table} (id integer PRIMARY KEY{}, filler text, twice integer GENERATED ALWAYS AS (id * 2) STORED);
            ALTER TABLE drawn_{table} ALTER filler SET STORAGE EXTERNAL;
            ALTER TABLE drawn_{table} REPLICA IDENTITY {identity};",
            names.sql,
            columns.concat()
        )
    }

    fn insert(&self, table: usize, id: usize) -> String {
        let values: Vec<String> = self.rows[id]
            .iter()
            .zip(&self.kinds)
            .map(|(value, kind)| match text(kind, &mut value.0.iter().copied()) {
                None => ", NULL".to_owned(),
                Some(text) => format!(", '{}'", text.replace('\'', "''")),
            })
            .collect();
        let columns: Vec<String> = self.columns().iter().map(|column| format!(", {column}")).collect();
        format!(
            "INSERT INTO drawn_{table} (id{}, filler) VALUES ({id}{}, repeat('{}', 2500));",
            columns.concat(),
            values.concat(),
            id % 10
        )
    }

    fn change(&self, table: usize, at: usize, change: &Change) -> String {
        match change {
            Change::Update(id, other, column) => format!(
                "UPDATE drawn_{table} SET \"c {column}\" = (SELECT \"c {column}\" FROM drawn_{table} WHERE id = {other}) WHERE id = {id};"
            ),
            Change::Move(id) => format!("UPDATE drawn_{table} SET id = {} WHERE id = {id};", 100 + at),
            Change::Delete(id) => format!("DELETE FROM drawn_{table} WHERE id = {id};"),
        }
    }
}

async fn lands_alike(tables: &[Table]) {
    static CASES: AtomicUsize = AtomicUsize::new(0);
    let mut sql = TYPES.to_owned();
    for (at, table) in tables.iter().enumerate() {
        sql.push_str(&table.create(at));
        sql.push_str(&(0..6).map(|id| table.insert(at, id)).collect::<String>());
    }
    let names: Vec<String> = (0..tables.len()).map(|at| format!("drawn_{at}")).collect();
    let captured: Vec<(&str, &[&str])> = names.iter().map(|name| (name.as_str(), &["id"][..])).collect();
    let case = CASES.fetch_add(1, Ordering::Relaxed);
    let mut bench = Bench::new(&format!("drawn_{case}"), &sql, &captured).await;
    bench.capture().await;
    bench.assert_fold().await;
    for (at, table) in tables.iter().enumerate() {
        let mut sql: String = (6..12).map(|id| table.insert(at, id)).collect();
        // Some in transactions of their own, the rest in one.
        bench.on_source(&sql).await;
        sql = table.changes.iter().enumerate().map(|(n, change)| table.change(at, n, change)).collect();
        bench.on_source(&sql).await;
    }
    bench.capture().await;
    bench.assert_fold().await;
    bench.assert_times().await;
    bench.on_source("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database()").await;
}

#[test]
fn any_rows_of_any_tables_land_as_the_source_shows_them() {
    let config = Config { cases: 8, max_shrink_iters: 12, failure_persistence: None, ..Config::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    TestRunner::new(config)
        .run(&prop::collection::vec(tables(), 5), |tables| {
            runtime.block_on(lands_alike(&tables));
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}
