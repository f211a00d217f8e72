//! The law of what dimensions wear, on a real server: after any traffic, in any split, late or not, the views of all
//! versions say what is stored, by their definition; a number belongs to one version and stays with it over repair and
//! rebuild; a hash is what its definition says wherever it stands; and what tells of changes tells of the right ones. What
//! a round makes wrong in a version, its tests find, which look at the keys that have changed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

#[path = "evolution/descriptor.rs"]
mod descriptor;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use medallion::cli::read;
use medallion::emit::{self, Workspace};
use medallion::finding::SourceText;
use medallion::model;
use medallion::plan::lock::Lock;
use medallion::spec::Files;
use medallion_runtime::connection::{self, Database};
use medallion_runtime::descriptor::{DataTest, Name, Rule, Warehouse};
use medallion_runtime::place::Place;
use medallion_runtime::progress::Silent;
use medallion_runtime::round::{self, Round, Waits};
use medallion_runtime::staging::Staging;
use medallion_runtime::{rebuild, verify};
use medallion_server::Server;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _};

/// A change, as it lands in a landing table.
#[derive(Clone, Debug)]
struct Change {
    landing: &'static str,
    op: char,
    row: String,
    /// How many transactions later it lands.
    late: u8,
}

/// What happens in one transaction of the source, and whether silver is brought up afterwards.
#[derive(Clone, Debug)]
struct Transaction {
    changes: Vec<Change>,
    applied: bool,
}

fn change() -> impl Strategy<Value = Change> {
    let text = |of: &[&'static str]| prop::sample::select(of.to_vec());
    let op = || prop::sample::select(vec!['I', 'U', 'U', 'U', 'D']);
    let order = (op(), 0..4, text(&["null", "\"new\"", "\"sent\""]), text(&["\"a\"", "\"b\""])).prop_map(
        |(op, id, status, note)| {
            ("bronze.br_orders", op, format!("{{\"id\": {id}, \"status\": {status}, \"note\": {note}}}"))
        },
    );
    let customer = (
        (op(), 0..3, text(&["north", "it's", "a-b", ""])),
        text(&["null", "\"2024-02-29\"", "\"infinity\"", "\"0044-03-15 BC\""]),
        text(&["null", "1", "1.0", "-3e3", "\"NaN\""]),
        text(&["null", "1", "2"]),
    )
        .prop_map(|((op, id, region), since, code, town)| {
            let region = region.replace('\'', "''");
            let row = format!(
                "{{\"customer_id\": {id}, \"region\": \"{region}\", \"since\": {since}, \"code\": {code}, \"town_id\": {town}}}"
            );
            ("bronze.br_customer", op, row)
        });
    let town = (op(), 1..3, text(&["null", "\"Ulm\"", "\"Bonn\""])).prop_map(|(op, id, called)| {
        ("medallion.lookup_town_cdc", op, format!("{{\"town_id\": {id}, \"called\": {called}}}"))
    });
    let sale = (op(), 0..6, 0..30, 0..3, text(&["north", "it's", "a-b", ""])).prop_map(
        |(op, id, second, customer, region)| {
            let region = region.replace('\'', "''");
            let row = format!(
                "{{\"sale_id\": {id}, \"sold_at\": \"2025-06-01T00:00:{second:02}+00:00\", \
                 \"customer_id\": {customer}, \"region\": \"{region}\"}}"
            );
            ("bronze.br_sale", op, row)
        },
    );
    let late = prop_oneof![9 => Just(0), 1 => 1..5_u8];
    (prop_oneof![3 => order, 3 => customer, 1 => town, 2 => sale], late)
        .prop_map(|((landing, op, row), late)| Change { landing, op, row, late })
}

fn transactions() -> impl Strategy<Value = Vec<Transaction>> {
    let transaction = (prop::collection::vec(change(), 1..5), prop::bool::weighted(0.6))
        .prop_map(|(changes, applied)| Transaction { changes, applied });
    prop::collection::vec(transaction, 4..18)
}

#[test]
fn what_is_worn_says_what_is_stored() {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|count| count.parse().ok());
    let config = Config {
        cases: cases.unwrap_or(4),
        failure_persistence: None,
        max_shrink_iters: 60,
        ..Config::default()
    };
    let mut runner = match cases {
        Some(_) => TestRunner::new(config),
        None => TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha)),
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runner
        .run(&transactions(), |all| runtime.block_on(lives(&all)).map_err(TestCaseError::fail))
        .unwrap_or_else(|error| panic!("{error}"));
}

/// The key of versions that stand apart has their end, and not their start.
#[test]
fn what_no_constraint_holds_is_looked_at() {
    let spec = "
        [warehouse]
        name = \"shown\"
        [[landing]]
        name = \"br_thing\"
        from = \"thing\"
        key = [\"id\"]
        [[dimension]]
        name = \"dim_thing_hist\"
        from = \"br_thing\"
        key = [\"id\"]
        closed_apart = { every = \"month\" }
        columns = [{ name = \"id\", type = \"integer\" }]
        shown_as = { name = \"dim_things\", tests = [{ test = \"unique\", columns = [\"id\", \"valid_from\"] }] }";
    let is_proved = |spec: &str| {
        let text = SourceText::new("spec/shown/spec.toml", spec.to_owned());
        let model = model::load(&Files::alone("shown", text)).unwrap();
        model.tests[0].proof.is_some()
    };
    assert!(!is_proved(spec));
    assert!(is_proved(&spec.replace("closed_apart = { every = \"month\" }", "")));
}

/// What comes late into a version that has ended changes no current row.
#[tokio::test]
async fn what_has_ended_is_tested_too() {
    let order = |op, status: &str, late| Change {
        landing: "bronze.br_orders",
        op,
        row: format!("{{\"id\": 1, \"status\": {status}, \"note\": \"a\"}}"),
        late,
    };
    let transaction = |changes, applied| Transaction { changes, applied };
    lives(&[
        transaction(vec![order('I', "\"new\"", 0)], true),
        transaction(vec![order('U', "\"sent\"", 3)], false),
        transaction(vec![order('U', "null", 0)], true),
        transaction(vec![], false),
        transaction(vec![], true),
    ])
    .await
    .unwrap();
}

async fn lives(all: &[Transaction]) -> Result<(), String> {
    let mut shop = Shop::new().await;
    let mut late: Vec<(usize, String)> = Vec::new();
    for (at, transaction) in all.iter().enumerate() {
        for (seq, change) in transaction.changes.iter().enumerate() {
            let sql = landed(change, at, seq);
            match change.late {
                0 => shop.execute(&sql).await,
                later => late.push((at + usize::from(later), sql)),
            }
        }
        for (_, sql) in late.extract_if(.., |(when, _)| *when <= at) {
            shop.execute(&sql).await;
        }
        if transaction.applied {
            shop.apply().await?;
            shop.holds(&format!("after transaction {at}")).await?;
        }
    }
    for (_, sql) in late {
        shop.execute(&sql).await;
    }
    shop.apply().await?;
    shop.holds("at last").await?;
    shop.rebuilt().await?;
    shop.end().await;
    Ok(())
}

fn landed(change: &Change, at: usize, seq: usize) -> String {
    format!(
        "INSERT INTO {} (lsn, op, full_row, commit_ts, seq) VALUES ({at}0, '{}', '{}', {}, {seq})",
        change.landing,
        change.op,
        change.row,
        time(at)
    )
}

fn time(at: usize) -> String {
    format!("timestamptz '2025-06-01 00:00:00.5+00' + {at} * interval '1 second'")
}

/// A session in UTC with ISO dates: what dbt's macro would say there.
const HASH: &str = "md5(coalesce(cast(customer_id AS text), '_dbt_utils_surrogate_key_null_') || '-' || \
    coalesce(cast(region AS text), '_dbt_utils_surrogate_key_null_') || '-' || \
    coalesce(cast(since AS text), '_dbt_utils_surrogate_key_null_') || '-' || \
    coalesce(cast(code AS text), '_dbt_utils_surrogate_key_null_') || '-' || \
    coalesce(cast(sys_start AS text), '_dbt_utils_surrogate_key_null_'))";

/// What holds, each with a query for what breaks it.
fn laws() -> Vec<(&'static str, String)> {
    let differ = |shown: &str, defined: &str| {
        format!(
            "SELECT 'shown ' || t::text FROM (({shown}) EXCEPT ALL ({defined})) AS t
             UNION ALL SELECT 'defined ' || t::text FROM (({defined}) EXCEPT ALL ({shown})) AS t"
        )
    };
    let sold = |at: &str, earlier: &str| {
        format!(
            "SELECT sale_id, (SELECT {HASH} FROM silver.dim_customer_hist AS version
                WHERE version.customer_id = sale.customer_id AND version.region = sale.region AND {at}
                ORDER BY {earlier} LIMIT 1)
             FROM silver.fact_sale AS sale"
        )
    };
    let stamp = "to_char(load_ts AT TIME ZONE 'UTC', 'YYYYMMDD\"T\"HH24MISS.US\"Z\"')";
    vec![
        (
            "the orders' versions are shown as they stand",
            differ(
                "SELECT * FROM silver.dim_orders_history",
                "SELECT surrogate_key, order_key, status, note, sys_start,
                    CASE WHEN sys_end = 'infinity' THEN NULL ELSE sys_end END, sys_end = 'infinity',
                    cdc_operation, cdc_timestamp, position, batch_id, created_at, last_op, updated_at
                 FROM silver.dim_orders_hist",
            ),
        ),
        (
            "the customers' versions are shown as they stand",
            differ(
                "SELECT * FROM silver.dim_customers",
                &format!(
                    "SELECT {HASH}, customer_id, region, since, code, town_id, town, sys_start,
                        CASE WHEN sys_end = 'infinity' THEN '9999-12-31 00:00:00 Europe/Berlin' ELSE sys_end END,
                        sys_end = 'infinity', seen
                     FROM silver.dim_customer_hist"
                ),
            ),
        ),
        (
            "the current views show the surrogate keys",
            differ(
                "SELECT surrogate_key::text, order_key::text FROM silver.dim_orders
                 UNION ALL SELECT customer_key, customer_id::text FROM silver.dim_customer",
                "SELECT surrogate_key::text, order_key::text FROM silver.dim_orders_history WHERE valid_to IS NULL
                 UNION ALL SELECT customer_key, customer_id::text FROM silver.dim_customers WHERE is_current",
            ),
        ),
        (
            "one version of a key is current",
            "SELECT order_key::text FROM silver.dim_orders_history
             GROUP BY order_key HAVING count(*) FILTER (WHERE is_current) > 1"
                .to_owned(),
        ),
        (
            "a key of a version is that of no other",
            "SELECT surrogate_key::text FROM silver.dim_orders_hist GROUP BY surrogate_key HAVING count(*) > 1
             UNION ALL SELECT customer_key FROM silver.dim_customers GROUP BY customer_key HAVING count(*) > 1"
                .to_owned(),
        ),
        (
            "a sale has the key of the customer as it was when it was sold",
            differ(
                "SELECT sale_id, customer_key FROM silver.fact_sale",
                &sold(
                    "true",
                    "version.sys_start <= sale.sold_at DESC,
                     CASE WHEN version.sys_start <= sale.sold_at THEN version.sys_start END DESC NULLS LAST,
                     version.sys_start",
                ),
            ),
        ),
        (
            "and that of the customer as it is",
            differ(
                "SELECT sale_id, current_key FROM silver.fact_sale",
                &sold("version.sys_end = 'infinity'", "version.sys_start"),
            ),
        ),
        (
            "what opened a version is the last change of its transaction",
            differ(
                "SELECT order_key, sys_start, cdc_operation, cdc_timestamp, position, batch_id, created_at
                 FROM silver.dim_orders_hist",
                &format!(
                    "SELECT order_key, sys_start, CASE op WHEN 'I' THEN 'INSERT' ELSE 'UPDATE' END, commit_ts, lsn,
                        {stamp}, load_ts
                     FROM silver.dim_orders_hist
                     CROSS JOIN LATERAL (
                        SELECT * FROM bronze.br_orders
                        WHERE (full_row ->> 'id')::integer = order_key AND commit_ts = sys_start
                        ORDER BY lsn DESC, seq DESC LIMIT 1
                     ) AS change"
                ),
            ),
        ),
        (
            "the latest change of a current version is the last of all",
            differ(
                "SELECT order_key, last_op::text, updated_at, note FROM silver.dim_orders_hist WHERE sys_end = 'infinity'",
                "SELECT DISTINCT ON (order_key) order_key, op::text, load_ts, full_row ->> 'note'
                 FROM silver.dim_orders
                 JOIN bronze.br_orders ON (full_row ->> 'id')::integer = order_key
                 ORDER BY order_key, lsn DESC, seq DESC",
            ),
        ),
        (
            "and where something is looked up",
            differ(
                "SELECT customer_id, region, seen FROM silver.dim_customer",
                "SELECT customer_id, region, max(commit_ts)
                 FROM silver.dim_customer
                 JOIN bronze.br_customer ON (full_row ->> 'customer_id')::integer = customer_id
                    AND full_row ->> 'region' = region
                 GROUP BY customer_id, region",
            ),
        ),
        (
            "a mart over all versions is what it is defined to be",
            differ(
                "SELECT * FROM gold.versions_by_status",
                "SELECT status, count(*), count(*) FILTER (WHERE sys_end = 'infinity')
                 FROM silver.dim_orders_hist GROUP BY status",
            ),
        ),
    ]
}

/// Tests of all versions: of a column that is tracked, of one that is updated in place, and of the period.
const MINDED: [(&str, &str); 3] = [
    ("unsent", "status <> 'sent'"),
    ("noted", "note <> 'b'"),
    ("brief", "valid_to - valid_from < interval '3 s'"),
];

/// What is told where a version is not as it is to be.
fn of_each_version(name: &'static str, holds: &'static str) -> DataTest {
    let stored = Name::new("silver", "dim_orders_hist");
    DataTest {
        name,
        description: None,
        relation: Name::new("silver", "dim_orders_history"),
        key: vec!["order_key".to_owned()],
        reads: vec![stored.clone()],
        stored,
        rule: Rule::Each(holds),
        warn_above: 0,
        error_above: None,
    }
}

/// A warehouse of its own.
struct Shop {
    name: String,
    warehouse: Warehouse,
    connection: PgConnection,
    /// The numbers that versions had when they were last looked at.
    numbers: BTreeMap<(i32, String), i64>,
}

impl Shop {
    async fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name = format!("dressed_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let files = read::warehouse(Path::new("tests/cases/generate/dressed")).unwrap();
        let model = model::load(&files).unwrap();
        let workspace = Workspace { warehouses: vec![model.name.clone()], default: None };
        let emitted = emit::emit(&model, &workspace);
        let lock = Lock::read(emitted.get("migration/src/dressed/lock.toml").unwrap()).unwrap();
        let up = emitted.get("migration/src/dressed/m000001_baseline/up.sql").unwrap();
        let server = Server::shared_scratch().unwrap();
        server.ensure_database(&name).unwrap();
        let url = server.url(&name);
        let mut connection = connection::connect(Database::Warehouse, &url).await.unwrap();
        let hash = &lock.objects_hash;
        let known = format!(
            "CREATE SCHEMA IF NOT EXISTS medallion;\n{up}\nSET TimeZone = 'UTC'; SET DateStyle = 'ISO';
             SELECT '{hash}'"
        );
        connection.execute(AssertSqlSafe(known)).await.unwrap();
        let mut warehouse = descriptor::warehouse(&model, &lock, &name);
        warehouse.tests.extend(MINDED.map(|(name, holds)| of_each_version(name, holds)));
        Self { name, warehouse, connection, numbers: BTreeMap::new() }
    }

    async fn execute(&mut self, sql: &str) {
        self.connection.execute(AssertSqlSafe(sql.to_owned())).await.unwrap();
    }

    async fn apply(&mut self) -> Result<(), String> {
        let before = self.wrong().await;
        let staging = Staging::default();
        let round =
            round::publish(&self.warehouse, Waits::Surely, &staging, &mut self.connection, |_, _, _| ());
        let Round::Published(published) = round.await.map_err(|error| format!("{error:?}"))? else {
            return Err("a warning has held it back".to_owned());
        };
        let after = self.wrong().await;
        for ((name, _), (before, after)) in MINDED.iter().zip(before.iter().zip(&after)) {
            let found = published.tested.iter().any(|one| one.name == *name && one.failures > 0);
            let new = after.difference(before).collect::<Vec<_>>();
            if found && after.is_empty() || !found && !new.is_empty() {
                return Err(format!("test {name} has found something: {found}; new and wrong are {new:#?}"));
            }
        }
        Ok(())
    }

    /// The versions that each test minds, of all that there are.
    async fn wrong(&mut self) -> Vec<BTreeSet<String>> {
        let mut wrong = Vec::new();
        for (_, holds) in MINDED {
            let rows = format!(
                "SELECT concat_ws('|', order_key, valid_from, status, note) FROM silver.dim_orders_history
                 WHERE ({holds}) IS FALSE"
            );
            wrong.push(self.texts(&rows).await.into_iter().collect());
        }
        wrong
    }

    /// Looks at the laws, those of `verify` among them; and whether versions that stay have kept their numbers.
    async fn holds(&mut self, when: &str) -> Result<(), String> {
        for (law, sql) in laws() {
            let broken = self.texts(&sql).await;
            if !broken.is_empty() {
                return Err(format!("{when}, not so: {law}\n{broken:#?}"));
            }
        }
        let checks = verify::on(&self.warehouse, &mut self.connection, |_| ())
            .await
            .map_err(|error| format!("{error:?}"))?;
        if let Some(broken) = checks.iter().find(|check| check.broken > 0) {
            return Err(format!(
                "{when}, not so: {} {}\n{:#?}",
                broken.relation, broken.law, broken.findings
            ));
        }
        let rows =
            sqlx::query("SELECT order_key, sys_start::text, surrogate_key FROM silver.dim_orders_hist")
                .fetch_all(&mut self.connection)
                .await
                .unwrap();
        let numbers: BTreeMap<(i32, String), i64> =
            rows.iter().map(|row| ((row.get(0), row.get(1)), row.get(2))).collect();
        for (version, number) in &numbers {
            if self.numbers.get(version).is_some_and(|before| before != number) {
                return Err(format!("{when}, {version:?} has another number: {number}"));
            }
        }
        self.numbers = numbers;
        Ok(())
    }

    /// What is rebuilt has nothing to mend, and mends what somebody broke; numbers stay.
    async fn rebuilt(&mut self) -> Result<(), String> {
        let place = Place {
            source: String::new(),
            warehouse: Server::shared_scratch().unwrap().url(&self.name),
            bronze: None,
            embedded: None,
        };
        let whole = rebuild::rebuild(&self.warehouse, &place, &[], &mut Silent)
            .await
            .map_err(|error| format!("{error:?}"))?;
        if let Some((relation, differed)) = whole.differed.iter().find(|(_, differed)| *differed > 0) {
            return Err(format!("{differed} rows of {relation} were not as they should be"));
        }
        self.execute(
            "BEGIN; SELECT medallion.backfill();
             UPDATE silver.dim_orders_hist SET status = 'broken', batch_id = 'none' WHERE order_key < 2;
             COMMIT",
        )
        .await;
        rebuild::rebuild(&self.warehouse, &place, &[], &mut Silent)
            .await
            .map_err(|error| format!("{error:?}"))?;
        self.holds("after a rebuild").await
    }

    async fn texts(&mut self, sql: &str) -> Vec<String> {
        let rows = sqlx::query(AssertSqlSafe(sql.to_owned()))
            .fetch_all(&mut self.connection)
            .await
            .unwrap_or_else(|error| panic!("{error}\n{sql}"));
        rows.iter().map(|row| row.get(0)).collect()
    }

    async fn end(self) {
        self.connection.close().await.unwrap();
        Server::shared_scratch().unwrap().drop_database(&self.name).unwrap();
    }
}
