//! The law of polling, on a real server: whatever is written to a source, and wherever a poll is broken off, the next
//! one that comes to its end has landed what the source has, each version once; and as of the time of each poll the
//! warehouse says what the source had then.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

#[path = "polling/breaks.rs"]
mod breaks;
#[path = "apart/databases.rs"]
mod databases;
#[path = "evolution/descriptor.rs"]
mod descriptor;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use breaks::Breaks;
use databases::{Databases, Ends, ends};
use medallion::emit::{self, Workspace};
use medallion::finding::{Colour, SourceText};
use medallion::model;
use medallion::plan::lock::Lock;
use medallion::spec::Files;
use medallion_runtime::capture::Captured;
use medallion_runtime::capture::follow::Follower;
use medallion_runtime::capture::{self, prepare, readiness, resnapshot};
use medallion_runtime::connection::{self, Database};
use medallion_runtime::descriptor::{Name, Warehouse};
use medallion_runtime::error::Result;
use medallion_runtime::place::Place;
use medallion_server::Server;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _};

const SPEC: &str = include_str!("polling/spec.toml");
const SOURCE: &str = include_str!("polling/source.sql");

/// What happens at the source, or is asked of it.
#[derive(Clone, Debug)]
enum Step {
    /// An order comes, or changes.
    Order { id: i32, status: u8 },
    /// Several orders change in one statement: their times are one.
    Orders { below: i32, status: u8 },
    /// A transaction is only seen when its time of change is a while ago.
    Late { id: i32, status: u8, seconds: u8 },
    /// An order goes.
    Gone { id: i32 },
    /// A row of a table with a key of two columns, one of them text.
    Price { region: &'static str, product: i32, price: i32 },
    /// A poll comes to its end: of a run, or of a watch that goes on.
    Poll { begins: bool },
    /// One is broken off at a point.
    Broken { after: usize },
    /// Silver is brought up.
    Apply(Ends),
}

fn step() -> impl Strategy<Value = Step> {
    let region = prop::sample::select(vec!["north", "it's", "\"süd\"", "", "a\\b"]);
    prop_oneof![
        5 => (0..40, 0..3_u8).prop_map(|(id, status)| Step::Order { id, status }),
        1 => (0..40, 0..3_u8).prop_map(|(below, status)| Step::Orders { below, status }),
        1 => (0..40, 0..3_u8, 1..20_u8).prop_map(|(id, status, seconds)| Step::Late { id, status, seconds }),
        1 => (0..40).prop_map(|id| Step::Gone { id }),
        3 => (region, 0..4, 0..5).prop_map(|(region, product, price)| Step::Price { region, product, price }),
        3 => any::<bool>().prop_map(|begins| Step::Poll { begins }),
        1 => (0..8_usize).prop_map(|after| Step::Broken { after }),
        2 => ends().prop_map(Step::Apply),
    ]
}

#[test]
fn what_is_polled_is_what_the_source_had() {
    polls(SPEC);
}

#[test]
fn what_is_polled_into_a_database_of_its_own_is_what_the_source_had() {
    polls(&format!("{SPEC}{}", databases::APART));
}

fn polls(spec: &str) {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|count| count.parse().ok());
    let config = Config {
        cases: cases.unwrap_or(12),
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
        .run(&prop::collection::vec(step(), 10..60), |steps| {
            runtime.block_on(lives(spec, &steps)).map_err(TestCaseError::fail)
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

async fn lives(spec: &str, steps: &[Step]) -> Result<(), String> {
    let mut shop = Shop::of(spec).await;
    // What the source had at each poll.
    let mut polls: Vec<(String, String)> = Vec::new();
    for step in steps {
        match step {
            Step::Poll { begins } => {
                if *begins {
                    shop.databases.begin().await;
                }
                shop.poll().await.map_err(|error| format!("{error:?}"))?;
                shop.landed().await?;
                polls.push((shop.clock().await, shop.state().await));
            }
            Step::Broken { after } => shop.broken(*after).await,
            Step::Apply(ends) => shop.databases.apply(&shop.warehouse, *ends).await?,
            Step::Late { seconds, .. } => {
                let since = shop.ago(*seconds).await;
                polls.retain(|(time, _)| *time < since);
                shop.write(step).await;
            }
            _ => shop.write(step).await,
        }
    }
    shop.poll().await.map_err(|error| format!("{error:?}"))?;
    shop.landed().await?;
    polls.push((shop.clock().await, shop.state().await));
    shop.databases.apply(&shop.warehouse, Ends::Well).await?;
    for (time, state) in &polls {
        let was = shop.as_of(time).await;
        if was != *state {
            return Err(format!("as of {time} the source had\n{state}\nand the warehouse says\n{was}"));
        }
    }
    shop.databases.assert_landed_apart(&shop.warehouse).await;
    shop.end().await;
    Ok(())
}

/// What a look at the source says.
async fn said(shop: &mut Shop) -> String {
    let readiness =
        readiness::check(&shop.warehouse, &shop.source_url, Some(&mut shop.databases.target)).await.unwrap();
    let facts = readiness.facts.iter().skip(1).map(|fact| format!("ok {fact}"));
    let findings =
        readiness.findings.iter().map(|one| format!("{:?} {}\n  = {}", one.severity, one.what, one.remedy));
    facts.chain(findings).collect::<Vec<_>>().join("\n")
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(future)
}

#[test]
fn what_a_poll_cannot_see_is_said_before() {
    block_on(async {
        let mut shop = Shop::new().await;
        expect("readiness.txt", &said(&mut shop).await);
        shop.source
            .execute(
                "ALTER TABLE price DROP COLUMN changed_at; ALTER TABLE orders ALTER last_updated TYPE date",
            )
            .await
            .unwrap();
        expect("unready.txt", &said(&mut shop).await);
        let error = shop.poll().await.unwrap_err().to_string();
        expect("refused.txt", &error);
        shop.end().await;
    });
}

#[test]
fn a_role_that_polls_may_read_the_tables_and_nothing_else() {
    block_on(async {
        let mut shop = Shop::new().await;
        let role = format!("poller_of_{}", shop.names[0]);
        let plan = prepare::plan(&shop.warehouse, &mut shop.source, None, Some(&role)).await.unwrap();
        expect("prepared.sql", &format!("{};", plan.together.join(";\n").replace(&role, "poller")));
        assert!(plan.slots.is_empty());
        prepare::prepare(&plan, &mut shop.source, None, &mut Breaks::default()).await.unwrap();
        shop.write(&Step::Order { id: 1, status: 0 }).await;
        let joint = if shop.source_url.contains('?') { '&' } else { '?' };
        shop.source_url += &format!("{joint}options=-c%20role%3D{role}");
        let captured = shop.poll().await.unwrap();
        assert_eq!(captured.rows(), 1);
        shop.source.execute(AssertSqlSafe(format!("DROP OWNED BY {role}; DROP ROLE {role}"))).await.unwrap();
        shop.end().await;
    });
}

#[test]
fn what_polls_have_missed_lands_when_all_of_it_is_read_again() {
    block_on(async {
        let mut shop = Shop::new().await;
        shop.write(&Step::Order { id: 1, status: 0 }).await;
        shop.write(&Step::Price { region: "north", product: 1, price: 1 }).await;
        shop.poll().await.unwrap();
        // Longer ago than polls look back; and a delete in a table whose keys are not compared.
        shop.source
            .execute(
                "INSERT INTO orders (order_id, status, last_updated) VALUES (2, 'placed', now() - interval '1 day');
                DELETE FROM price",
            )
            .await
            .unwrap();
        assert_eq!(shop.poll().await.unwrap().rows(), 0);
        let url = shop.source_url.clone();
        let done =
            resnapshot::resnapshot(&shop.warehouse, &url, &mut shop.databases.target, &mut Breaks::default())
                .await
                .unwrap();
        let of = |landing: &str| done.differences[&Name::new("bronze", landing)];
        assert_eq!((of("br_orders").new, of("br_orders").changed, of("br_orders").gone), (1, 0, 0));
        assert_eq!((of("br_price").new, of("br_price").changed, of("br_price").gone), (0, 0, 1));
        shop.landed().await.unwrap();
        shop.end().await;
    });
}

#[test]
fn what_jsonb_cannot_hold_is_kept_aside_once_while_the_rest_lands() {
    block_on(async {
        let mut shop = Shop::new().await;
        shop.source.execute("ALTER TABLE orders ADD details json").await.unwrap();
        shop.write(&Step::Order { id: 1, status: 0 }).await;
        shop.source
            .execute(
                "INSERT INTO orders (order_id, status, details) VALUES (2, 'placed', '{\"a\": \"\\u0000\"}')",
            )
            .await
            .unwrap();
        shop.write(&Step::Order { id: 3, status: 0 }).await;
        let captured = shop.poll().await.unwrap();
        assert_eq!((captured.rows(), captured.findings.len()), (2, 1), "{:?}", captured.findings);
        assert_eq!(shop.poll().await.unwrap().rows(), 0);
        let kept =
            text(&mut shop.databases.target, "SELECT concat_ws(' ', landing, key) FROM medallion.quarantine")
                .await;
        assert_eq!(kept, "bronze.br_orders {\"order_id\": 2}");
        shop.source
            .execute("UPDATE orders SET details = '{}', last_updated = clock_timestamp()")
            .await
            .unwrap();
        assert_eq!(shop.poll().await.unwrap().rows(), 3);
        shop.landed().await.unwrap();
        shop.end().await;
    });
}

#[test]
fn another_source_is_refused_until_it_is_said_that_it_is_meant() {
    block_on(async {
        let (mut shop, mut other) = (Shop::new().await, Shop::new().await);
        shop.write(&Step::Order { id: 1, status: 0 }).await;
        shop.poll().await.unwrap();
        std::mem::swap(&mut shop.source_url, &mut other.source_url);
        let error = shop.poll().await.unwrap_err().to_string();
        assert!(error.contains("correct SOURCE_DATABASE_URL"), "{error}");
        std::mem::swap(&mut shop.source_url, &mut other.source_url);
        assert_eq!(shop.poll().await.unwrap().rows(), 0);
        shop.end().await;
        other.end().await;
    });
}

#[test]
fn a_watch_polls_again_and_again() {
    block_on(async {
        let mut shop = Shop::new().await;
        let server = Server::shared_scratch().unwrap();
        let place = Place {
            source: shop.source_url.clone(),
            warehouse: server.url(&shop.names[1]),
            bronze: None,
            embedded: None,
        };
        for id in 0..30 {
            shop.write(&Step::Order { id, status: 0 }).await;
        }
        let mut breaks = Breaks::default();
        let mut writer = connection::connect(Database::Source, &shop.source_url).await.unwrap();
        let url = server.url(&shop.names[1]);
        let mut landing = connection::connect(Database::Warehouse, &url).await.unwrap();
        let mut follower = Follower::begin(&shop.warehouse, &place, &mut landing, &mut breaks).await.unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        // What was there has landed before anything is applied.
        writer.execute("INSERT INTO orders (order_id, status) VALUES (30, 'placed')").await.unwrap();
        let mut rows = 0;
        while rows == 0 {
            assert!(Instant::now() < deadline, "nothing more has landed");
            let round = follower.next().await.unwrap();
            rows += round.captured.rows();
            if !round.is_full {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        assert_eq!(rows, 1);
        drop(follower);
        landing.close().await.unwrap();
        writer.close().await.unwrap();
        shop.landed().await.unwrap();
        shop.end().await;
    });
}

/// Compares what is rendered with what was expected, or rewrites that.
fn expect(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/polling").join(name);
    let found = format!("{}\n", found.trim_end());
    if std::env::var_os("MEDALLION_UPDATE").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, wanted, "{name}: MEDALLION_UPDATE=1 rewrites it");
}

/// A source and its warehouse.
struct Shop {
    names: [String; 2],
    warehouse: Warehouse,
    source_url: String,
    source: PgConnection,
    databases: Databases,
}

impl Shop {
    async fn new() -> Self {
        Self::of(SPEC).await
    }

    async fn of(spec: &str) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let names = ["source", "warehouse"].map(|name| format!("polled_{name}_{number}"));
        let files = Files::alone("orders", SourceText::new("spec/orders/spec.toml", spec));
        let model =
            model::load(&files).unwrap_or_else(|findings| panic!("{}", findings.human(Colour::Plain)));
        let emitted = emit::emit(&model, &Workspace { warehouses: vec!["orders".to_owned()], default: None });
        let lock = Lock::read(emitted.get("migration/src/orders/lock.toml").unwrap()).unwrap();
        let up = emitted.get(&format!("migration/src/orders/{}/up.sql", lock.migrations[0].name)).unwrap();
        let server = Server::shared_scratch().unwrap();
        server.ensure_database(&names[0]).unwrap();
        let source_url = server.url(&names[0]);
        let mut source = connection::connect(Database::Source, &source_url).await.unwrap();
        source.execute(SOURCE).await.unwrap();
        let warehouse = descriptor::warehouse(&model, &lock, "orders");
        let databases = Databases::new(&warehouse, &names[1], up).await;
        Self { names, warehouse, source_url, source, databases }
    }

    async fn write(&mut self, step: &Step) {
        const STATUS: [&str; 3] = ["placed", "confirmed", "sent"];
        let query = match step {
            Step::Order { id, status } => sqlx::query(
                "INSERT INTO orders (order_id, status, note) VALUES ($1, $2, repeat('x', $1))
                ON CONFLICT (order_id) DO UPDATE SET status = $2, last_updated = clock_timestamp()",
            )
            .bind(id)
            .bind(STATUS[usize::from(*status)]),
            Step::Orders { below, status } => {
                sqlx::query("UPDATE orders SET status = $2, last_updated = now() WHERE order_id < $1")
                    .bind(below)
                    .bind(STATUS[usize::from(*status)])
            }
            Step::Late { id, status, seconds } => sqlx::query(
                "INSERT INTO orders (order_id, status, last_updated)
                VALUES ($1, $2, clock_timestamp() - $3 * interval '1 second')
                ON CONFLICT (order_id) DO UPDATE SET status = excluded.status, last_updated = excluded.last_updated",
            )
            .bind(id)
            .bind(STATUS[usize::from(*status)])
            .bind(i32::from(*seconds)),
            Step::Gone { id } => sqlx::query("DELETE FROM orders WHERE order_id = $1").bind(id),
            Step::Price { region, product, price } => sqlx::query(
                "INSERT INTO price (region, product_id, price) VALUES ($1, $2, $3)
                ON CONFLICT (region, product_id) DO UPDATE
                SET price = $3, changed_at = clock_timestamp() AT TIME ZONE 'UTC'",
            )
            .bind(*region)
            .bind(product)
            .bind(price),
            Step::Poll { .. } | Step::Broken { .. } | Step::Apply(_) => return,
        };
        query.execute(&mut self.source).await.unwrap();
    }

    async fn poll(&mut self) -> Result<Captured> {
        self.poll_until(None).await
    }

    async fn poll_until(&mut self, after: Option<usize>) -> Result<Captured> {
        let lands = self.databases.lands();
        capture::capture(&self.warehouse, &self.source_url, lands, &mut Breaks::after(after)).await
    }

    /// As if the process had been killed.
    async fn broken(&mut self, after: usize) {
        let _ = self.poll_until(Some(after)).await;
        self.databases.killed().await;
    }

    /// What the source's orders and prices are, as text.
    async fn state(&mut self) -> String {
        text(
            &mut self.source,
            "SELECT concat_ws(' ', order_id, status) FROM orders
            UNION ALL
            SELECT concat_ws(' ', region, product_id, price) FROM price
            ORDER BY 1",
        )
        .await
    }

    async fn as_of(&mut self, time: &str) -> String {
        let sql = format!(
            "SELECT concat_ws(' ', order_id, status) FROM silver.dim_orders_as_of('{time}')
            UNION ALL
            SELECT concat_ws(' ', region, product_id, price) FROM silver.dim_price_as_of('{time}')
            ORDER BY 1"
        );
        text(&mut self.databases.target, &sql).await
    }

    async fn clock(&mut self) -> String {
        text(&mut self.source, "SELECT clock_timestamp()::text").await
    }

    async fn ago(&mut self, seconds: u8) -> String {
        text(&mut self.source, &format!("SELECT (clock_timestamp() - interval '{seconds} seconds')::text"))
            .await
    }

    /// Bronze has of each key what the source has, each version once, at positions of its own, in the order of time.
    async fn landed(&mut self) -> Result<(), String> {
        for (landing, table, key) in
            [("br_orders", "orders", "'order_id'"), ("br_price", "price", "'region', 'product_id'")]
        {
            let key: Vec<String> = key.split(", ").map(|column| format!("full_row ->> {column}")).collect();
            let key = key.join(", ");
            let latest = format!(
                "SELECT full_row::text
                FROM (
                    SELECT DISTINCT ON ({key}) op, full_row
                    FROM bronze.{landing}
                    ORDER BY {key}, lsn DESC
                ) AS latest
                WHERE op <> 'D'
                ORDER BY 1"
            );
            let landed = text(&mut self.databases.target, &latest).await;
            let there = format!("SELECT to_jsonb(t.*)::text FROM {table} AS t ORDER BY 1");
            let there = text(&mut self.source, &there).await;
            if landed != there {
                return Err(format!("the source has\n{there}\nand `{landing}`\n{landed}"));
            }
            let wrong = format!(
                "SELECT concat_ws(' ', lsn, op, full_row)
                FROM (
                    SELECT *, lag(op) OVER own AS op_before, lag(full_row) OVER own AS before,
                        lag(commit_ts) OVER own AS time_before
                    FROM bronze.{landing}
                    WINDOW own AS (PARTITION BY {key} ORDER BY lsn)
                ) AS landed
                WHERE commit_ts <= time_before
                OR op = 'I' AND op_before <> 'D'
                OR op = 'U' AND (op_before IS NULL OR op_before = 'D' OR before = full_row)
                OR op = 'D' AND (op_before IS NULL OR op_before = 'D' OR before <> full_row)"
            );
            let wrong = text(&mut self.databases.target, &wrong).await;
            if !wrong.is_empty() {
                return Err(format!("in `{landing}`: {wrong}"));
            }
        }
        Ok(())
    }

    async fn end(self) {
        self.source.close().await.unwrap();
        self.databases.end().await;
        let url = Server::shared_scratch().unwrap().url("postgres");
        let mut admin = connection::connect(Database::Warehouse, &url).await.unwrap();
        admin.execute(AssertSqlSafe(format!("DROP DATABASE {}", self.names[0]))).await.unwrap();
    }
}

/// The rows of a query of one column, a line each.
async fn text(connection: &mut PgConnection, sql: &str) -> String {
    let rows = connection.fetch_all(AssertSqlSafe(sql.to_owned())).await.unwrap();
    let lines: Vec<String> = rows.iter().map(|row| row.get::<String, _>(0)).collect();
    lines.join("\n")
}
