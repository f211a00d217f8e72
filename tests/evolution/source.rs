//! The shop's source as a test knows it: what every row was after every transaction, and the SQL that makes it so.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A row's fields, each as its JSON reads.
pub type Row = BTreeMap<&'static str, Option<String>>;

/// A field that has to be quoted wherever it stands.
pub const NOTE: &str = "no'te \\ %s \"n\"";

/// Its tables: what each is called, and its fields, the key first.
pub const TABLES: [(&str, &[&str]); 3] = [
    ("store", &["store_id", "city"]),
    ("customer", &["customer_id", "code", "region", "name", "email", "mood", "points", "phone", "seen"]),
    ("sale", &["sale_id", "sold_at", "customer_id", "store_id", "till", "amount", NOTE]),
];

/// Its schema. A row that changes or goes says all that it was.
pub const SCHEMA: &str = "
    CREATE TABLE store (store_id integer PRIMARY KEY, city text);
    CREATE TABLE customer (
        customer_id integer PRIMARY KEY, code text NOT NULL, region integer NOT NULL,
        name varchar(60) NOT NULL, email varchar(60),
        mood text, points integer, phone text, seen timestamptz
    );
    CREATE TABLE sale (
        sale_id bigint PRIMARY KEY, sold_at timestamptz NOT NULL, customer_id integer NOT NULL, store_id integer,
        till integer, amount numeric(10, 2) NOT NULL, \"no'te \\ %s \"\"n\"\"\" text
    );
    ALTER TABLE store REPLICA IDENTITY FULL;
    ALTER TABLE customer REPLICA IDENTITY FULL;
    ALTER TABLE sale REPLICA IDENTITY FULL;";

/// Numbers that follow from one that was drawn.
#[derive(Clone)]
pub struct Draws(pub u64);

impl Draws {
    /// A number below another.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % limit as u64) as usize
    }

    pub fn one<'t, T>(&mut self, of: &'t [T]) -> &'t T {
        &of[self.below(of.len())]
    }
}

/// What a row was from a transaction on; nothing when it went.
struct Event {
    transaction: usize,
    table: &'static str,
    key: String,
    row: Option<Row>,
}

/// All that happened, transaction by transaction.
#[derive(Default)]
pub struct History {
    live: BTreeMap<(&'static str, String), Row>,
    events: Vec<Event>,
    /// How many transactions there were.
    pub transactions: usize,
}

impl History {
    /// The first rows: one transaction, which a snapshot finds.
    pub fn begin(&mut self) -> String {
        let mut draws = Draws(0);
        let mut sql = String::new();
        for (table, count) in [("store", 3), ("customer", 4), ("sale", 6)] {
            for key in 1..=count {
                let row = self.drawn(table, key, &mut draws);
                self.write(table, &key.to_string(), Some(row), &mut sql);
            }
        }
        self.end(sql)
    }

    /// One transaction of some changes.
    pub fn change(&mut self, draws: &mut Draws) -> String {
        let mut sql = String::new();
        for _ in 0..=draws.below(3) {
            let table = *draws.one(&["customer", "customer", "sale", "sale", "store"]);
            let keys: Vec<String> =
                self.live.keys().filter(|(of, _)| *of == table).map(|(_, key)| key.clone()).collect();
            match draws.below(8) {
                0 | 1 => {
                    let next = 1 + self.events.iter().filter(|one| one.table == table).count();
                    let row = self.drawn(table, 10 + next, draws);
                    self.write(table, &(10 + next).to_string(), Some(row), &mut sql);
                }
                2 if table != "store" && keys.len() > 2 => {
                    let key = draws.one(&keys).clone();
                    self.write(table, &key, None, &mut sql);
                }
                // A row that is called otherwise is another one.
                3 if table == "customer" => {
                    let key = draws.one(&keys).clone();
                    let next = 1000 + self.events.len();
                    let before = self.live[&(table, key.clone())].clone();
                    let row = Row::from_iter(before.into_iter().chain([
                        ("customer_id", Some(next.to_string())),
                        ("code", Some(format!("c{next}"))),
                    ]));
                    self.write(table, &key, None, &mut sql);
                    self.write(table, &next.to_string(), Some(row), &mut sql);
                }
                _ if keys.is_empty() => {}
                _ => {
                    let key = draws.one(&keys).clone();
                    let mut row = self.live[&(table, key.clone())].clone();
                    let drawn = self.drawn(table, 0, draws);
                    let fields: Vec<&str> = drawn.keys().copied().filter(|field| !is_fixed(field)).collect();
                    for _ in 0..2 {
                        let field = *draws.one(&fields);
                        row.insert(
                            TABLES.iter().find_map(|(_, all)| all.iter().find(|one| **one == field)).unwrap(),
                            drawn[field].clone(),
                        );
                    }
                    self.write(table, &key, Some(row), &mut sql);
                }
            }
        }
        // Whatever was drawn, the transaction has something that lands.
        let row = self.drawn("sale", 5000 + self.transactions, draws);
        self.write("sale", &(5000 + self.transactions).to_string(), Some(row), &mut sql);
        self.end(sql)
    }

    /// The rows of a table after a transaction, each with the transaction that made it so.
    pub fn rows(&self, table: &str, transaction: usize) -> Vec<(&Row, usize)> {
        let mut rows: BTreeMap<&str, (&Row, usize)> = BTreeMap::new();
        for event in self.events.iter().filter(|one| one.table == table && one.transaction <= transaction) {
            match &event.row {
                Some(row) => rows.insert(&event.key, (row, event.transaction)),
                None => rows.remove(event.key.as_str()),
            };
        }
        rows.into_values().collect()
    }

    /// The first that was known of a row after a transaction.
    pub fn first(&self, table: &str, key: &str, transaction: usize) -> Option<&Row> {
        let events = self.events.iter();
        events
            .filter(|one| one.table == table && one.key == key && one.transaction <= transaction)
            .find_map(|one| one.row.as_ref())
    }

    /// A customer whom the source does not know.
    pub fn customer(&self, key: usize, draws: &mut Draws) -> Row {
        self.drawn("customer", key, draws)
    }

    fn drawn(&self, table: &str, key: usize, draws: &mut Draws) -> Row {
        let text = |text: &str| Some(text.to_owned());
        let maybe = |draws: &mut Draws, values: &[&str]| {
            let number = draws.below(values.len() + 1);
            values.get(number).map(|value| (*value).to_owned())
        };
        let id = text(&key.to_string());
        match table {
            "store" => Row::from([
                ("store_id", id),
                ("city", maybe(draws, &["Bonn", "Ulm", "it's \"here\"", "Łódź"])),
            ]),
            "customer" => Row::from([
                ("customer_id", id),
                ("code", text(&format!("c{key}"))),
                ("region", text(&(1 + key % 3).to_string())),
                ("name", text(draws.one::<&str>(&["Ann", "Ben", "Cho", "Dé", ""]))),
                ("email", maybe(draws, &["a@b", "b@c", "c@d"])),
                ("mood", maybe(draws, &["fine", "sour"])),
                ("points", maybe(draws, &["0", "7", "-12"])),
                ("phone", maybe(draws, &["1", "22", "333"])),
                ("seen", maybe(draws, &["2024-01-01T10:00:00+00:00", "2024-02-29T23:59:59.5+00:00"])),
            ]),
            _ => Row::from([
                ("sale_id", id),
                (
                    "sold_at",
                    text(draws.one::<&str>(&[
                        "2024-01-01T10:00:00+00:00",
                        "2024-01-31T22:00:00+00:00",
                        "2023-07-05T00:00:00+00:00",
                    ])),
                ),
                ("customer_id", text(&(1 + key % 4).to_string())),
                ("store_id", maybe(draws, &["1", "2", "3"])),
                ("till", maybe(draws, &["1", "2"])),
                ("amount", text(draws.one::<&str>(&["1.00", "20.50", "0.00", "-3.25"]))),
                (NOTE, maybe(draws, &["", "x", "two\nlines"])),
            ]),
        }
    }

    fn write(&mut self, table: &'static str, key: &str, row: Option<Row>, sql: &mut String) {
        let (_, fields) = TABLES.iter().find(|(one, _)| *one == table).unwrap();
        let place = (table, key.to_owned());
        let before = self.live.get(&place);
        let literal = |value: &Option<String>| match value {
            Some(value) => format!("'{}'", value.replace('\'', "''")),
            None => "NULL".to_owned(),
        };
        let key_field = fields[0];
        match &row {
            None => writeln!(sql, "DELETE FROM {table} WHERE {key_field} = {key};").unwrap(),
            Some(row) if before.is_some() => {
                let set: Vec<String> = row
                    .iter()
                    .map(|(field, value)| format!("{} = {}", quoted(field), literal(value)))
                    .collect();
                writeln!(sql, "UPDATE {table} SET {} WHERE {key_field} = {key};", set.join(", ")).unwrap();
            }
            Some(row) => {
                let (names, values): (Vec<String>, Vec<String>) =
                    row.iter().map(|(field, value)| (quoted(field), literal(value))).unzip();
                writeln!(sql, "INSERT INTO {table} ({}) VALUES ({});", names.join(", "), values.join(", "))
                    .unwrap();
            }
        }
        match &row {
            Some(row) => self.live.insert(place, row.clone()),
            None => self.live.remove(&place),
        };
        self.events.push(Event { transaction: self.transactions, table, key: key.to_owned(), row });
    }

    fn end(&mut self, sql: String) -> String {
        self.transactions += 1;
        sql
    }
}

/// What a row keeps as long as it is there.
fn is_fixed(field: &str) -> bool {
    matches!(field, "customer_id" | "code" | "region" | "sale_id" | "store_id")
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
