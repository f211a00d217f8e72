//! The law of polling, on a real server: whatever is written to a source, and wherever a poll is broken off, the next
//! one that comes to its end has landed what the source has, each version once; and as of the time of each poll the
//! warehouse says what the source had then.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod fed;

use std::time::{Duration, Instant};

use fed::breaks::Breaks;
use fed::databases::{APART, Databases, Ends, ends};
use fed::law::{self, block_on, runner};
use fed::orders::{Source, Written, as_of, late, written};
use fed::warehouse::{Made, make, number, spec, text};
use medallion_runtime::capture::Captured;
use medallion_runtime::capture::follow::Follower;
use medallion_runtime::capture::{self, prepare, readiness, resnapshot};
use medallion_runtime::connection::{self, Database};
use medallion_runtime::descriptor::{Name, Warehouse};
use medallion_runtime::error::Result;
use medallion_runtime::place::Place;
use medallion_server::Server;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

const SPEC: &str = include_str!("polling/spec.toml");
const SOURCE: &str = include_str!("polling/source.sql");

/// What happens at the source, or is asked of it.
#[derive(Clone, Debug)]
enum Step {
    /// Something is written.
    Written(Written),
    /// It is only seen when its time of change is a while ago.
    Late { written: Written, seconds: u8 },
    /// A poll comes to its end: of a run, or of a watch that goes on.
    Poll { begins: bool },
    /// One is broken off at a point.
    Broken { after: usize },
    /// Silver is brought up.
    Apply(Ends),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => written(40).prop_map(Step::Written),
        1 => late(40).prop_map(|(written, seconds)| Step::Late { written, seconds }),
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
    polls(&format!("{SPEC}{APART}"));
}

fn polls(spec: &str) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runner(12, 40)
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
                polls.push((shop.source.clock().await, shop.source.state().await));
            }
            Step::Broken { after } => shop.broken(*after).await,
            Step::Apply(ends) => shop.databases.apply(&shop.warehouse, *ends).await?,
            Step::Late { written, seconds } => {
                let since = shop.source.ago(*seconds).await;
                polls.retain(|(time, _)| *time < since);
                shop.source.write(written).await;
            }
            Step::Written(written) => shop.source.write(written).await,
        }
    }
    shop.poll().await.map_err(|error| format!("{error:?}"))?;
    shop.landed().await?;
    polls.push((shop.source.clock().await, shop.source.state().await));
    shop.databases.apply(&shop.warehouse, Ends::Well).await?;
    for (time, state) in &polls {
        let was = as_of(&mut shop.databases.target, time).await;
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
        readiness::check(&shop.warehouse, &shop.source.url, Some(&mut shop.databases.target)).await.unwrap();
    let facts = readiness.facts.iter().skip(1).map(|fact| format!("ok {fact}"));
    let findings =
        readiness.findings.iter().map(|one| format!("{:?} {}\n  = {}", one.severity, one.what, one.remedy));
    facts.chain(findings).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_a_poll_cannot_see_is_said_before() {
    block_on(async {
        let mut shop = Shop::new().await;
        expect("readiness.txt", &said(&mut shop).await);
        shop.source
            .session
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
        let role = format!("poller_of_{}", shop.source.name);
        let plan = prepare::plan(&shop.warehouse, &mut shop.source.session, None, Some(&role)).await.unwrap();
        expect("prepared.sql", &format!("{};", plan.together.join(";\n").replace(&role, "poller")));
        assert!(plan.slots.is_empty());
        prepare::prepare(&plan, &mut shop.source.session, None, &mut Breaks::default()).await.unwrap();
        shop.source.write(&Written::Order { id: 1, status: 0 }).await;
        let joint = if shop.source.url.contains('?') { '&' } else { '?' };
        shop.source.url += &format!("{joint}options=-c%20role%3D{role}");
        let captured = shop.poll().await.unwrap();
        assert_eq!(captured.rows(), 1);
        shop.source
            .session
            .execute(AssertSqlSafe(format!("DROP OWNED BY {role}; DROP ROLE {role}")))
            .await
            .unwrap();
        shop.end().await;
    });
}

#[test]
fn what_polls_have_missed_lands_when_all_of_it_is_read_again() {
    block_on(async {
        let mut shop = Shop::new().await;
        shop.source.write(&Written::Order { id: 1, status: 0 }).await;
        shop.source.write(&Written::Price { region: "north", product: 1, price: "1" }).await;
        shop.poll().await.unwrap();
        // Longer ago than polls look back; and a delete in a table whose keys are not compared.
        shop.source
            .session
            .execute(
                "INSERT INTO orders (order_id, status, last_updated) VALUES (2, 'placed', now() - interval '1 day');
                DELETE FROM price",
            )
            .await
            .unwrap();
        assert_eq!(shop.poll().await.unwrap().rows(), 0);
        let url = shop.source.url.clone();
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
        shop.source.session.execute("ALTER TABLE orders ADD details json").await.unwrap();
        shop.source.write(&Written::Order { id: 1, status: 0 }).await;
        shop.source
            .session
            .execute(
                "INSERT INTO orders (order_id, status, details) VALUES (2, 'placed', '{\"a\": \"\\u0000\"}')",
            )
            .await
            .unwrap();
        shop.source.write(&Written::Order { id: 3, status: 0 }).await;
        let captured = shop.poll().await.unwrap();
        assert_eq!((captured.rows(), captured.findings.len()), (2, 1), "{:?}", captured.findings);
        assert_eq!(shop.poll().await.unwrap().rows(), 0);
        let kept =
            text(&mut shop.databases.target, "SELECT concat_ws(' ', landing, key) FROM medallion.quarantine")
                .await;
        assert_eq!(kept, "bronze.br_orders {\"order_id\": 2}");
        shop.source
            .session
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
        shop.source.write(&Written::Order { id: 1, status: 0 }).await;
        shop.poll().await.unwrap();
        std::mem::swap(&mut shop.source.url, &mut other.source.url);
        let error = shop.poll().await.unwrap_err().to_string();
        assert!(error.contains("correct SOURCE_DATABASE_URL"), "{error}");
        std::mem::swap(&mut shop.source.url, &mut other.source.url);
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
            source: shop.source.url.clone(),
            warehouse: server.url(&shop.databases.name),
            bronze: None,
            embedded: None,
        };
        for id in 0..30 {
            shop.source.write(&Written::Order { id, status: 0 }).await;
        }
        let mut breaks = Breaks::default();
        let mut writer = connection::connect(Database::Source, &shop.source.url).await.unwrap();
        let url = server.url(&shop.databases.name);
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

/// Compares what is said with what was expected.
fn expect(name: &str, found: &str) {
    law::expect(&format!("polling/{name}"), found);
}

/// A source and its warehouse.
struct Shop {
    warehouse: Warehouse,
    source: Source,
    databases: Databases,
}

impl Shop {
    async fn new() -> Self {
        Self::of(SPEC).await
    }

    async fn of(text: &str) -> Self {
        let number = number();
        let source = Source::new(format!("polled_source_{number}"), SOURCE).await;
        let made = make(&spec("orders", text), "orders", &format!("polled_warehouse_{number}")).await;
        let Made { warehouse, databases, .. } = made;
        Self { warehouse, source, databases }
    }

    async fn poll(&mut self) -> Result<Captured> {
        self.poll_until(None).await
    }

    async fn poll_until(&mut self, after: Option<usize>) -> Result<Captured> {
        let lands = self.databases.lands();
        capture::capture(&self.warehouse, &self.source.url, lands, &mut Breaks::after(after)).await
    }

    /// As if the process had been killed.
    async fn broken(&mut self, after: usize) {
        let _ = self.poll_until(Some(after)).await;
        self.databases.killed().await;
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
            let there = text(&mut self.source.session, &there).await;
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
        self.source.end().await;
        self.databases.end().await;
    }
}
