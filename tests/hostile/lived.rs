//! Warehouses of hostile names, with hostile values, from the source to every kind of question.

use std::collections::{BTreeMap, BTreeSet};

use medallion::finding::Colour;
use medallion::model;
use medallion::plan::lock::Lock;
use medallion_runtime::answer::{self, Format, Printer, Settings};
use medallion_runtime::connection::{self, Database};
use medallion_runtime::descriptor::{DataTest, Name, Rule, Warehouse};
use medallion_runtime::diff::{self, Question};
use medallion_runtime::forget::{self, Current, Extent, Subject};
use medallion_runtime::place::Place;
use medallion_runtime::progress::{Progress, Step};
use medallion_runtime::{run, verify};
use medallion_server::Server;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _};

use crate::said::{self, Fed, MIXES, Names, SLOTS, mixed, quoted};
use crate::{descriptor, emitted};

/// Values of texts: what ends a string, a row of a COPY, an element of an array or of JSON somewhere.
const VALUES: [&str; 16] = [
    "plain",
    "",
    "it's",
    "'; DROP TABLE canary; --",
    "\"; DROP TABLE canary; --",
    "\\'; DROP TABLE canary; --",
    "$$; DROP TABLE canary; $$",
    "\\.",
    "\\N",
    "NULL",
    "a\tb\r\nc\u{b}\u{1}\u{7f}",
    "{\"a\": \"\\u0000\"}",
    "{1,NULL,\"x\"}",
    "(\"a\",)",
    "\u{202e}\u{feff}💥e\u{301}",
    "</script><script>alert(1)</script>",
];

#[test]
fn hostile_names_and_values_come_through() {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        for number in 0..MIXES {
            let names = mixed(number);
            let taken = SLOTS.iter().filter(|(slot, plain)| names[slot] != *plain).count();
            // What must be a plain word stays one, and our own are for columns.
            assert!(
                number + 1 == MIXES || taken > SLOTS.len() - 6,
                "of mix {number} {taken} are taken: {names:#?}"
            );
            lives(number, &names).await;
        }
    });
}

async fn lives(number: usize, names: &Names) {
    let mut shop = Shop::new(number, names).await;
    shop.fill().await;
    let outcome = run::run(&shop.warehouse, &shop.place, &mut Quiet).await.unwrap();
    assert!(!outcome.is_held(), "{:?}", outcome.tested);
    assert!(!outcome.tested.is_empty(), "tests were made");
    shop.says_what_the_source_says().await;
    let first = shop.text("SELECT clock_timestamp()::text").await;
    let before = shop.current("NULL").await;

    shop.change().await;
    assert!(!run::run(&shop.warehouse, &shop.place, &mut Quiet).await.unwrap().is_held());
    shop.says_what_the_source_says().await;
    assert_ne!(shop.current("NULL").await, before, "something has changed");
    let at = format!("'{first}'");
    assert_eq!(shop.current(&at).await, before, "as of the first run");
    shop.asks(&first, &before).await;
    shop.writes().await;
    shop.differs(&first).await;
    shop.forgets().await;
    let checks = verify::verify(&shop.warehouse, &shop.place, |_| ()).await.unwrap();
    let wrong: Vec<_> = checks.iter().filter(|check| !check.findings.is_empty()).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    shop.end().await;
}

struct Quiet;

impl Progress for Quiet {
    fn step(&mut self, _: &Step<'_>) {}
    fn note(&mut self, _: &str) {}
    fn warn(&mut self, text: &str) {
        panic!("nothing is to be looked into: {text}");
    }
}

/// A source and a warehouse.
struct Shop<'n> {
    names: &'n Names,
    databases: [String; 2],
    place: Place,
    warehouse: Warehouse,
    source: PgConnection,
    target: PgConnection,
}

impl<'n> Shop<'n> {
    async fn new(number: usize, names: &'n Names) -> Self {
        let databases = ["source", "warehouse"].map(|kind| format!("hostile_{kind}_{number}"));
        let server = Server::shared_scratch().unwrap();
        for name in &databases {
            server.ensure_database(name).unwrap();
        }
        let [source, target] = databases.clone().map(|name| server.url(&name));
        let place = Place { source, warehouse: target, bronze: None, embedded: None };
        let slot = format!("hostile_{number}");
        let model = said::load(names, &slot, Fed::Source)
            .unwrap_or_else(|findings| panic!("{}", findings.human(Colour::Plain)));
        let files = emitted(&model);
        let lock = Lock::read(files.get("migration/src/hostile/lock.toml").unwrap()).unwrap();
        let up = files
            .get(&format!("migration/src/hostile/{}/up.sql", lock.migrations[0].name))
            .unwrap()
            .to_owned();
        let source = connection::connect(Database::Source, &place.source).await.unwrap();
        let mut target = connection::connect(Database::Warehouse, &place.warehouse).await.unwrap();
        let up = format!("CREATE TABLE canary (); CREATE SCHEMA IF NOT EXISTS medallion;\n{up}");
        target.execute(AssertSqlSafe(up)).await.unwrap_or_else(|error| panic!("mix {number}: {error}"));
        let mut warehouse = descriptor::warehouse(&model, &lock, &slot);
        warehouse.source.publication = names["publication"].clone();
        warehouse.tests = model.tests.iter().filter_map(test).collect();
        assert!(warehouse.tests.len() > 1);
        Self { names, databases, place, warehouse, source, target }
    }

    /// A name of the spec as an identifier.
    fn id(&self, slot: &str) -> String {
        quoted(&self.names[slot])
    }

    /// A relation's two names.
    fn relation(&self, schema: &str, slot: &str) -> String {
        format!("{}.{}", self.id(schema), self.id(slot))
    }

    async fn fill(&mut self) {
        let id = |slot: &str| quoted(&self.names[slot]);
        let schema = id("source");
        let sql = format!(
            "CREATE TABLE canary ();
            CREATE SCHEMA IF NOT EXISTS {schema};
            CREATE TABLE {schema}.{} ({} text PRIMARY KEY, {} text, {} text, {} text);
            CREATE TABLE {schema}.{} ({} integer PRIMARY KEY, {} text);
            CREATE TABLE {schema}.{} ({} bigint PRIMARY KEY, {} timestamptz NOT NULL, {} text NOT NULL, {} integer, {} numeric(10,2))",
            id("table"),
            id("key"),
            id("field"),
            id("enum"),
            quoted("something else \" ' \\"),
            id("places"),
            id("place_key"),
            id("place"),
            id("events"),
            id("event_key"),
            id("at"),
            id("key"),
            id("place_key"),
            id("amount_field"),
        );
        self.source.execute(AssertSqlSafe(sql)).await.unwrap();
        let (things, places, events) = (
            self.relation("source", "table"),
            self.relation("source", "places"),
            self.relation("source", "events"),
        );
        for (number, value) in (1..).zip(VALUES) {
            let thing = format!("INSERT INTO {things} VALUES ($1, $2, $3, $1)");
            let mood = ["value", "other_value"][number as usize % 2];
            let written = VALUES[number as usize % VALUES.len()];
            let thing = sqlx::query(AssertSqlSafe(thing)).bind(value).bind(written).bind(&self.names[mood]);
            thing.execute(&mut self.source).await.unwrap();
            let place = sqlx::query(AssertSqlSafe(format!("INSERT INTO {places} VALUES ($1, $2)")));
            place.bind(number).bind(value).execute(&mut self.source).await.unwrap();
            let event = format!("INSERT INTO {events} VALUES ($1, '2024-03-01', $2, $1, $1 / 2.0)");
            let event = sqlx::query(AssertSqlSafe(event)).bind(number).bind(value);
            event.execute(&mut self.source).await.unwrap();
        }
    }

    /// Some are otherwise afterwards, and one is gone.
    async fn change(&mut self) {
        let (things, key, field) = (self.relation("source", "table"), self.id("key"), self.id("field"));
        let change =
            format!("UPDATE {things} SET {field} = {key} || coalesce({field}, '') WHERE {key} <> 'plain'");
        self.source.execute(AssertSqlSafe(change)).await.unwrap();
        self.source
            .execute(AssertSqlSafe(format!("DELETE FROM {things} WHERE {key} = 'plain'")))
            .await
            .unwrap();
    }

    async fn text(&mut self, sql: &str) -> String {
        let row = self.target.fetch_one(AssertSqlSafe(sql.to_owned())).await;
        row.unwrap_or_else(|error| panic!("{sql}\n{error}")).get(0)
    }

    async fn rows(connection: &mut PgConnection, sql: &str) -> BTreeSet<String> {
        let rows = connection.fetch_all(AssertSqlSafe(sql.to_owned())).await;
        let rows = rows.unwrap_or_else(|error| panic!("{sql}\n{error}"));
        let text = |row: &sqlx::postgres::PgRow| row.get::<Value, _>(0).to_string();
        rows.iter().map(text).collect()
    }

    /// The dimension, as of a time or now.
    async fn current(&mut self, at: &str) -> BTreeSet<String> {
        let (key, computed, mood) = (self.id("key"), self.id("computed"), self.id("enum"));
        let table = match at {
            "NULL" => self.relation("silver", "current"),
            _ => format!("as_of.{}", self.id("current")),
        };
        let set = match at {
            "NULL" => "SET medallion.as_of = ''".to_owned(),
            at => format!("SET medallion.as_of = {at}"),
        };
        self.target.execute(AssertSqlSafe(set)).await.unwrap();
        let sql = format!("SELECT jsonb_build_array({key}, {computed}, {mood}) FROM {table}");
        Self::rows(&mut self.target, &sql).await
    }

    async fn says_what_the_source_says(&mut self) {
        let (key, field, mood) = (self.id("key"), self.id("field"), self.id("enum"));
        let literal = said::literal(&self.names["literal"]);
        let table = self.relation("source", "table");
        let sql = format!("SELECT jsonb_build_array({key}, {field} || {literal}, {mood}) FROM {table}");
        let source = Self::rows(&mut self.source, &sql).await;
        assert_eq!(self.current("NULL").await, source);
        // The fact has what it looks up, and its own.
        let (amount, place) = (self.id("amount"), self.id("place"));
        let fact = self.relation("silver", "fact");
        let told = format!("SELECT jsonb_build_array({key}, {amount}, {place}) FROM {fact}");
        let (paid, events) = (self.id("amount_field"), self.relation("source", "events"));
        let wanted = format!("SELECT jsonb_build_array({key}, {paid}, {key}) FROM {events}");
        let told = Self::rows(&mut self.target, &told).await;
        assert_eq!(told, Self::rows(&mut self.source, &wanted).await);
        // What is computed of what was looked up, what stands beside it, and every day of the year.
        let (looked_up, composed) = (self.id("looked_up"), self.id("composed"));
        let (temporal, beside) = (self.relation("silver", "temporal"), self.id("beside_column"));
        let calendar = self.relation("silver", "calendar");
        let sql = format!(
            "SELECT concat_ws(' ',
                (SELECT count(*) FROM {fact} WHERE {composed} IS DISTINCT FROM {looked_up} || {literal} || {place}),
                (SELECT count({composed}) > 0 FROM {fact}),
                (SELECT count({beside}) >= 0 FROM {temporal}),
                (SELECT count(*) FROM {calendar}))"
        );
        assert_eq!(self.text(&sql).await, "0 t t 366");
    }

    /// By SQL:2011, by the function, by the setting; and a time that is none is refused and does nothing.
    async fn asks(&mut self, first: &str, before: &BTreeSet<String>) {
        let (key, computed, mood) = (self.id("key"), self.id("computed"), self.id("enum"));
        let columns = format!("{key} AS a, {computed} AS b, {mood} AS c");
        let dimension = self.id("dimension");
        let (history, current) = (self.relation("silver", "dimension"), self.relation("silver", "current"));
        let function = descriptor::derived(&self.names["current"], "as_of");
        let function = format!("{}.{}", self.id("silver"), quoted(&function));
        for (sql, at) in [
            (format!("SELECT {columns} FROM {history} FOR SYSTEM_TIME AS OF '{first}'"), None),
            (format!("SELECT {columns} FROM {current} FOR SYSTEM_TIME AS OF '{first}' AS {dimension}"), None),
            (format!("SELECT {columns} FROM {function}('{first}')"), None),
            (format!("SELECT {columns} FROM {}", self.id("current")), Some(first)),
        ] {
            let answer = self.ask(&sql, at).await.unwrap_or_else(|error| panic!("{sql}\n{error}"));
            let rows: Vec<BTreeMap<String, Value>> = serde_json::from_str(&answer).unwrap();
            let rows = rows.iter().map(|row| json!([row["a"], row["b"], row["c"]]).to_string());
            assert_eq!(rows.collect::<BTreeSet<_>>(), *before, "{sql}");
        }
        for value in VALUES.into_iter().filter(|value| value.contains("canary") || value.contains('\\')) {
            let sql = format!("SELECT 1 FROM {}", self.id("current"));
            assert!(self.ask(&sql, Some(value)).await.is_err(), "{value:?} is no time");
            let sql = format!("SELECT * FROM {history} FOR SYSTEM_TIME AS OF {}", said::literal(value));
            assert!(self.ask(&sql, None).await.is_err(), "{value:?} is no time");
        }
        self.has_its_canary().await;
    }

    async fn ask(&mut self, sql: &str, at: Option<&str>) -> Result<String, String> {
        let mut out = Vec::new();
        let mut printer = Printer::new(Format::Json, None, &mut out);
        let settings = Settings { as_of: at.map(str::to_owned), ..Settings::default() };
        let mut connection = connection::connect(Database::Warehouse, &self.place.warehouse).await.unwrap();
        let asked = answer::ask(&self.warehouse, &mut connection, sql, &settings, &mut printer).await;
        connection.close().await.unwrap();
        asked.map_err(|error| error.to_string())?;
        Ok(String::from_utf8(out).unwrap())
    }

    /// Ordinary statements, which the triggers version.
    async fn writes(&mut self) {
        let (history, key, computed) =
            (self.relation("silver", "dimension"), self.id("key"), self.id("computed"));
        let sql =
            format!("UPDATE {history} SET {computed} = $1 WHERE {key} = 'it''s' AND sys_end = 'infinity'");
        let written =
            sqlx::query(AssertSqlSafe(sql)).bind(VALUES[5]).execute(&mut self.target).await.unwrap();
        assert_eq!(written.rows_affected(), 1);
        assert!(!run::run(&self.warehouse, &self.place, &mut Quiet).await.unwrap().is_held());
        let sql =
            format!("SELECT {computed} FROM {} WHERE {key} = 'it''s'", self.relation("silver", "current"));
        assert_eq!(self.text(&sql).await, VALUES[5]);
    }

    async fn differs(&mut self, first: &str) {
        for (slot, relation) in [("mart", "gold"), ("current", "silver")] {
            let name = Name::new(&self.names[relation], &self.names[slot]).to_string();
            let question = Question { relation: &name, from: first, to: "infinity", limit: 50 };
            let found = diff::diff(&self.warehouse, &self.place, &question).await.unwrap();
            assert!(!found.rows.is_empty(), "{name}");
            for value in [VALUES[3], VALUES[5]] {
                let question = Question { relation: &name, from: value, to: "infinity", limit: 5 };
                assert!(diff::diff(&self.warehouse, &self.place, &question).await.is_err());
            }
        }
        self.has_its_canary().await;
    }

    async fn forgets(&mut self) {
        let dimension = &self.names["dimension"];
        let (key, current) = (self.id("key"), self.relation("silver", "current"));
        let forget = async |value: &str| {
            let subject = Subject::find(&self.warehouse, dimension, &[value.to_owned()]).unwrap();
            forget::forget(&self.warehouse, &self.place, &subject, Current::Erase, Extent::Keep)
                .await
                .unwrap()
        };
        assert_eq!(forget("' OR true --").await, forget::Outcome::Unknown);
        assert!(matches!(forget(VALUES[3]).await, forget::Outcome::Forgotten(_)));
        let keys = Self::rows(&mut self.target, &format!("SELECT to_jsonb({key}) FROM {current}")).await;
        let wanted = VALUES.into_iter().filter(|value| *value != "plain" && *value != VALUES[3]);
        assert_eq!(keys, wanted.map(|value| Value::from(value).to_string()).collect());
        self.has_its_canary().await;
    }

    async fn has_its_canary(&mut self) {
        for connection in [&mut self.source, &mut self.target] {
            connection.execute("SELECT FROM canary").await.unwrap();
        }
    }

    async fn end(mut self) {
        self.has_its_canary().await;
        let drop_slots = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots \
            WHERE database = current_database()";
        self.source.execute(drop_slots).await.unwrap();
        let roles: Vec<String> = ["loader", "reader"].iter().map(|slot| self.id(slot)).collect();
        for connection in [self.source, self.target] {
            connection.close().await.unwrap();
        }
        let url = Server::shared_scratch().unwrap().url("postgres");
        let mut admin = connection::connect(Database::Warehouse, &url).await.unwrap();
        for name in &self.databases {
            admin.execute(AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"))).await.unwrap();
        }
        admin.execute(AssertSqlSafe(format!("DROP ROLE {}", roles.join(", ")))).await.unwrap();
        admin.close().await.unwrap();
    }
}

/// What the runtime is told of a test of the data, where a row by itself shows it.
fn test(test: &model::DataTest) -> Option<DataTest> {
    let name = |name: &model::Name| Name::new(&name.schema, &name.name);
    let rule = match &test.rule {
        model::data_test::Rule::Each(condition) => Rule::Each(medallion::emit::condition(condition).leak()),
        _ => return None,
    };
    Some(DataTest {
        name: test.name.clone().leak(),
        description: None,
        relation: name(&test.relation),
        stored: name(&test.stored),
        key: test.key.clone(),
        reads: test.reads.iter().map(name).collect(),
        rule,
        warn_above: test.warn_above,
        error_above: test.error_above,
    })
}
