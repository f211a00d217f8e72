//! The laws of declared marts, on a real server, for marts that are drawn: after every run each stored mart is what its
//! definition gives; and as of any time it is what a warehouse would show that was fed no more than had happened by then.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

#[path = "marts/drawn.rs"]
mod drawn;
#[path = "marts/named.rs"]
mod named;
#[path = "marts/traffic.rs"]
mod traffic;

#[path = "evolution/descriptor.rs"]
mod descriptor;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use drawn::Draws;
use medallion::emit::{self, Workspace};
use medallion::finding::{Colour, SourceText};
use medallion::model;
use medallion::plan::lock::Lock;
use medallion::spec::Files;
use medallion_runtime::connection::{self, Database};
use medallion_runtime::descriptor::{Refresh, Storage, Warehouse};
use medallion_runtime::staging::Staging;
use medallion_runtime::{apply, refresh};
use medallion_server::Server;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _};
use tokio::runtime::Runtime;

const SHOP: &str = include_str!("marts/shop.toml");

/// How many marts a warehouse has.
const MARTS: usize = 6;
/// How many transactions its source lives through.
const TRANSACTIONS: usize = 14;

#[test]
fn any_mart_is_what_its_definition_gives_and_was_what_it_would_have_given() {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|count| count.parse().ok());
    let config = Config {
        cases: cases.unwrap_or(10),
        failure_persistence: None,
        max_shrink_iters: 0,
        ..Config::default()
    };
    let mut runner = match cases {
        Some(_) => TestRunner::new(config),
        None => TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha)),
    };
    let runtime = Runtime::new().unwrap();
    runner
        .run(&proptest::num::u64::ANY, |seed| {
            let mut draws = Draws(seed);
            let marts: String = (0..MARTS).map(|number| drawn::mart(number, &mut draws)).collect();
            runtime
                .block_on(lives(&marts, &mut draws))
                .map_err(|error| TestCaseError::fail(format!("{error}\n{marts}")))
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

/// A warehouse with marts lives; then one is made that is fed up to some time, and is what the other was then.
async fn lives(marts: &str, draws: &mut Draws) -> Result<(), String> {
    let mut shop = Shop::new(marts).await?;
    let (changes, applied) = traffic::draw(TRANSACTIONS, draws);
    for transaction in 1..=TRANSACTIONS {
        shop.land(&traffic::landing(&changes, transaction)).await?;
        if applied[transaction - 1] {
            shop.run().await?;
        }
    }
    shop.land(&traffic::last(&changes, TRANSACTIONS)).await?;
    shop.run().await?;

    let then = 1 + draws.below(TRANSACTIONS);
    let mut fresh = Shop::new(marts).await?;
    let fed: String = changes
        .iter()
        .filter(|change| change.transaction <= then)
        .map(|change| change.sql.as_str())
        .collect();
    fresh.land(&fed).await?;
    fresh.run().await?;
    for mart in 0..MARTS {
        let was = shop.rows(&format!("as_of.mart_{mart}"), Some(&traffic::time(then))).await?;
        let would_be = fresh.rows(&format!("gold.mart_{mart}"), None).await?;
        if was != would_be {
            return Err(format!("mart_{mart} as of {then}: {was:#?}\nand fed up to then: {would_be:#?}"));
        }
    }
    shop.end().await;
    fresh.end().await;
    Ok(())
}

/// A warehouse of its own.
struct Shop {
    name: String,
    warehouse: Warehouse,
    connection: PgConnection,
    /// What is kept from round to round, as a watch does; every other warehouse begins each anew.
    kept: Option<Staging>,
}

impl Shop {
    /// With marts, as a spec has them.
    async fn new(marts: &str) -> Result<Self, String> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("marts_{number}");
        let spec = SourceText::new("spec/shop/spec.toml", format!("{SHOP}{marts}"));
        let files = Files::alone("shop", spec);
        let model = model::load(&files).map_err(|findings| findings.human(Colour::Plain))?;
        let workspace = Workspace { warehouses: vec!["shop".to_owned()], default: None };
        let emitted = emit::emit(&model, &workspace);
        let lock = Lock::read(emitted.get("migration/src/shop/lock.toml").unwrap()).unwrap();
        let up = format!("migration/src/shop/{}/up.sql", lock.migrations[0].name);
        let server = Server::shared_scratch().unwrap();
        server.ensure_database(&name).unwrap();
        let mut connection = connection::connect(Database::Warehouse, &server.url(&name)).await.unwrap();
        let migration = format!("CREATE SCHEMA IF NOT EXISTS medallion;\n{}", emitted.get(&up).unwrap());
        execute(&migration, &mut connection).await?;
        let kept = number.is_multiple_of(2).then(Staging::default);
        Ok(Self { name, warehouse: descriptor::warehouse(&model, &lock, "shop"), connection, kept })
    }

    async fn land(&mut self, sql: &str) -> Result<(), String> {
        execute(sql, &mut self.connection).await
    }

    /// Brings silver and marts up, and compares what is stored with what it should be.
    async fn run(&mut self) -> Result<(), String> {
        let mut transaction = self.connection.begin().await.map_err(|error| error.to_string())?;
        execute("SET LOCAL plan_cache_mode = force_generic_plan", &mut transaction).await?;
        let (anew, nothing) = (Staging::default(), BTreeSet::new());
        let staging = self.kept.as_ref().unwrap_or(&anew);
        let applied = apply::apply_in(&self.warehouse, &nothing, staging, &mut transaction, |_| ())
            .await
            .map_err(|error| format!("{error:?}"))?;
        refresh::refresh_in(&self.warehouse, &applied, &nothing, staging, &mut transaction, |_| ())
            .await
            .map_err(|error| format!("{error:?}"))?;
        transaction.commit().await.map_err(|error| error.to_string())?;
        for mart in &self.warehouse.marts {
            let Storage::Incremental { definition, .. } = &mart.storage else { continue };
            let texts = |from: &dyn std::fmt::Display| {
                format!("SELECT ROW({})::text FROM {from}", mart.columns.join(", "))
            };
            let (stored, defined) = (texts(&mart.table), texts(definition));
            let sql = format!(
                "SELECT 'stored '|| t FROM (({stored}) EXCEPT ALL ({defined})) AS m (t) \
                 UNION ALL SELECT 'defined ' || t FROM (({defined}) EXCEPT ALL ({stored})) AS m (t)"
            );
            let differ = texts_of(&sql, &mut self.connection).await?;
            if !differ.is_empty() {
                return Err(format!("{} is not what it is defined to be: {differ:#?}", mart.table));
            }
        }
        Ok(())
    }

    /// A relation's rows as texts, in their order; as of a time.
    async fn rows(&mut self, relation: &str, at: Option<&str>) -> Result<Vec<String>, String> {
        let at = at.map_or_else(|| "''".to_owned(), |at| format!("{at}::text"));
        execute(&format!("SELECT set_config('medallion.as_of', {at}, false)"), &mut self.connection).await?;
        let sql = format!("SELECT one::text FROM {relation} AS one ORDER BY 1");
        let rows = texts_of(&sql, &mut self.connection).await?;
        execute("SELECT set_config('medallion.as_of', '', false)", &mut self.connection).await?;
        Ok(rows)
    }

    /// Whether a mart is refreshed by adding.
    fn adds(&self, mart: &str) -> bool {
        let mart = self.warehouse.marts.iter().find(|one| one.table.table == mart).unwrap();
        matches!(&mart.storage, Storage::Incremental { refresh: Refresh::Groups(groups), .. } if groups.sums.is_some())
    }

    async fn end(self) {
        let _ = self.connection.close().await;
        let server = Server::shared_scratch().unwrap();
        let mut connection = connection::connect(Database::Warehouse, &server.url("postgres")).await.unwrap();
        execute(&format!("DROP DATABASE {}", self.name), &mut connection).await.unwrap();
    }
}

async fn execute(sql: &str, connection: &mut PgConnection) -> Result<(), String> {
    connection
        .execute(AssertSqlSafe(sql.to_owned()))
        .await
        .map(drop)
        .map_err(|error| format!("{error}: {sql}"))
}

async fn texts_of(sql: &str, connection: &mut PgConnection) -> Result<Vec<String>, String> {
    let rows = sqlx::query(AssertSqlSafe(sql.to_owned()))
        .fetch_all(connection)
        .await
        .map_err(|error| format!("{error}: {sql}"))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
