//! The law of FOR SYSTEM_TIME, over random histories and times: on a dimension it says what the generated
//! function says, on a fact what schema `as_of` says, and of periods what a list of intervals says.

use std::cell::RefCell;

use medallion_runtime::answer::{self, Format, Printer, Settings};
use medallion_runtime::connection::{self, Database};
use medallion_runtime::descriptor::{Name, Silver, SilverKind, Unit, Warehouse};
use medallion_server::Server;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use sqlx::{AssertSqlSafe, Executor as _, PgConnection};

const DIMENSION: &str = include_str!(
    "../../../tests/cases/generate/system_versioning/expected/migration/src/system_versioning/m000001_baseline/up.sql"
);
const FACTS: &str = include_str!(
    "../../../tests/cases/generate/facts_meet_at_a_grain/expected/migration/src/facts_meet_at_a_grain/m000001_baseline/up.sql"
);

/// The end of what lasts.
const FOREVER: i64 = i64::MAX;

/// Minutes at which versions begin and end: each key's are closed until the last, which may last.
type Draw = Vec<(Vec<(i64, i64)>, bool)>;

/// A version: its key, and from when until when it counts.
type Version = (usize, i64, i64);

#[test]
fn for_system_time_says_what_the_functions_the_views_and_a_model_say() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let sessions =
        RefCell::new(runtime.block_on(async {
            [open("law_of_dimensions", DIMENSION).await, open("law_of_facts", FACTS).await]
        }));
    let versions = prop::collection::vec((1..4_i64, 0..3_i64), 0..5);
    let draw = prop::collection::vec((versions, any::<bool>()), 1..4);
    let time = || prop_oneof![8 => -1..20_i64, 1 => Just(FOREVER), 1 => Just(i64::MIN)];
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(40);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    TestRunner::new(config)
        .run(&(draw, time(), time()), |(draw, first, second)| {
            let [dimension, fact] = &mut *sessions.borrow_mut();
            runtime.block_on(check(&draw, first, second, dimension, fact)).map_err(TestCaseError::fail)
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

async fn open(name: &str, objects: &'static str) -> PgConnection {
    let server = Server::shared_scratch().unwrap();
    server.ensure_database(name).unwrap();
    let mut connection = connection::connect(Database::Warehouse, &server.url(name)).await.unwrap();
    connection.execute(objects).await.unwrap();
    connection
}

async fn check(
    draw: &Draw,
    first: i64,
    second: i64,
    dimension: &mut PgConnection,
    fact: &mut PgConnection,
) -> Result<(), String> {
    let versions = versions(draw);
    write_dimension(&versions, dimension).await;
    write_fact(&versions, fact).await;
    let (from, to) = (time(first), time(second));
    // Infinity means now.
    let now = |time: i64| if time == FOREVER { FOREVER - 1 } else { time };
    let is_of = |time: i64| move |version: &Version| version.1 <= now(time) && now(time) < version.2;
    let overlaps =
        |until: i64| move |version: &Version| first <= second && version.1 <= until && version.2 > now(first);
    let within = |version: &Version| version.1 >= first && version.2 <= second;
    let before = second.saturating_sub(1);
    let expected: [(String, Vec<Version>); 5] = [
        (format!("AS OF {from}"), kept(&versions, is_of(first))),
        (format!("BETWEEN {from} AND {to}"), kept(&versions, overlaps(second))),
        (
            format!("FROM {from} TO {to}"),
            kept(&versions, |version| first < second && overlaps(before)(version)),
        ),
        (format!("CONTAINED IN ({from}, {to})"), kept(&versions, within)),
        ("ALL".to_owned(), versions.clone()),
    ];
    for (period, versions) in &expected {
        let rows = shown(versions);
        for table in ["dim_customer_hist", "dim_customer"] {
            let sql =
                format!("SELECT customer_id || ':' || name FROM {table} FOR SYSTEM_TIME {period} ORDER BY 1");
            same(&sql, &rows, &csv(&dimensions(), dimension, &sql).await?)?;
        }
        let sql = format!(
            "SELECT order_id || ':' || shop FROM silver.fact_order AS o FOR SYSTEM_TIME {period} ORDER BY 1"
        );
        same(&sql, &rows, &csv(&facts(), fact, &sql).await?)?;
    }
    let rows = shown(&expected[0].1);
    let function = format!("SELECT customer_id || ':' || name FROM dim_customer_as_of({from}) ORDER BY 1");
    same(&function, &rows, &csv(&dimensions(), dimension, &function).await?)?;
    let settings = Settings { as_of: Some(from.trim_matches('\'').to_owned()), ..Settings::default() };
    let view = "SELECT order_id || ':' || shop FROM fact_order ORDER BY 1";
    same(view, &rows, &super::answers::csv(&facts(), fact, view, &settings).await?)
}

fn versions(draw: &Draw) -> Vec<Version> {
    let mut versions = Vec::new();
    for (key, (lengths, lasts)) in draw.iter().enumerate() {
        let mut start = 0;
        for (index, (length, gap)) in lengths.iter().enumerate() {
            let end = if *lasts && index + 1 == lengths.len() { FOREVER } else { start + length };
            versions.push((key, start, end));
            start = end.saturating_add(*gap);
        }
    }
    versions
}

fn kept(versions: &[Version], keep: impl Fn(&Version) -> bool) -> Vec<Version> {
    versions.iter().filter(|version| keep(version)).copied().collect()
}

fn shown(versions: &[Version]) -> String {
    let mut rows: Vec<String> =
        versions.iter().map(|(key, start, _)| format!("{key}:v{start:02}\n")).collect();
    rows.sort();
    rows.concat()
}

fn same(sql: &str, expected: &str, found: &str) -> Result<(), String> {
    if expected == found { Ok(()) } else { Err(format!("{sql}\nexpected\n{expected}\nfound\n{found}")) }
}

fn time(minute: i64) -> String {
    match minute {
        FOREVER => "'infinity'".to_owned(),
        i64::MIN => "'-infinity'".to_owned(),
        minute => {
            format!("'2024-01-01 {:02}:{:02}:00+00'", 10 + minute.div_euclid(60), minute.rem_euclid(60))
        }
    }
}

async fn write_dimension(versions: &[Version], connection: &mut PgConnection) {
    let mut sql = "BEGIN; SELECT medallion.backfill(); DELETE FROM silver.dim_customer_hist;".to_owned();
    for (key, start, end) in versions {
        let (from, to) = (time(*start), time(*end));
        sql.push_str(&format!(
            "INSERT INTO silver.dim_customer_hist (region, customer_id, name, row_hash, sys_start, sys_end) \
             VALUES ('r', {key}, 'v{start:02}', '\\x{start:02}', {from}, {to});"
        ));
    }
    write(connection, &format!("{sql} COMMIT")).await;
}

async fn write_fact(versions: &[Version], connection: &mut PgConnection) {
    let mut sql = "BEGIN; SELECT medallion.backfill(); DELETE FROM silver.fact_order; \
        DELETE FROM medallion.fact_order_history;"
        .to_owned();
    for (key, start, end) in versions {
        let (from, to) = (time(*start), time(*end));
        let row = format!("{key}, '2024-01-01', 'v{start:02}', 1, true, {from}");
        sql.push_str(&match *end {
            FOREVER => format!("INSERT INTO silver.fact_order VALUES ({row});"),
            _ => format!("INSERT INTO medallion.fact_order_history VALUES ({row}, {to});"),
        });
    }
    write(connection, &format!("{sql} COMMIT")).await;
}

async fn write(connection: &mut PgConnection, sql: &str) {
    connection.execute("SET default_transaction_read_only = off").await.unwrap();
    connection.execute(AssertSqlSafe(sql.to_owned())).await.unwrap_or_else(|error| panic!("{sql}\n{error}"));
}

async fn csv(warehouse: &Warehouse, connection: &mut PgConnection, sql: &str) -> Result<String, String> {
    super::answers::csv(warehouse, connection, sql, &Settings::default()).await
}

/// The warehouse of the case `system_versioning`, as far as it is asked.
pub fn dimensions() -> Warehouse {
    let mut warehouse = super::empty("system_versioning", "UTC", vec!["silver", "gold"]);
    let columns = ["region", "customer_id", "name", "born", "credit", "weight", "seen", "note"];
    warehouse.silver = vec![Silver {
        kind: SilverKind::Dimension {
            current: Name::new("silver", "dim_customer"),
            row_hash: "row_hash".to_owned(),
            start: "sys_start".to_owned(),
            end: "sys_end".to_owned(),
            journal: None,
            closed: None,
            surrogate: None,
        },
        ..super::silver("silver", "dim_customer_hist", &columns)
    }];
    warehouse
}

/// The warehouse of the case `facts_meet_at_a_grain`, as far as it is asked.
pub fn facts() -> Warehouse {
    let mut warehouse = super::empty("facts_meet_at_a_grain", "Europe/Berlin", vec!["silver", "gold"]);
    warehouse.silver = vec![Silver {
        kind: SilverKind::Fact {
            snapshot: "snapshot_ts".to_owned(),
            archive: Name::new("medallion", "fact_order_history"),
            partition_by: "ordered_at".to_owned(),
            partition_every: Unit::Month,
        },
        ..super::silver("silver", "fact_order", &["order_id", "ordered_at", "shop", "amount", "express"])
    }];
    warehouse
}

/// Every index serves: neither a subquery nor a function stands between the question and the table.
#[tokio::test]
async fn the_planner_sees_through() {
    let mut connection = open("law_of_plans", DIMENSION).await;
    connection
        .execute(
            "BEGIN; SELECT medallion.backfill();
            INSERT INTO silver.dim_customer_hist (region, customer_id, name, row_hash, sys_start, sys_end)
            SELECT 'r', key, 'v', '\\x', timestamptz '2024-01-01' + make_interval(days => version),
                CASE version WHEN 9 THEN 'infinity' ELSE timestamptz '2024-01-02' + make_interval(days => version) END
            FROM generate_series(1, 2000) AS key, generate_series(0, 9) AS version;
            COMMIT;
            ANALYZE silver.dim_customer_hist",
        )
        .await
        .unwrap();
    let warehouse = dimensions();
    for (table, period) in [
        ("dim_customer_hist", "AS OF '2024-01-05'"),
        ("dim_customer", "AS OF '2024-01-05'"),
        ("dim_customer", "AS OF now() - interval '1 day'"),
        ("dim_customer_hist", "BETWEEN '2024-01-05' AND '2024-01-07'"),
        ("dim_customer", "FROM '2024-01-05' TO now()"),
        ("dim_customer_hist", "ALL"),
        ("dim_customer", "AS OF (SELECT max(sys_start) FROM dim_customer)"),
    ] {
        let sql = format!(
            "EXPLAIN (COSTS OFF) SELECT name FROM {table} FOR SYSTEM_TIME {period} AS c \
             WHERE c.region = 'r' AND c.customer_id = 42"
        );
        let mut out = Vec::new();
        let mut printer = Printer::new(Format::Csv, None, &mut out);
        answer::ask(&warehouse, &mut connection, &sql, &Settings::default(), &mut printer).await.unwrap();
        let plan = String::from_utf8(out).unwrap();
        let is_seen = plan.contains("dim_customer_hist_pkey") && plan.contains("customer_id = 42");
        assert!(is_seen, "{sql}\n{plan}");
        assert!(!plan.contains("Subquery Scan") && !plan.contains("Function Scan"), "{sql}\n{plan}");
    }
    let temporal = "EXPLAIN (COSTS OFF) SELECT c.name FROM (VALUES (1, timestamptz '2024-01-05')) AS e (id, at) \
        LEFT JOIN dim_customer FOR SYSTEM_TIME AS OF e.at AS c ON c.region = 'r' AND c.customer_id = e.id";
    let plan = csv(&warehouse, &mut connection, temporal).await.unwrap();
    assert!(plan.contains("dim_customer_hist_pkey"), "{plan}");
}
