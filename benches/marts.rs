//! Measures the refresh of stored marts against `REFRESH MATERIALIZED VIEW CONCURRENTLY` of the same definitions, by
//! turns in one run: 100 changed rows of a fact, 7,200 groups; one mart of sums, one with a distinct count. Each is
//! refreshed as `run` does, on a session of its own, and as `watch` does, on one that has done so before. At each of the
//! numbers of rows that `BENCH_ROWS` lists, so that it shows how the cost grows with them; few unless it says more. At
//! 10,000,000 it fails where a mart of sums takes a 200th of the other's time either way, or the other mart a tenth.
//! `make bench-marts` runs it, on a scratch server.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a measurement that fails says so by panicking")]

#[path = "../tests/evolution/descriptor.rs"]
mod descriptor;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use medallion::emit::{self, Workspace};
use medallion::finding::SourceText;
use medallion::model;
use medallion::plan::lock::Lock;
use medallion::spec::Files;
use medallion_runtime::connection::{self, Database};
use medallion_runtime::descriptor::Warehouse;
use medallion_runtime::refresh::Refreshed;
use medallion_runtime::staging::Staging;
use medallion_runtime::{apply, refresh};
use medallion_server::Server;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

/// How often each is measured.
const RUNS: usize = 7;
/// How many rows change each time.
const CHANGED: usize = 100;
/// From so many rows on the ratios are held to.
const LARGE: u64 = 10_000_000;

/// The marts, and what part of the other's time each may take.
const MARTS: [(&str, f64); 2] = [("by_sum", 200.0), ("by_distinct", 10.0)];

const SPEC: &str = r#"
[warehouse]
name = "bench"
time_zone = "UTC"

[schemas]
bronze = "bronze"
silver = "silver"
gold = "gold"

[source]
capture = "logical"

[[landing]]
name = "br_sale"
from = "sale"
key = ["sale_id"]

[[fact]]
name = "fact_sale"
from = "br_sale"
key = ["sale_id"]
partition = { by = "sold_at", every = "month" }
columns = [
    { name = "sale_id", type = "bigint" },
    { name = "sold_at", type = "timestamptz" },
    { name = "shop_id", type = "integer" },
    { name = "customer_id", type = "integer" },
    { name = "amount", type = "numeric(10,2)" },
]

[[mart]]
name = "by_sum"
storage = "incremental"
from = { sale = "fact_sale" }
grain = [
    { name = "shop_id", of = "sale.shop_id" },
    { name = "month", of = "sale.sold_at", cut = "month" },
]
measures = [
    { name = "revenue", type = "numeric(16,2)", expr = "sum(amount)" },
    { name = "sales", expr = "count(*)" },
]

[[mart]]
name = "by_distinct"
storage = "incremental"
from = { sale = "fact_sale" }
grain = [
    { name = "shop_id", of = "sale.shop_id" },
    { name = "month", of = "sale.sold_at", cut = "month" },
]
measures = [
    { name = "revenue", type = "numeric(16,2)", expr = "sum(amount)" },
    { name = "customers", expr = "count(DISTINCT customer_id)" },
]
"#;

/// The months of two years, and the rows of a sale by its number: 300 shops, so 7,200 groups.
const ROWS: &str = "
    DO $$
    BEGIN
        FOR month IN 0..23 LOOP
            EXECUTE format('CREATE TABLE silver.fact_sale_m%s PARTITION OF silver.fact_sale FOR VALUES FROM (%L) TO (%L)',
                month, timestamptz '2024-01-01 00:00+00' + month * interval '1 month',
                timestamptz '2024-01-01 00:00+00' + (month + 1) * interval '1 month');
        END LOOP;
    END
    $$;
    INSERT INTO silver.fact_sale (sale_id, sold_at, shop_id, customer_id, amount, snapshot_ts)
    SELECT sale, timestamptz '2024-01-01 00:00+00' + (sale * 7 % 24) * interval '1 month' + sale % 27 * interval '1 day',
        sale / 24 % 300, sale * 7919 % 100000, (sale % 1000) / 4.0, '2024-01-01'
    FROM generate_series(1::bigint, {rows}) AS sale;
    INSERT INTO gold.by_sum SELECT * FROM medallion.by_sum_definition;
    INSERT INTO gold.by_distinct SELECT * FROM medallion.by_distinct_definition;
    CREATE MATERIALIZED VIEW gold.by_sum_view AS SELECT * FROM medallion.by_sum_definition;
    CREATE UNIQUE INDEX ON gold.by_sum_view (shop_id, month);
    CREATE MATERIALIZED VIEW gold.by_distinct_view AS SELECT * FROM medallion.by_distinct_definition;
    CREATE UNIQUE INDEX ON gold.by_distinct_view (shop_id, month)";

/// Sales far from each other get another amount and another customer.
const CHANGES: &str = "
    INSERT INTO bronze.br_sale (lsn, op, full_row, commit_ts, seq)
    SELECT {run}0, 'U', to_jsonb(changed), timestamptz '2026-01-01 00:00+00' + {run} * interval '1 second', changed.sale_id
    FROM (
        SELECT sale_id, sold_at, shop_id, customer_id + 1 AS customer_id, amount + 0.25 AS amount
        FROM silver.fact_sale
        WHERE sale_id IN (SELECT 1 + (change * 7919::bigint + {run} * 31) % {rows} FROM generate_series(1, {changed}) AS change)
    ) AS changed";

/// How a round sets its transaction up.
const ROUND: &str =
    "SET LOCAL jit = off; SET LOCAL work_mem = '64MB'; SET LOCAL plan_cache_mode = force_generic_plan";

/// On a session of its own, and on one that has done so before.
const WAYS: [&str; 2] = ["run", "watch"];

/// What was measured of a mart each time: its own refresh in each way, then the other's, in seconds.
type Times = Vec<([f64; WAYS.len()], f64)>;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let sizes = std::env::var("BENCH_ROWS").unwrap_or_else(|_| "100000,1000000".to_owned());
    let mut first: BTreeMap<(&str, &str), f64> = BTreeMap::new();
    let mut slow = false;
    for size in sizes.split(',') {
        let rows: u64 = size.trim().parse().expect("BENCH_ROWS lists numbers");
        println!("{rows} rows, {CHANGED} of them changed");
        for ((mart, part), times) in MARTS.iter().zip(measure(rows).await) {
            let other = sorted(times.iter().map(|(_, other)| *other).collect());
            for (place, way) in WAYS.iter().enumerate() {
                let ratios = sorted(times.iter().map(|(own, other)| other / own[place]).collect());
                let own = sorted(times.iter().map(|(own, _)| own[place]).collect());
                let begun = *first.entry((mart, way)).or_insert_with(|| middle(&own));
                println!(
                    "  {mart:<12} {way:<5} {:>8.1} ms to {:>8.1} ms: 1/{:.0} (1/{:.0} to 1/{:.0}); {:.1} times what the first size took",
                    middle(&own) * 1e3,
                    middle(&other) * 1e3,
                    middle(&ratios),
                    ratios[0],
                    ratios[ratios.len() - 1],
                    middle(&own) / begun,
                );
                slow |= rows >= LARGE && middle(&ratios) < *part;
            }
        }
    }
    assert!(!slow, "a refresh takes more than it may");
}

/// For each mart its own refresh and the other's, by turns.
async fn measure(rows: u64) -> [Times; MARTS.len()] {
    let server = Server::scratch().unwrap();
    server.ensure_database("marts").unwrap();
    let mut connection = connection::connect(Database::Warehouse, &server.url("marts")).await.unwrap();
    let warehouse = made(&mut connection).await;
    execute(&ROWS.replace("{rows}", &rows.to_string()), &mut connection).await;
    execute("VACUUM ANALYZE", &mut connection).await;
    let mut times = MARTS.map(|_| Vec::new());
    let mut watching = connection::connect(Database::Warehouse, &server.url("marts")).await.unwrap();
    let kept = Staging::default();
    for run in 1..=RUNS {
        let mut own = [[0.0; WAYS.len()]; MARTS.len()];
        for place in 0..WAYS.len() {
            let number = run * WAYS.len() + place;
            let changes = CHANGES
                .replace("{run}", &number.to_string())
                .replace("{rows}", &rows.to_string())
                .replace("{changed}", &CHANGED.to_string());
            execute(&changes, &mut connection).await;
            execute("DELETE FROM medallion.late_change", &mut connection).await;
            let refreshed = match WAYS[place] {
                "watch" => round(&warehouse, &kept, &mut watching).await,
                _ => {
                    let mut session =
                        connection::connect(Database::Warehouse, &server.url("marts")).await.unwrap();
                    round(&warehouse, &Staging::default(), &mut session).await
                }
            };
            for ((mart, _), own) in MARTS.iter().zip(&mut own) {
                let refreshed = refreshed.iter().find(|one| one.mart.table == *mart).unwrap();
                own[place] = refreshed.elapsed.as_secs_f64();
            }
        }
        for (((mart, _), times), own) in MARTS.iter().zip(&mut times).zip(own) {
            let started = Instant::now();
            execute(&format!("REFRESH MATERIALIZED VIEW CONCURRENTLY gold.{mart}_view"), &mut connection)
                .await;
            // The first time plans and warms.
            if run > 1 {
                times.push((own, Duration::as_secs_f64(&started.elapsed())));
            }
        }
    }
    for (mart, _) in MARTS {
        let sql = format!(
            "DO $$ BEGIN IF EXISTS ((TABLE gold.{mart} EXCEPT TABLE gold.{mart}_view) UNION ALL \
             (TABLE gold.{mart}_view EXCEPT TABLE gold.{mart})) THEN RAISE EXCEPTION '{mart} is wrong'; END IF; END $$"
        );
        execute(&sql, &mut connection).await;
    }
    times
}

/// Applies what has landed and refreshes what follows from it.
async fn round(warehouse: &Warehouse, staging: &Staging, session: &mut PgConnection) -> Vec<Refreshed> {
    let nothing = BTreeSet::new();
    let mut transaction = session.begin().await.unwrap();
    execute(ROUND, &mut transaction).await;
    let applied = apply::apply_in(warehouse, &nothing, staging, &mut transaction, |_| ()).await.unwrap();
    assert_eq!(applied.len(), 1, "one fact changes");
    let refreshed =
        refresh::refresh_in(warehouse, &applied, &nothing, staging, &mut transaction, |_| ()).await.unwrap();
    transaction.commit().await.unwrap();
    refreshed
}

/// The warehouse, migrated.
async fn made(connection: &mut PgConnection) -> Warehouse {
    let files = Files::alone("bench", SourceText::new("spec/bench/spec.toml", SPEC));
    let Ok(model) = model::load(&files) else { panic!("the spec has findings") };
    let workspace = Workspace { warehouses: vec!["bench".to_owned()], default: None };
    let emitted = emit::emit(&model, &workspace);
    let lock = Lock::read(emitted.get("migration/src/bench/lock.toml").unwrap()).unwrap();
    let up = format!("migration/src/bench/{}/up.sql", lock.migrations[0].name);
    execute(&format!("CREATE SCHEMA medallion;\n{}", emitted.get(&up).unwrap()), connection).await;
    descriptor::warehouse(&model, &lock, "bench")
}

async fn execute(sql: &str, connection: &mut PgConnection) {
    connection.execute(AssertSqlSafe(sql.to_owned())).await.unwrap();
}

fn sorted(mut seconds: Vec<f64>) -> Vec<f64> {
    seconds.sort_by(f64::total_cmp);
    seconds
}

fn middle(sorted: &[f64]) -> f64 {
    sorted[sorted.len() / 2]
}
