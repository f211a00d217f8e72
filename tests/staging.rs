//! The law of staging, on a real server: whatever has landed, a staging view shows of each key what its last change says,
//! computed; what is fed from it agrees with it, now and as of any time. A change that cannot be computed is told, and is
//! as if it had not landed, until what is computed changes. A row that does not count is as if it were gone, and may hold
//! anything. What a round makes wrong its tests find, though they look at what has changed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

#[path = "evolution/descriptor.rs"]
mod descriptor;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use medallion::emit::{self, Past, Workspace};
use medallion::finding::{Colour, SourceText};
use medallion::model;
use medallion::plan::lock::Lock;
use medallion::spec::Files;
use medallion_runtime::connection::{self, Database};
use medallion_runtime::descriptor::{DataTest, Name, Rule, Warehouse};
use medallion_runtime::forget::{self, Current, Extent, Outcome, Subject};
use medallion_runtime::round::{self, Round, Waits};
use medallion_runtime::staging::Staging;
use medallion_runtime::verify;
use medallion_server::Server;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _};

const SPEC: &str = include_str!("staging/spec.toml");

/// Sizes that people write.
const SIZES: [Option<&str>; 6] = [None, Some("3"), Some("7"), Some(" 8 "), Some("huge"), Some("9x")];
/// Addresses that people write.
const ADDRESSES: [Option<&str>; 5] =
    [None, Some(""), Some(" Ann@Example.org"), Some("bob@example.org "), Some("  ")];

/// What lands, or is done.
#[derive(Clone, Debug)]
enum Step {
    /// A thing comes, or changes; maybe at a position that has been applied.
    Put { id: i32, address: usize, size: usize, late: bool },
    /// A thing is hidden, whatever else is said of it.
    Hide { id: i32, size: usize },
    /// A thing goes.
    Gone { id: i32 },
    /// All of them go.
    Truncate,
    /// A sale of something at a time: so many steps ago.
    Sale { no: i32, id: i32, ago: i64, pieces: i32 },
    /// What has landed is applied.
    Apply,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..6, 0..ADDRESSES.len(), 0..SIZES.len(), prop::bool::weighted(0.2))
            .prop_map(|(id, address, size, late)| Step::Put { id, address, size, late }),
        2 => (0..6, 0..SIZES.len()).prop_map(|(id, size)| Step::Hide { id, size }),
        2 => (0..6).prop_map(|id| Step::Gone { id }),
        1 => Just(Step::Truncate),
        3 => (0..8, 0..7, 0..20_i64, 1..4).prop_map(|(no, id, ago, pieces)| Step::Sale { no, id, ago, pieces }),
        4 => Just(Step::Apply),
    ]
}

#[test]
fn a_staging_view_says_what_landed_last_and_what_it_feeds_agrees() {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|count| count.parse().ok());
    let config = Config {
        cases: cases.unwrap_or(8),
        failure_persistence: None,
        max_shrink_iters: 40,
        ..Config::default()
    };
    let mut runner = match cases {
        Some(_) => TestRunner::new(config),
        None => TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha)),
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runner
        .run(&prop::collection::vec(step(), 10..50), |steps| {
            runtime.block_on(lives(&steps)).map_err(TestCaseError::fail)
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn what_counts_otherwise_is_computed_anew() {
    let workspace = Workspace { warehouses: vec!["staged".to_owned()], default: None };
    let past = Past::left_by(&emit::emit(&loaded(SPEC).unwrap(), &workspace), "staged").unwrap();
    assert_eq!(emit::plan(&loaded(SPEC).unwrap(), &past), Ok(Vec::new()));
    for other in ["filter = \"hidden IS NULL\"", ""] {
        let spec = SPEC.replace("filter = \"hidden IS NOT TRUE\"", other);
        let planned = emit::plan(&loaded(&spec).unwrap(), &past).unwrap();
        let up: Vec<&str> = planned[0].up.iter().map(|step| step.sql.as_str()).collect();
        let anew = |sql: &&&str| sql.contains("\"recompute\"") && sql.contains("silver.dim_thing_hist");
        assert_eq!(up.iter().filter(anew).count(), 1, "{up:#?}");
        assert!(up.iter().any(|sql| sql.starts_with("CREATE VIEW \"silver\".\"stg_thing\"")), "{up:#?}");
        assert!(up.iter().all(|sql| !sql.contains("fact_sale")), "{up:#?}");
    }
}

/// What a change was left out for, a type may have by now.
#[tokio::test]
async fn what_was_left_out_for_want_of_a_value_is_tried_once_more() {
    let fields = "fields = [\n    { name = \"written\"";
    let toned = |values: &str| {
        let spec = SPEC
            .replacen(
                &format!("]\n{fields}"),
                &format!("    {{ name = \"tone\", type = \"tone\", null = true }},\n]\n{fields}"),
                1,
            )
            .replacen(
                "    { name = \"is_large\" },",
                "    { name = \"is_large\" },\n    { name = \"tone\" },",
                1,
            );
        format!("{spec}\n[types]\ntone = [{values}]\n")
    };
    let (before, now) = (toned("\"plain\""), toned("\"plain\", \"loud\""));
    let mut shop = Shop::of(&before).await.unwrap();
    for (number, tone) in [(1, "plain"), (2, "loud")] {
        let thing = json!({ "id": number, "email": "a@example.org", "size": "3", "tone": tone });
        shop.land("br_thing", (Place::Last, number.into()), "I", Some(thing)).await.unwrap();
    }
    assert!(shop.run().await.unwrap(), "it is told");
    let tones = "SELECT tone::text FROM silver.dim_thing ORDER BY 1";
    assert_eq!(texts(tones, &mut shop.connection).await.unwrap(), ["plain"]);

    let workspace = Workspace { warehouses: vec!["staged".to_owned()], default: None };
    let past = Past::left_by(&emit::emit(&loaded(&before).unwrap(), &workspace), "staged").unwrap();
    for migration in emit::plan(&loaded(&now).unwrap(), &past).unwrap() {
        for step in migration.up {
            execute(&step.sql, &mut shop.connection).await.unwrap();
        }
    }
    shop.warehouse = of(&now).unwrap().0;
    assert!(!shop.run().await.unwrap(), "nothing is left out");
    assert_eq!(texts(tones, &mut shop.connection).await.unwrap(), ["loud", "plain"]);
    shop.end().await;
}

/// Who is forgotten is missed by what names him, though nothing has landed.
#[tokio::test]
async fn an_erasure_asks_the_tests_of_what_refers_to_it() {
    let mut shop = Shop::new().await.unwrap();
    let sale = json!({ "no": 1, "thing_id": 1, "sold_at": time(1), "pieces": 1, "price": 1.5 });
    shop.land("br_thing", (Place::Last, 1), "I", Some(thing(1, (None, Some("3"))))).await.unwrap();
    shop.land("br_sale", (Place::Last, 2), "I", Some(sale)).await.unwrap();
    shop.run().await.unwrap();
    for test in &mut shop.warehouse.tests {
        test.error_above = (test.name == "sale_is_of_a_thing").then_some(0);
    }
    let place = medallion_runtime::place::Place {
        source: String::new(),
        warehouse: Server::shared_scratch().unwrap().url(&shop.name),
        bronze: None,
        embedded: None,
    };
    let subject = Subject::find(&shop.warehouse, "dim_thing_hist", &["1".to_owned()]).unwrap();
    let held = forget::forget(&shop.warehouse, &place, &subject, Current::Erase, Extent::Keep).await.unwrap();
    assert!(matches!(held, Outcome::Held(_)), "{held:?}");
    shop.count("SELECT count(*) FROM bronze.br_thing", 1).await.unwrap();
    shop.end().await;
}

/// What is written of a thing: its address and its size.
type Written = (Option<&'static str>, Option<&'static str>);
type Things = BTreeMap<i32, Written>;

async fn lives(steps: &[Step]) -> Result<(), String> {
    let mut shop = Shop::new().await?;
    // What was last written of each, whether it can be computed or not.
    let mut written = Things::new();
    let mut states: Vec<(i64, Things)> = Vec::new();
    let (mut things, mut misfits, mut found) = (Things::new(), 0, 0);
    for (number, step) in (1_i64..).zip(steps.iter().chain([&Step::Apply])) {
        match step {
            Step::Put { id, address, size, late } => {
                let row = (ADDRESSES[*address], SIZES[*size]);
                let place = if *late { Place::Late } else { Place::Last };
                let mut landed = thing(*id, row);
                landed["next"] = ((id + 1) % 6).into();
                shop.land("br_thing", (place, number), "I", Some(landed)).await?;
                written.insert(*id, row);
                match is_computable(row) {
                    true => drop(things.insert(*id, row)),
                    false => misfits += 1,
                }
            }
            Step::Hide { id, size } => {
                let mut row = thing(*id, (None, SIZES[*size]));
                row["hidden"] = true.into();
                row["next"] = "none".into();
                shop.land("br_thing", (Place::Last, number), "U", Some(row)).await?;
                written.remove(id);
                things.remove(id);
            }
            Step::Gone { id } => {
                let row = written.remove(id).unwrap_or((None, None));
                shop.land("br_thing", (Place::Last, number), "D", Some(thing(*id, row))).await?;
                things.remove(id);
            }
            Step::Truncate => {
                shop.land("br_thing", (Place::Last, number), "T", None).await?;
                written.clear();
                things.clear();
            }
            Step::Sale { no, id, ago, pieces } => {
                let row = json!({ "no": no, "thing_id": id, "sold_at": time(number - ago), "pieces": pieces, "price": 1.5 });
                shop.land("br_sale", (Place::Last, number), "U", Some(row)).await?;
            }
            Step::Apply => {
                let told = shop.run().await?;
                if told != (misfits > found) {
                    return Err(format!("{misfits} misfits, of which {found} were known, and told: {told}"));
                }
                found = misfits;
                // What a relation of another view cannot compute hides nothing here.
                let all = i64::try_from(written.len()).unwrap();
                shop.count("SELECT count(*) FROM silver.stg_written", all).await?;
                shop.agrees(&things, None).await?;
                shop.verify().await?;
            }
        }
        states.push((number, things.clone()));
    }
    for (number, things) in &states {
        shop.agrees(things, Some(&time(*number))).await?;
    }
    shop.count("SELECT count(*) FROM medallion.misfit", misfits).await?;

    // Sizes that are no numbers are none, from now on.
    shop.mend().await?;
    shop.run().await?;
    shop.count("SELECT count(*) FROM medallion.misfit", 0).await?;
    shop.agrees(&written, None).await?;
    shop.verify().await?;
    shop.end().await;
    Ok(())
}

fn thing(id: i32, (address, size): Written) -> serde_json::Value {
    json!({ "id": id, "email": address, "size": size })
}

fn is_computable((_, size): Written) -> bool {
    size.is_none_or(|size| size.trim().parse::<i32>().is_ok())
}

/// The time of a step.
fn time(number: i64) -> String {
    let minute = 600 + number;
    format!("2024-03-01T{:02}:{:02}:00+00:00", minute / 60, minute % 60)
}

/// A thing, as silver says it.
fn said(id: i32, (address, size): Written) -> String {
    let email = address.map(|text| text.trim().to_lowercase()).filter(|text| !text.is_empty());
    let size = size.and_then(|size| size.trim().parse::<i32>().ok());
    let is_large = size.is_some_and(|size| size > 5);
    json!([id, email, size, is_large]).to_string()
}

/// Where a change stands among those that have landed.
#[derive(Clone, Copy)]
enum Place {
    Last,
    /// Below all that was applied.
    Late,
}

/// A test that warns.
struct Minded {
    name: &'static str,
    relation: &'static str,
    stored: (&'static str, &'static str),
    key: &'static str,
    rule: Kept,
    /// Which rows are wrong.
    wrong: &'static str,
}

#[derive(Clone, Copy)]
enum Kept {
    Each(&'static str),
    /// What a column names is a thing in there, and behind that this is stored.
    Thing(&'static str, &'static str, (&'static str, &'static str)),
}

const MINDED: [Minded; 6] = [
    Minded {
        name: "small",
        relation: "stg_thing",
        stored: ("bronze", "br_thing"),
        key: "thing_id",
        rule: Kept::Each("size < 8"),
        wrong: "size >= 8",
    },
    Minded {
        name: "next_is_a_thing",
        relation: "stg_thing",
        stored: ("bronze", "br_thing"),
        key: "thing_id",
        rule: Kept::Thing("next", "stg_thing", ("bronze", "br_thing")),
        wrong: "row.next <> ALL (ARRAY(SELECT thing_id FROM silver.stg_thing))",
    },
    Minded {
        name: "sale_is_of_a_thing",
        relation: "stg_sale",
        stored: ("bronze", "br_sale"),
        key: "no",
        rule: Kept::Thing("thing_id", "stg_thing", ("bronze", "br_thing")),
        wrong: "NOT EXISTS (SELECT FROM silver.stg_thing AS thing WHERE thing.thing_id = row.thing_id)",
    },
    Minded {
        name: "sale_is_of_a_known_thing",
        relation: "stg_sale",
        stored: ("bronze", "br_sale"),
        key: "no",
        rule: Kept::Thing("thing_id", "dim_thing", ("silver", "dim_thing_hist")),
        wrong: "NOT EXISTS (SELECT FROM silver.dim_thing AS thing WHERE thing.thing_id = row.thing_id)",
    },
    Minded {
        name: "fact_is_of_a_thing",
        relation: "fact_sale",
        stored: ("silver", "fact_sale"),
        key: "no",
        rule: Kept::Thing("thing_id", "stg_thing", ("bronze", "br_thing")),
        wrong: "NOT EXISTS (SELECT FROM silver.stg_thing AS thing WHERE thing.thing_id = row.thing_id)",
    },
    Minded {
        name: "fact_is_of_a_known_thing",
        relation: "fact_sale",
        stored: ("silver", "fact_sale"),
        key: "no",
        rule: Kept::Thing("thing_id", "dim_thing", ("silver", "dim_thing_hist")),
        wrong: "NOT EXISTS (SELECT FROM silver.dim_thing AS thing WHERE thing.thing_id = row.thing_id)",
    },
];

impl Minded {
    fn test(&self) -> DataTest {
        let name = |(schema, table): (&str, &str)| Name::new(schema, table);
        let mut reads = vec![name(self.stored)];
        let rule = match self.rule {
            Kept::Each(holds) => Rule::Each(holds),
            Kept::Thing(column, relation, stored) => {
                if stored != self.stored {
                    reads.push(name(stored));
                }
                let on = vec![(column.to_owned(), "thing_id".to_owned())];
                Rule::Relationship { on, relation: name(("silver", relation)), stored: name(stored) }
            }
        };
        DataTest {
            name: self.name,
            description: None,
            relation: name(("silver", self.relation)),
            stored: name(self.stored),
            key: vec![self.key.to_owned()],
            reads,
            rule,
            warn_above: 0,
            error_above: None,
        }
    }
}

/// A warehouse of its own.
struct Shop {
    name: String,
    warehouse: Warehouse,
    connection: PgConnection,
    staging: Staging,
    /// The rows that each test minded after the last run.
    wrong: Vec<BTreeSet<String>>,
}

impl Shop {
    async fn new() -> Result<Self, String> {
        Self::of(SPEC).await
    }

    async fn of(spec: &str) -> Result<Self, String> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name = format!("staged_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let (warehouse, up) = of(spec)?;
        let server = Server::shared_scratch().unwrap();
        server.ensure_database(&name).unwrap();
        let mut connection = connection::connect(Database::Warehouse, &server.url(&name)).await.unwrap();
        execute(&format!("CREATE SCHEMA IF NOT EXISTS medallion;\n{up}"), &mut connection).await?;
        let wrong = vec![BTreeSet::new(); MINDED.len()];
        Ok(Self { name, warehouse, connection, staging: Staging::default(), wrong })
    }

    async fn land(
        &mut self,
        table: &str,
        (place, number): (Place, i64),
        op: &str,
        row: Option<serde_json::Value>,
    ) -> Result<(), String> {
        let row = row.map_or_else(|| "NULL".to_owned(), |row| format!("'{row}'"));
        let (landing, lsn) = match place {
            Place::Last => ("on", number),
            Place::Late => ("off", 0),
        };
        let sql = format!(
            "SET medallion.landing = '{landing}'; INSERT INTO bronze.{table} (lsn, seq, op, full_row, commit_ts) \
             VALUES ({lsn}, {number}, '{op}', {row}, '{}')",
            time(number)
        );
        execute(&sql, &mut self.connection).await
    }

    /// Brings silver up; returns whether something was told. What has become wrong by it the tests have found.
    async fn run(&mut self) -> Result<bool, String> {
        let round =
            round::publish(&self.warehouse, Waits::Surely, &self.staging, &mut self.connection, |_, _, _| ())
                .await
                .map_err(|error| format!("{error:?}"))?;
        let Round::Published(published) = round else {
            return Err("a warning has held it back".to_owned());
        };
        let after = self.all_wrong().await?;
        let before = std::mem::replace(&mut self.wrong, after.clone());
        for (minded, (before, after)) in MINDED.iter().zip(before.iter().zip(&after)) {
            let found = published.tested.iter().find(|one| one.name == minded.name && one.failures > 0);
            let new: Vec<&String> = after.difference(before).collect();
            if found.is_some() && after.is_empty() || found.is_none() && !new.is_empty() {
                return Err(format!("new and wrong are {new:#?}, and {} has found {found:?}", minded.name));
            }
        }
        Ok(!published.findings.is_empty())
    }

    /// The rows that each test minds, of all that there are.
    async fn all_wrong(&mut self) -> Result<Vec<BTreeSet<String>>, String> {
        let mut wrong = Vec::new();
        for minded in MINDED {
            let (relation, condition) = (minded.relation, minded.wrong);
            let rows = format!("SELECT row::text FROM silver.{relation} AS row WHERE {condition}");
            wrong.push(texts(&rows, &mut self.connection).await?.into_iter().collect());
        }
        Ok(wrong)
    }

    /// What is computed of what has landed changes, as a migration would have it.
    async fn mend(&mut self) -> Result<(), String> {
        let size = "CASE WHEN trim(size_said) ~ '^[0-9]+$' THEN size_said::integer END";
        let spec = SPEC.replace("\"size_said::integer\"", &format!("\"{size}\""));
        let spec = spec.replace("size_said::integer > 5", &format!("{size} > 5"));
        let (warehouse, up) = of(&spec)?;
        let start = up.find("CREATE VIEW \"silver\".\"stg_thing\"").unwrap();
        let view = up[start..].split_inclusive(';').next().unwrap();
        execute(&view.replacen("CREATE VIEW", "CREATE OR REPLACE VIEW", 1), &mut self.connection).await?;
        execute("INSERT INTO medallion.recompute VALUES ('silver.dim_thing_hist')", &mut self.connection)
            .await?;
        self.warehouse = warehouse;
        Ok(())
    }

    /// The view, and the dimension that is fed from it, say what they should; as of a time.
    async fn agrees(&mut self, things: &Things, at: Option<&str>) -> Result<(), String> {
        let should: Vec<String> = things.iter().map(|(id, row)| said(*id, *row)).collect();
        execute(&format!("SET medallion.as_of = '{}'", at.unwrap_or_default()), &mut self.connection).await?;
        let schema = if at.is_some() { "as_of" } else { "silver" };
        for relation in ["stg_thing", "dim_thing"] {
            // Of an untracked column the past says what is now.
            let size = if at.is_some() && relation == "dim_thing" { "NULL" } else { "size" };
            let sql = format!(
                "SELECT jsonb_build_array(thing_id, email, {size}, is_large)::text FROM {schema}.{relation} ORDER BY thing_id"
            );
            let is = texts(&sql, &mut self.connection).await?;
            let should: Vec<String> = match size {
                "NULL" => things.iter().map(|(id, row)| without_size(&said(*id, *row))).collect(),
                _ => should.clone(),
            };
            let is: Vec<String> = is.iter().map(|one| compact(one)).collect();
            if is != should {
                return Err(format!("{schema}.{relation} as of {at:?} says {is:#?} and not {should:#?}"));
            }
        }
        let sales = format!(
            "SELECT jsonb_build_array(no, day, total)::text FROM {schema}.{} ORDER BY no",
            "stg_sale"
        );
        let facts = sales.replace("stg_sale", "fact_sale");
        let (sales, facts) =
            (texts(&sales, &mut self.connection).await?, texts(&facts, &mut self.connection).await?);
        if sales != facts {
            return Err(format!("as of {at:?} the sales are {sales:#?}, and the facts {facts:#?}"));
        }
        Ok(())
    }

    async fn verify(&mut self) -> Result<(), String> {
        let checks = verify::on(&self.warehouse, &mut self.connection, |_| ()).await;
        let checks = checks.map_err(|error| format!("{error:?}"))?;
        match checks.iter().find(|check| !check.findings.is_empty()) {
            Some(check) => Err(format!("{check:?}")),
            None => Ok(()),
        }
    }

    async fn count(&mut self, sql: &str, should: i64) -> Result<(), String> {
        let is: i64 = sqlx::query_scalar(AssertSqlSafe(sql.to_owned()))
            .fetch_one(&mut self.connection)
            .await
            .map_err(|error| error.to_string())?;
        if is == should { Ok(()) } else { Err(format!("{sql}: {is}, and not {should}")) }
    }

    async fn end(self) {
        let _ = self.connection.close().await;
        let server = Server::shared_scratch().unwrap();
        let mut connection = connection::connect(Database::Warehouse, &server.url("postgres")).await.unwrap();
        execute(&format!("DROP DATABASE {}", self.name), &mut connection).await.unwrap();
    }
}

fn loaded(spec: &str) -> Result<model::Warehouse, String> {
    let files = Files::alone("staged", SourceText::new("spec/staged/spec.toml", spec.to_owned()));
    model::load(&files).map_err(|findings| findings.human(Colour::Plain))
}

/// The warehouse of a spec, and what makes it.
fn of(spec: &str) -> Result<(Warehouse, String), String> {
    let model = loaded(spec)?;
    let workspace = Workspace { warehouses: vec!["staged".to_owned()], default: None };
    let emitted = emit::emit(&model, &workspace);
    let lock = Lock::read(emitted.get("migration/src/staged/lock.toml").unwrap()).unwrap();
    let up = emitted.get(&format!("migration/src/staged/{}/up.sql", lock.migrations[0].name)).unwrap();
    let mut warehouse = descriptor::warehouse(&model, &lock, "staged");
    warehouse.tests.extend(MINDED.iter().map(Minded::test));
    Ok((warehouse, up.to_owned()))
}

fn compact(text: &str) -> String {
    serde_json::from_str::<serde_json::Value>(text).unwrap().to_string()
}

fn without_size(said: &str) -> String {
    let mut value: serde_json::Value = serde_json::from_str(said).unwrap();
    value[2] = serde_json::Value::Null;
    value.to_string()
}

async fn execute(sql: &str, connection: &mut PgConnection) -> Result<(), String> {
    connection
        .execute(AssertSqlSafe(sql.to_owned()))
        .await
        .map(drop)
        .map_err(|error| format!("{error}: {sql}"))
}

async fn texts(sql: &str, connection: &mut PgConnection) -> Result<Vec<String>, String> {
    let rows = sqlx::query(AssertSqlSafe(sql.to_owned()))
        .fetch_all(connection)
        .await
        .map_err(|error| format!("{error}: {sql}"))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
