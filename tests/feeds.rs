//! The law of feeds, on a real server: whatever is written to a source, whatever feeds each landing table (the source's
//! log, polls, snapshots), whenever one takes the place of another, and wherever a run is broken off, as of the time
//! of each run the warehouse says what the source had then.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod fed;

use std::collections::BTreeMap;

use fed::breaks::Breaks;
use fed::databases::{APART, Databases, Ends, ends};
use fed::descriptor;
use fed::law::{block_on, runner};
use fed::orders::{Source, Written, as_of, written};
use fed::warehouse::{Made, make, model, number, spec, text};
use medallion::plan::lock::Lock;
use medallion_runtime::alert::{self, Known, Measured};
use medallion_runtime::capture::resnapshot::{self, Differences};
use medallion_runtime::capture::{self, Captured};
use medallion_runtime::descriptor::{Alert, Fed, Gone, Name, Snapshots, Warehouse, Watched};
use medallion_runtime::error::Result;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use sqlx::{AssertSqlSafe, Executor as _};

const SOURCE: &str = include_str!("feeds/source.sql");

/// What feeds the landing tables: the source is captured by its log or by polls, or else by snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Feeds {
    source: &'static str,
    /// Whether orders come by snapshots, whatever else the source is captured by.
    orders: bool,
    /// Whether prices do.
    prices: bool,
}

const LOGGED: Feeds = Feeds { source: "logical", orders: false, prices: false };
const COPIED: Feeds = Feeds { source: "snapshot", orders: true, prices: true };

impl Feeds {
    fn spec(self) -> String {
        let fed = |copied: bool, watermark: &str| match (self.source, copied) {
            ("snapshot", _) => String::new(),
            (_, true) => "snapshot = { deletes = \"close\" }".to_owned(),
            ("watermark", false) => format!("watermark = \"{watermark}\"\ndeletes = \"compare\""),
            _ => String::new(),
        };
        let polling = match self.source {
            "watermark" => {
                "[source.polling]\nmargin = \"0 seconds\"\npage = 7\ncompare_every = \"0 seconds\""
            }
            _ => "",
        };
        format!(
            r#"
            [warehouse]
            name = "orders"

            [source]
            capture = "{}"
            {polling}

            [alerts]
            unapplied = 3
            duplicates = 0
            quarantined = 0
            age = "1 hour"

            [[landing]]
            name = "br_orders"
            from = "orders"
            key = ["order_id"]
            {}

            [[landing]]
            name = "br_price"
            from = "price"
            key = ["region", "product_id"]
            {}

            [[dimension]]
            name = "dim_orders_hist"
            from = "br_orders"
            key = ["order_id"]
            columns = [
                {{ name = "order_id", type = "integer" }},
                {{ name = "status", type = "text" }},
                {{ name = "note", type = "text", null = true }},
            ]

            [[dimension]]
            name = "dim_price_hist"
            from = "br_price"
            key = ["region", "product_id"]
            columns = [
                {{ name = "region", type = "text" }},
                {{ name = "product_id", type = "integer" }},
                {{ name = "price", type = "numeric" }},
            ]
            "#,
            self.source,
            fed(self.orders, "last_updated"),
            fed(self.prices, "changed_at"),
        )
    }
}

/// What happens at the source, or is asked of it.
#[derive(Clone, Debug)]
enum Step {
    /// Something is written.
    Written(Written),
    /// All prices go.
    NoPrices,
    /// Somebody lands by hand what an order, or a price, was right before all that is known of it.
    Late { key: String, changed: &'static str },
    /// From here on something else feeds the landing tables.
    Switch(Feeds),
    /// A run comes to its end, or what a watch does goes on.
    Run { begins: bool },
    /// One is broken off at a point.
    Broken { after: usize },
    /// Silver is brought up.
    Apply(Ends),
}

fn step() -> impl Strategy<Value = Step> {
    let source = prop::sample::select(vec!["logical", "watermark", "snapshot"]);
    prop_oneof![
        10 => written(20).prop_map(Step::Written),
        1 => Just(Step::NoPrices),
        1 => late(),
        3 => (source, any::<bool>(), any::<bool>())
            .prop_map(|(source, orders, prices)| Step::Switch(Feeds { source, orders, prices })),
        5 => any::<bool>().prop_map(|begins| Step::Run { begins }),
        1 => (0..8_usize).prop_map(|after| Step::Broken { after }),
        2 => ends().prop_map(Step::Apply),
    ]
}

fn late() -> impl Strategy<Value = Step> {
    let orders = vec![r#"{"status": "placed"}"#, r#"{"status": "sent"}"#];
    let prices = vec![r#"{"price": 1}"#, r#"{"price": 1.0}"#];
    prop_oneof![
        (0..20, prop::sample::select(orders))
            .prop_map(|(id, changed)| Step::Late { key: format!("{{\"order_id\": {id}}}"), changed }),
        (0..3, prop::sample::select(prices))
            .prop_map(|(id, changed)| Step::Late { key: format!("{{\"product_id\": {id}}}"), changed }),
    ]
}

#[test]
fn whatever_feeds_a_dimension_its_history_is_that_of_the_source() {
    are_fed("");
}

#[test]
fn the_same_where_bronze_stands_in_a_database_of_its_own() {
    are_fed(APART);
}

fn are_fed(bronze: &'static str) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runner(12, 60)
        .run(&prop::collection::vec(step(), 10..50), |steps| {
            runtime.block_on(lives(bronze, &steps)).map_err(TestCaseError::fail)
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

async fn lives(bronze: &'static str, steps: &[Step]) -> Result<(), String> {
    let mut shop = Shop::with(bronze, LOGGED).await;
    // What the source had at each run.
    let mut runs: Vec<(String, String)> = Vec::new();
    for step in steps {
        match step {
            Step::Run { begins } => {
                if *begins {
                    shop.databases.begin().await;
                }
                runs.push(shop.recorded().await?);
            }
            Step::Broken { after } => shop.broken(*after).await,
            Step::Apply(ends) => shop.databases.apply(&shop.warehouse, *ends).await?,
            Step::Late { key, changed } => shop.land_late(key, changed).await,
            Step::Switch(feeds) => shop.warehouse = shop.fed(*feeds),
            Step::Written(written) => shop.source.write(written).await,
            Step::NoPrices => {
                shop.source.session.execute("TRUNCATE price").await.unwrap();
            }
        }
    }
    runs.push(shop.recorded().await?);
    shop.apply().await?;
    shop.databases.assert_landed_apart(&shop.warehouse).await;
    for (time, state) in &runs {
        let was = as_of(&mut shop.databases.target, time).await;
        if was != *state {
            return Err(format!("as of {time} the source had\n{state}\nand the warehouse says\n{was}"));
        }
    }
    shop.end().await;
    Ok(())
}

/// A source and its warehouse.
struct Shop {
    lock: Lock,
    warehouse: Warehouse,
    source: Source,
    databases: Databases,
    /// What the spec says of bronze.
    bronze: &'static str,
}

impl Shop {
    async fn new(feeds: Feeds) -> Self {
        Self::with("", feeds).await
    }

    async fn with(bronze: &'static str, feeds: Feeds) -> Self {
        let number = number();
        let source = Source::new(format!("fed_source_{number}"), SOURCE).await;
        let name = format!("fed_warehouse_{number}");
        let Made { warehouse, lock, databases } =
            make(&spec("orders", &(feeds.spec() + bronze)), &name, &name).await;
        Self { lock, warehouse, source, databases, bronze }
    }

    /// The same warehouse, fed otherwise.
    fn fed(&self, feeds: Feeds) -> Warehouse {
        let files = spec("orders", &(feeds.spec() + self.bronze));
        descriptor::warehouse(&model(&files), &self.lock, &self.databases.name)
    }

    async fn land_late(&mut self, key: &str, changed: &str) {
        for landing in &self.warehouse.landings {
            let sql = format!(
                "INSERT INTO {table} (lsn, op, full_row, commit_ts, seq)
                SELECT (SELECT max(lsn) + 1 FROM {table}), 'U', full_row || $2::jsonb, commit_ts - interval '1 microsecond', 1
                FROM {table}
                WHERE full_row @> $1::jsonb
                ORDER BY commit_ts
                LIMIT 1",
                table = landing.table
            );
            let lands = self.databases.lands();
            sqlx::query(AssertSqlSafe(sql)).bind(key).bind(changed).execute(lands).await.unwrap();
        }
    }

    async fn run(&mut self) -> Result<Captured> {
        self.run_until(None).await
    }

    async fn run_until(&mut self, after: Option<usize>) -> Result<Captured> {
        let lands = self.databases.lands();
        capture::capture(&self.warehouse, &self.source.url, lands, &mut Breaks::after(after)).await
    }

    /// A run, and what the source has by then.
    async fn recorded(&mut self) -> Result<(String, String), String> {
        self.run().await.map_err(|error| format!("{error:?}"))?;
        if self.warehouse.reads_log() {
            let listed = "SELECT tablename::text FROM pg_publication_tables WHERE pubname = $1 ORDER BY 1";
            let listed = sqlx::query_scalar(listed).bind(&self.warehouse.source.publication);
            let published: Vec<String> = listed.fetch_all(&mut self.source.session).await.unwrap();
            let captured = self.warehouse.captured().iter().map(|landing| landing.source.table.clone());
            if captured.collect::<Vec<_>>() != published {
                return Err(format!("the publication has {published:?}"));
            }
        }
        Ok((self.source.clock().await, self.source.state().await))
    }

    /// As if the process had been killed.
    async fn broken(&mut self, after: usize) {
        let _ = self.run_until(Some(after)).await;
        self.databases.killed().await;
    }

    async fn apply(&mut self) -> Result<(), String> {
        self.databases.apply(&self.warehouse, Ends::Well).await
    }

    async fn end(self) {
        self.source.end().await;
        self.databases.end().await;
    }
}

#[test]
fn what_the_spec_watches_is_measured() {
    block_on(async {
        let mut shop = Shop::new(COPIED).await;
        let watched = [
            Alert { of: Watched::Unapplied, most: 3 },
            Alert { of: Watched::Duplicates, most: 0 },
            Alert { of: Watched::Quarantined, most: 0 },
            Alert { of: Watched::Age, most: 3_600 },
            Alert { of: Watched::Lag, most: 5 },
        ];
        shop.warehouse.alerts = watched.to_vec();
        let known = Known { lag: Some(6.0), ..Known::default() };
        for id in 0..4 {
            shop.source.write(&Written::Order { id, status: 0 }).await;
        }
        shop.run().await.unwrap();
        let said = |all: Vec<Measured>| {
            let exceeded = all.into_iter().filter(|one| one.exceeded);
            exceeded.map(|one| format!("{} {}", one.alert, one.value.unwrap().round())).collect::<Vec<_>>()
        };
        let measured = alert::measure(&shop.warehouse, known, &mut shop.databases.target).await.unwrap();
        assert_eq!(said(measured), ["unapplied 4", "lag_seconds 6"]);
        shop.apply().await.unwrap();
        shop.databases.target
            .execute(
                "INSERT INTO bronze.br_orders (lsn, op, full_row, commit_ts, seq)
                SELECT lsn + 1, 'U', full_row, commit_ts + interval '1 second', seq FROM bronze.br_orders LIMIT 2;
                UPDATE medallion.captured_table SET compared_at = compared_at - interval '2 hours'",
            )
            .await
            .unwrap();
        let measured =
            alert::measure(&shop.warehouse, Known::default(), &mut shop.databases.target).await.unwrap();
        assert_eq!(said(measured), ["duplicates 2", "age_seconds 7200"]);
        shop.end().await;
    });
}

#[test]
fn rows_that_are_gone_are_kept_or_ignored_as_declared() {
    block_on(async {
        let mut shop = Shop::new(COPIED).await;
        for id in 0..3 {
            shop.source.write(&Written::Order { id, status: 0 }).await;
        }
        for (gone, notes) in [(Gone::Kept, 1), (Gone::Ignored, 0)] {
            for landing in &mut shop.warehouse.landings {
                landing.fed = Fed::Snapshots(Snapshots { every: None, gone });
            }
            shop.run().await.unwrap();
            shop.source.write(&Written::Gone { id: 0 }).await;
            shop.source.write(&Written::Order { id: 1, status: 1 }).await;
            let mut breaks = Breaks::default();
            let captured =
                capture::capture(&shop.warehouse, &shop.source.url, &mut shop.databases.target, &mut breaks)
                    .await;
            assert_eq!(captured.unwrap().rows(), 1, "{gone:?}");
            assert_eq!(breaks.notes.len(), notes, "{:?}", breaks.notes);
        }
        let deletes =
            text(&mut shop.databases.target, "SELECT full_row::text FROM bronze.br_orders WHERE op = 'D'")
                .await;
        assert_eq!(deletes, "");
        // Not more often than it says, and then no row is looked at.
        for landing in &mut shop.warehouse.landings {
            let every = Some(std::time::Duration::from_secs(86_400));
            landing.fed = Fed::Snapshots(Snapshots { every, gone: Gone::Closed });
        }
        assert_eq!(shop.run().await.unwrap().rows(), 0);
        shop.end().await;
    });
}

#[test]
fn a_view_is_copied_as_long_as_its_key_finds_one_row() {
    block_on(async {
        let mut shop = Shop::new(COPIED).await;
        shop.source.session.execute("CREATE VIEW ordered AS SELECT * FROM orders").await.unwrap();
        shop.warehouse.landings[0].source = Name::new("public", "ordered");
        shop.source.write(&Written::Order { id: 1, status: 0 }).await;
        assert_eq!(shop.run().await.unwrap().rows(), 1);
        shop.source
            .session
            .execute("CREATE OR REPLACE VIEW ordered AS SELECT * FROM orders UNION ALL SELECT * FROM orders")
            .await
            .unwrap();
        let error = shop.run().await.unwrap_err().to_string();
        assert!(error.contains("does not tell apart"), "{error}");
        shop.end().await;
    });
}

#[test]
fn a_rehearsal_tells_what_copies_would_bring() {
    block_on(async {
        for feeds in [Feeds { prices: true, ..LOGGED }, COPIED] {
            let mut shop = Shop::new(feeds).await;
            for id in 0..3 {
                shop.source.write(&Written::Order { id, status: 0 }).await;
                shop.source.write(&Written::Price { region: "north", product: id, price: "1" }).await;
            }
            shop.run().await.unwrap();
            shop.source.write(&Written::Gone { id: 0 }).await;
            shop.source.write(&Written::Price { region: "north", product: 1, price: "2" }).await;
            shop.source.write(&Written::Price { region: "south", product: 1, price: "2" }).await;
            let landed = "SELECT count(*)::text FROM (SELECT FROM bronze.br_orders UNION ALL SELECT FROM bronze.br_price) AS one";
            let before = text(&mut shop.databases.target, landed).await;
            let (source, mut quiet) = (shop.source.url.clone(), Breaks::default());
            let rehearsed =
                resnapshot::rehearse(&shop.warehouse, &source, &mut shop.databases.target, &mut quiet).await;
            assert_eq!(text(&mut shop.databases.target, landed).await, before, "nothing stays of it");
            let rehearsed = rehearsed.unwrap().differences;
            let gone = Differences { gone: 1, ..Differences::default() };
            let prices = Differences { new: 1, changed: 1, gone: 0 };
            let of = |table: &str| Name::new("bronze", table);
            assert_eq!(
                rehearsed,
                BTreeMap::from([(of("br_orders"), gone), (of("br_price"), prices)]),
                "{feeds:?}"
            );
            let done =
                resnapshot::resnapshot(&shop.warehouse, &source, &mut shop.databases.target, &mut quiet)
                    .await;
            assert_eq!(done.unwrap().differences, rehearsed, "{feeds:?}");
            shop.end().await;
        }
    });
}

#[test]
fn a_source_without_a_log_is_copied() {
    block_on(async {
        let mut shop = Shop::new(COPIED).await;
        shop.source.write(&Written::Order { id: 1, status: 0 }).await;
        shop.source.write(&Written::Order { id: 2, status: 0 }).await;
        assert_eq!(shop.run().await.unwrap().rows(), 2);
        assert_eq!(shop.run().await.unwrap().rows(), 0);
        shop.source.write(&Written::Order { id: 2, status: 1 }).await;
        shop.source.write(&Written::Gone { id: 1 }).await;
        shop.source.write(&Written::Order { id: 3, status: 1 }).await;
        assert_eq!(shop.run().await.unwrap().rows(), 3);
        let landed = text(
            &mut shop.databases.target,
            "SELECT concat_ws(' ', op, full_row -> 'order_id') FROM bronze.br_orders ORDER BY lsn, op, 1",
        )
        .await;
        assert_eq!(landed, "I 1\nI 2\nD 1\nI 3\nU 2");
        shop.end().await;
    });
}
