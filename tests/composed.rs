//! The law of columns that are computed of others, those that are looked up among them, on a real server: after any
//! traffic, in any split, late or not, every version and every state, past ones too, has the value that its own columns
//! give; and it is what computing all of it anew says.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

#[path = "evolution/descriptor.rs"]
mod descriptor;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use medallion::cli::read;
use medallion::emit::{self, Workspace};
use medallion::model;
use medallion::plan::lock::Lock;
use medallion_runtime::connection::{self, Database};
use medallion_runtime::descriptor::Warehouse;
use medallion_runtime::place::Place;
use medallion_runtime::progress::Silent;
use medallion_runtime::{apply, rebuild, verify};
use medallion_server::Server;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _};

/// What holds, each with a query for what breaks it.
const LAWS: &[(&str, &str)] = &[
    (
        "a label is made of the name and the town of its version",
        "SELECT one::text FROM silver.dim_customer_hist AS one
         WHERE label IS DISTINCT FROM name || ' of ' || town
         OR memo IS DISTINCT FROM coalesce(note, '') || coalesce(town, '')",
    ),
    (
        "what a sale has off is made of its state",
        "SELECT one::text FROM silver.fact_sale AS one
         WHERE off IS DISTINCT FROM CASE WHEN is_bulk THEN pieces * rebate END",
    ),
    (
        "so it was in each earlier state",
        "SELECT one::text FROM medallion.fact_sale_history AS one
         WHERE off IS DISTINCT FROM CASE WHEN is_bulk THEN pieces * rebate END",
    ),
    (
        "what is looked up of a sale is what it has",
        "SELECT refund::text FROM silver.fact_refund AS refund
         LEFT JOIN silver.fact_sale AS sale USING (sale_id)
         WHERE refund.off IS DISTINCT FROM sale.off
         OR refund.off_each IS DISTINCT FROM round(sale.off / nullif(sale.pieces, 0), 4)",
    ),
    (
        "what a sale says of its customer is what the customer said then",
        "SELECT sale::text FROM silver.fact_sale AS sale
         WHERE sold_to IS NOT NULL
         AND NOT EXISTS (
             SELECT FROM silver.dim_customer_hist AS version
             WHERE version.customer_id = sale.customer_id AND version.label = sale.sold_to
         )",
    ),
];

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
    let one = |of: &[&'static str]| prop::sample::select(of.to_vec());
    let op = || prop::sample::select(vec!['I', 'U', 'U', 'U', 'D']);
    let town = (op(), 1..3, one(&["null", "\"Ulm\"", "\"Bonn\""]), one(&["null", "0.5", "1.25"])).prop_map(
        |(op, id, called, rebate)| {
            let row = format!("{{\"town_id\": {id}, \"called\": {called}, \"rebate\": {rebate}}}");
            ("medallion.lookup_town_cdc", op, row)
        },
    );
    let names = one(&["null", "\"Ann\"", "\"Bo\""]);
    let customer = (op(), 0..3, names, one(&["null", "1", "2"]), one(&["null", "\"x\"", "\"y\""])).prop_map(
        |(op, id, name, town, note)| {
            let row =
                format!("{{\"customer_id\": {id}, \"name\": {name}, \"town_id\": {town}, \"note\": {note}}}");
            ("bronze.br_customer", op, row)
        },
    );
    let sale = (op(), 0..5, 0..20, 0..3, 8..12).prop_map(|(op, id, second, customer, pieces)| {
        let row = format!(
            "{{\"sale_id\": {id}, \"sold_at\": \"2025-06-01T00:00:{second:02}+00:00\", \
             \"customer_id\": {customer}, \"pieces\": {pieces}}}"
        );
        ("bronze.br_sale", op, row)
    });
    let refund = (op(), 0..3, 0..5).prop_map(|(op, id, sale)| {
        let row = format!(
            "{{\"refund_id\": {id}, \"given_at\": \"2025-06-02T00:00:00+00:00\", \"sale_id\": {sale}}}"
        );
        ("bronze.br_refund", op, row)
    });
    let late = prop_oneof![8 => Just(0), 1 => 1..5_u8];
    (prop_oneof![3 => town, 3 => customer, 3 => sale, 1 => refund], late)
        .prop_map(|((landing, op, row), late)| Change { landing, op, row, late })
}

fn transactions() -> impl Strategy<Value = Vec<Transaction>> {
    let transaction = (prop::collection::vec(change(), 1..6), prop::bool::weighted(0.6))
        .prop_map(|(changes, applied)| Transaction { changes, applied });
    prop::collection::vec(transaction, 4..16)
}

#[test]
fn what_is_computed_is_so_of_every_version() {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|count| count.parse().ok());
    let config = Config {
        cases: cases.unwrap_or(5),
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

#[tokio::test]
async fn what_cannot_be_computed_says_what_to_do() {
    let mut shop = Shop::new().await;
    let change = |landing, row: &str| Change { landing, op: 'I', row: row.to_owned(), late: 0 };
    let customer = change("bronze.br_customer", "{\"customer_id\": 1, \"town_id\": 1}");
    let town = change("medallion.lookup_town_cdc", "{\"town_id\": 1, \"rebate\": 99.99}");
    let sold = "{\"sale_id\": 1, \"sold_at\": \"2025-06-01T00:00:05+00:00\", \"customer_id\": 1, \"pieces\": 2000000000}";
    let sale = change("bronze.br_sale", sold);
    for (seq, change) in [customer, town, sale].iter().enumerate() {
        shop.execute(&landed(change, 0, seq)).await;
    }
    let refused = shop.apply().await.expect_err("two hundred thousand million do not fit");
    assert!(refused.contains("cannot apply changes to `silver.fact_sale`"), "{refused}");
    assert!(refused.contains("let the `expr` say what becomes of such a row"), "{refused}");
    shop.end().await;
}

fn landed(change: &Change, at: usize, seq: usize) -> String {
    format!(
        "INSERT INTO {} (lsn, op, full_row, commit_ts, seq) VALUES ({at}0, '{}', '{}',
            timestamptz '2025-06-01 00:00:00.5+00' + {at} * interval '1 second', {seq})",
        change.landing, change.op, change.row,
    )
}

/// A warehouse of its own.
struct Shop {
    name: String,
    warehouse: Warehouse,
    connection: PgConnection,
}

impl Shop {
    async fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name = format!("composed_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let files = read::warehouse(Path::new("tests/cases/generate/composed")).unwrap();
        let model = model::load(&files).unwrap();
        let workspace = Workspace { warehouses: vec![model.name.clone()], default: None };
        let emitted = emit::emit(&model, &workspace);
        let lock = Lock::read(emitted.get("migration/src/composed/lock.toml").unwrap()).unwrap();
        let up = emitted.get("migration/src/composed/m000001_baseline/up.sql").unwrap();
        let server = Server::shared_scratch().unwrap();
        server.ensure_database(&name).unwrap();
        let mut connection = connection::connect(Database::Warehouse, &server.url(&name)).await.unwrap();
        let hash = &lock.objects_hash;
        let known = format!(
            "CREATE SCHEMA IF NOT EXISTS medallion;\n{up}\nSET TimeZone = 'UTC'; SET DateStyle = 'ISO';
             SELECT '{hash}'"
        );
        connection.execute(AssertSqlSafe(known)).await.unwrap();
        let warehouse = descriptor::warehouse(&model, &lock, &name);
        Self { name, warehouse, connection }
    }

    async fn execute(&mut self, sql: &str) {
        self.connection.execute(AssertSqlSafe(sql.to_owned())).await.unwrap();
    }

    async fn apply(&mut self) -> Result<(), String> {
        let mut transaction = self.connection.begin().await.unwrap();
        let applied = apply::apply(&self.warehouse, &mut transaction, |_| ()).await;
        applied.map_err(|error| format!("{error:#?} {error}"))?;
        transaction.commit().await.unwrap();
        Ok(())
    }

    /// Looks at the laws, those of `verify` among them.
    async fn holds(&mut self, when: &str) -> Result<(), String> {
        for (law, sql) in LAWS {
            let rows = sqlx::query(*sql).fetch_all(&mut self.connection).await.unwrap();
            let broken: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
            if !broken.is_empty() {
                return Err(format!("{when}, not so: {law}\n{broken:#?}"));
            }
        }
        let checks = verify::on(&self.warehouse, &mut self.connection, |_| ()).await;
        let checks = checks.map_err(|error| format!("{error:?}"))?;
        match checks.iter().find(|check| check.broken > 0) {
            Some(broken) => {
                Err(format!("{when}, not so: {} {}\n{:#?}", broken.relation, broken.law, broken.findings))
            }
            None => Ok(()),
        }
    }

    /// What is rebuilt has nothing to mend.
    async fn rebuilt(&mut self) -> Result<(), String> {
        let place = Place {
            source: String::new(),
            warehouse: Server::shared_scratch().unwrap().url(&self.name),
            bronze: None,
            embedded: None,
        };
        let whole = rebuild::rebuild(&self.warehouse, &place, &[], &mut Silent).await;
        let whole = whole.map_err(|error| format!("{error:?}"))?;
        if let Some((relation, differed)) = whole.differed.iter().find(|(_, differed)| *differed > 0) {
            return Err(format!("{differed} rows of {relation} were not as they should be"));
        }
        self.holds("after a rebuild").await
    }

    async fn end(self) {
        self.connection.close().await.unwrap();
        Server::shared_scratch().unwrap().drop_database(&self.name).unwrap();
    }
}
