//! The warehouse held against its laws, on the sample and its traffic: clean as it is; whatever the owner
//! damages is found and named, and a rebuild brings back exactly what stood there.

use medallion_runtime::capture::{self, Point};
use medallion_runtime::connection::{self, Database};
use medallion_runtime::descriptor::{Name, Source};
use medallion_runtime::error::Error;
use medallion_runtime::progress::Silent;
use medallion_runtime::verify::Check;
use medallion_runtime::{apply, rebuild, refresh, script, verify};
use medallion_server::Server;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use crate::support::{Shop, compare, staff};

/// What the owner does to a relation, the law that it breaks, and how its finding ends.
const DAMAGES: [(&str, &str, &str, &str); 8] = [
    (
        "temporal_silver.dim_customer_hist",
        "UPDATE temporal_silver.dim_customer_hist SET last_name = 'Tampered'
        WHERE customer_id = 7 AND sys_end = 'infinity'",
        "is the fold of what landed and was written",
        "and should be",
    ),
    (
        "temporal_silver.dim_customer_hist",
        "DELETE FROM temporal_silver.dim_customer_hist WHERE customer_id = 8",
        "is the fold of what landed and was written",
        "is missing",
    ),
    (
        "temporal_silver.dim_film_hist",
        "UPDATE temporal_silver.dim_film_hist SET sys_start = sys_start - interval '1 day' WHERE film_id = 9",
        "is the fold of what landed and was written",
        "is missing",
    ),
    (
        "temporal_silver.dim_film_hist",
        "INSERT INTO temporal_silver.dim_film_hist
        SELECT (jsonb_populate_record(film, '{\"sys_start\": \"2020-01-01\", \"sys_end\": \"2100-01-01\"}')).*
        FROM temporal_silver.dim_film_hist AS film WHERE film_id = 10 AND sys_end = 'infinity'",
        "has disjoint periods",
        "2100-01-01 00:00:00+00",
    ),
    (
        "temporal_silver.fact_rental",
        "DELETE FROM temporal_silver.fact_rental WHERE rental_id = 100",
        "is the fold of what landed and was written",
        "is missing",
    ),
    (
        "temporal_silver.fact_rental",
        "DELETE FROM medallion.fact_rental_history WHERE rental_id % 2 = 0",
        "is the fold of what landed and was written",
        "is missing",
    ),
    (
        "temporal_silver.fact_payment",
        "UPDATE temporal_silver.fact_payment SET amount = amount + 1 WHERE payment_id = 100",
        "is the fold of what landed and was written",
        "and should be",
    ),
    (
        "simple_gold.vw_monthly_revenue",
        "UPDATE simple_gold.vw_monthly_revenue SET revenue = 0 WHERE month = '2025-03-01' AND store_id = 1",
        "equals its definition",
        "and should be",
    ),
];

#[tokio::test]
async fn what_is_damaged_is_found_named_and_mended() {
    let mut shop = Shop::open(Server::shared_scratch().unwrap(), "verified").await;
    let sample = shop.descriptor.scripts.sample.expect("Pagila brings a sample");
    script::execute(Database::Source, &shop.place.source, "sample.sql", sample).await.unwrap();
    shop.migrate().await;
    shop.run().await;
    let traffic = shop.descriptor.scripts.traffic.expect("Pagila brings traffic");
    compare::execute(&mut shop.source, traffic).await;
    shop.run().await;
    assert_eq!(broken(&shop).await, [""; 0]);

    let before = everything(&mut shop).await;
    for (relation, damage, law, ending) in DAMAGES {
        compare::execute(
            &mut shop.warehouse,
            &format!("BEGIN; SELECT medallion.backfill(); {damage}; COMMIT"),
        )
        .await;
        let found = checks(&shop).await;
        let check = found.iter().find(|check| check.relation == relation && check.law == law);
        let check = check.unwrap_or_else(|| panic!("{damage}: there is no such check"));
        assert!(check.broken > 0, "{damage}: not found");
        let lines: Vec<String> = check.findings.iter().map(ToString::to_string).collect();
        assert!(lines.iter().any(|line| line.contains(ending)), "{damage}: {lines:#?}");

        let outcome = rebuild::rebuild(&shop.descriptor, &shop.place, &[relation.to_owned()], &mut Silent)
            .await
            .unwrap();
        assert!(
            outcome.differed.iter().any(|(name, rows)| name.to_string() == relation && *rows > 0),
            "{damage}"
        );
        assert_eq!(broken(&shop).await, [""; 0], "{damage}");
        let after = everything(&mut shop).await;
        for ((table, before), (_, after)) in before.iter().zip(&after) {
            assert_eq!(compare::difference(table, before, after), None, "{damage}");
        }
    }

    let outcome = rebuild::rebuild(&shop.descriptor, &shop.place, &[], &mut Silent).await.unwrap();
    assert!(outcome.differed.iter().all(|(_, rows)| *rows == 0), "{outcome:?}");
    let error =
        rebuild::rebuild(&shop.descriptor, &shop.place, &["dim_custmer".to_owned()], &mut Silent).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("did you mean `dim_customer`?"), "{error}");
}

/// Changes that somebody lands late repair the versions among which they belong.
#[tokio::test]
async fn what_lands_late_is_repaired_by_the_next_run() {
    let mut shop = Shop::open(Server::shared_scratch().unwrap(), "late_landing").await;
    let sample = shop.descriptor.scripts.sample.expect("Pagila brings a sample");
    script::execute(Database::Source, &shop.place.source, "sample.sql", sample).await.unwrap();
    shop.migrate().await;
    shop.run().await;
    let late = "INSERT INTO cdc_bronze.br_customer_cdc (lsn, op, full_row, commit_ts, seq)
        SELECT lsn, 'U', full_row || '{\"last_name\": \"Between\"}', commit_ts, 1000000
        FROM cdc_bronze.br_customer_cdc WHERE full_row ->> 'customer_id' = '5' ORDER BY lsn LIMIT 1";
    compare::execute(&mut shop.warehouse, late).await;
    let outcome = shop.run().await;
    assert!(outcome.applied.iter().any(|one| one.relation.table == "dim_customer_hist"), "{outcome:?}");
    let versions = "SELECT count(*) FROM temporal_silver.dim_customer_hist
        WHERE customer_id = 5 AND last_name = 'Between'";
    assert_eq!(compare::value(&mut shop.warehouse, versions).await, "1");
    assert_eq!(broken(&shop).await, [""; 0]);
    let outcome = shop.run().await;
    assert!(outcome.is_empty(), "{outcome:?}");

    // What is later than all, at a position that has long been passed, and then a change of the source before it.
    let ahead = "INSERT INTO cdc_bronze.br_customer_cdc (lsn, op, full_row, commit_ts, seq)
        SELECT lsn, 'U', full_row || '{\"last_name\": \"Ahead\"}', now() + interval '1 hour', 1000001
        FROM cdc_bronze.br_customer_cdc WHERE full_row ->> 'customer_id' = '5' ORDER BY lsn LIMIT 1";
    compare::execute(&mut shop.warehouse, ahead).await;
    shop.run().await;
    shop.change("UPDATE customer SET last_name = 'Before' WHERE customer_id = 5").await;
    shop.run().await;
    let names = "SELECT string_agg(last_name, ' ' ORDER BY sys_start) FROM (
        SELECT * FROM temporal_silver.dim_customer_hist WHERE customer_id = 5 ORDER BY sys_start DESC LIMIT 2
    ) AS latest";
    assert_eq!(compare::value(&mut shop.warehouse, names).await, "Before Ahead");
    assert_eq!(broken(&shop).await, [""; 0]);
}

/// Somebody lands a later position by hand, and it is applied, while a batch is on its way that has looked at the
/// watermark already: what the batch lands is found below it all the same.
#[tokio::test]
async fn a_batch_that_is_passed_on_its_way_is_applied_by_the_next_run() {
    let mut shop = Shop::open(Server::shared_scratch().unwrap(), "passed").await;
    let sample = shop.descriptor.scripts.sample.expect("Pagila brings a sample");
    script::execute(Database::Source, &shop.place.source, "sample.sql", sample).await.unwrap();
    shop.migrate().await;
    shop.run().await;
    let level =
        "SELECT count(*) FROM medallion.watermark WHERE lsn <> streamed_lsn OR system_time <> streamed_time";
    assert_eq!(compare::value(&mut shop.warehouse, level).await, "0");

    shop.change("UPDATE customer SET last_name = 'Streamed' WHERE customer_id IN (5, 6)").await;
    let mut target = connection::connect(Database::Warehouse, &shop.place.warehouse).await.unwrap();
    let mut hook =
        Passed { url: shop.place.warehouse.clone(), source: shop.descriptor.source.clone(), times: 0 };
    let captured =
        capture::capture(&shop.descriptor, &shop.place.source, &mut target, &mut hook).await.unwrap();
    assert_eq!((captured.rows(), hook.times), (2, 1));
    let waits = checks(&shop).await;
    assert!(waits.iter().all(|check| check.broken == 0), "{waits:#?}");
    assert!(waits.iter().any(|check| check.waits.is_some()), "{waits:#?}");

    let outcome = shop.run().await;
    assert!(outcome.applied.iter().any(|one| one.relation.table == "dim_customer_hist"), "{outcome:?}");
    let names = "SELECT customer_id, last_name FROM temporal_silver.dim_customer WHERE customer_id IN (5, 6)";
    assert_eq!(compare::rows(&mut shop.warehouse, names).await, ["5\tByHand", "6\tStreamed"]);
    let versions = "SELECT count(*) FROM temporal_silver.dim_customer_hist
        WHERE customer_id = 5 AND last_name = 'Streamed'";
    assert_eq!(compare::value(&mut shop.warehouse, versions).await, "1");
    assert_eq!(broken(&shop).await, [""; 0]);
    let outcome = shop.run().await;
    assert!(outcome.is_empty(), "{outcome:?}");
}

/// Lands a row above the stream's position and publishes it, when a batch has been copied and not committed.
struct Passed {
    url: String,
    source: Source,
    times: usize,
}

impl capture::Progress for Passed {
    fn landed(&mut self, _: &Name, _: u64) {}

    fn note(&mut self, _: &str) {}

    fn reached(&mut self, point: Point) -> Result<(), Error> {
        if point != Point::BatchCopied || self.times > 0 {
            return Ok(());
        }
        self.times += 1;
        let (url, source) = (self.url.clone(), self.source.clone());
        let publishing = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(publish_later_row(&url, source));
        });
        publishing.join().unwrap();
        Ok(())
    }
}

async fn publish_later_row(url: &str, source: Source) {
    let mut session = connection::connect(Database::Warehouse, url).await.unwrap();
    let row = "INSERT INTO cdc_bronze.br_customer_cdc (lsn, op, full_row, commit_ts, seq)
        SELECT (pg_current_wal_lsn() - '0/0')::bigint * 2, 'U', full_row || '{\"last_name\": \"ByHand\"}', clock_timestamp(), 1
        FROM cdc_bronze.br_customer_cdc WHERE full_row ->> 'customer_id' = '5' ORDER BY lsn DESC LIMIT 1";
    compare::execute(&mut session, row).await;
    let mut descriptor = warehouse::pagila::warehouse();
    descriptor.source = source;
    let mut transaction = session.begin().await.unwrap();
    apply::hold(&descriptor, &mut transaction).await.unwrap();
    let applied = apply::apply(&descriptor, &mut transaction, |_| ()).await.unwrap();
    refresh::refresh(&descriptor, &applied, &mut transaction, |_| ()).await.unwrap();
    transaction.commit().await.unwrap();
}

/// Only the owner can switch a guard off, and it shows until it is on again.
#[tokio::test]
async fn a_guard_that_is_switched_off_is_found() {
    let mut shop = Shop::open(Server::shared_scratch().unwrap(), "guarded").await;
    shop.migrate().await;
    for (table, trigger) in [
        ("cdc_bronze.br_rental_cdc", "refuse_change"),
        ("temporal_silver.dim_customer_hist", "keep_history"),
        ("medallion.fact_rental_history", "keep_history"),
    ] {
        let alter = |how: &str| format!("ALTER TABLE {table} {how} TRIGGER {trigger}");
        for (how, fires) in [("DISABLE", "never"), ("ENABLE", "unless the session silences it")] {
            compare::execute(&mut shop.warehouse, &alter(how)).await;
            let found = broken(&shop).await;
            assert!(
                matches!(found.as_slice(), [one] if one.contains(trigger) && one.contains(fires)),
                "{found:?}"
            );
        }
        compare::execute(&mut shop.warehouse, &alter("ENABLE ALWAYS")).await;
        assert_eq!(broken(&shop).await, [""; 0]);
    }
    compare::execute(&mut shop.warehouse, "DROP TRIGGER refuse_change ON cdc_bronze.br_rental_cdc").await;
    let found = broken(&shop).await;
    assert!(matches!(found.as_slice(), [one] if one.contains("refuse_change")), "{found:?}");
    // A superuser has migrated, so that what was done by hand is on record too.
    let switches = "SELECT relation, guards, switched_by = session_user, why IS NULL FROM medallion.guard_switch ORDER BY switch_id";
    assert_eq!(
        compare::copy(&mut shop.warehouse, switches).await,
        [
            "cdc_bronze.br_rental_cdc\toff\tt\tt",
            "cdc_bronze.br_rental_cdc\ton\tt\tt",
            "temporal_silver.dim_customer_hist\toff\tt\tt",
            "temporal_silver.dim_customer_hist\ton\tt\tt",
            "medallion.fact_rental_history\toff\tt\tt",
            "medallion.fact_rental_history\ton\tt\tt",
            "cdc_bronze.br_rental_cdc\toff\tt\tt",
        ]
    );
}

/// An owner who is no superuser leaves word of it, or verify says that there is none.
#[tokio::test]
async fn guards_are_switched_for_a_reason_that_stays_on_record() {
    let (mut shop, loader, _) = staff::open("switched").await;
    let owner = loader.replace("switched_load", "switched_owner");
    let mut session = connection::connect(Database::Warehouse, &owner).await.unwrap();
    let switch = |state: &str, why: &str| {
        format!("SELECT medallion.switch_guards('temporal_silver.dim_customer_hist', '{state}', '{why}')")
    };
    compare::execute(&mut session, &switch("off", "a column is copied")).await;
    let found = broken(&shop).await;
    let [one] = found.as_slice() else { panic!("{found:?}") };
    for said in ["keep_history", "never", "switched off by `switched_owner` at ", ", for: a column is copied"]
    {
        assert!(one.contains(said), "{said}: {one}");
    }
    compare::execute(&mut session, &switch("on", "it is done")).await;
    assert_eq!(broken(&shop).await, [""; 0]);
    let by_hand = "ALTER TABLE temporal_silver.dim_customer_hist DISABLE TRIGGER keep_history";
    compare::execute(&mut session, by_hand).await;
    let found = broken(&shop).await;
    assert!(matches!(found.as_slice(), [one] if one.contains("\"record\": String(\"none\")")), "{found:?}");

    let switches = "SELECT guards, switched_by, why FROM medallion.guard_switch ORDER BY switch_id";
    assert_eq!(
        compare::copy(&mut shop.warehouse, switches).await,
        ["off\tswitched_owner\ta column is copied", "on\tswitched_owner\tit is done"]
    );
    for (sql, code) in [
        (switch("off", ""), "22023"),
        (switch("away", "no reason"), "22023"),
        ("SELECT medallion.switch_guards('medallion.watermark', 'off', 'why not')".to_owned(), "22023"),
    ] {
        assert_eq!(refused(&mut session, &sql).await, code, "{sql}");
    }
    let mut session = connection::connect(Database::Warehouse, &loader).await.unwrap();
    for sql in [&switch("off", "no owner"), by_hand, "DELETE FROM medallion.guard_switch"] {
        assert_eq!(refused(&mut session, sql).await, "42501", "{sql}");
    }
}

/// The code with which a statement fails.
async fn refused(session: &mut PgConnection, sql: &str) -> String {
    let error = session.execute(AssertSqlSafe(sql.to_owned())).await.expect_err(sql);
    error.as_database_error().and_then(|error| error.code()).unwrap().into_owned()
}

async fn checks(shop: &Shop) -> Vec<Check> {
    verify::verify(&shop.descriptor, &shop.place, |_| ()).await.unwrap()
}

/// What does not hold.
async fn broken(shop: &Shop) -> Vec<String> {
    let checks = checks(shop).await;
    assert!(checks.iter().all(|check| check.waits.is_none()), "nothing waits");
    let broken = checks.iter().filter(|check| check.broken > 0);
    broken.map(|check| format!("{} {}: {:?}", check.relation, check.law, check.findings)).collect()
}

/// The rows of silver and gold, by table.
async fn everything(shop: &mut Shop) -> Vec<(String, Vec<String>)> {
    let mut tables: Vec<String> = shop.descriptor.silver.iter().map(|one| one.table.to_string()).collect();
    tables.extend(["medallion.fact_rental_history", "medallion.fact_payment_history"].map(str::to_owned));
    tables.extend(["simple_gold.vw_monthly_revenue", "simple_gold.vw_top_titles"].map(str::to_owned));
    let mut all = Vec::new();
    for table in tables {
        let sql = format!("SELECT * FROM {table}");
        let rows = compare::rows(&mut shop.warehouse, &sql).await;
        all.push((table, rows));
    }
    all
}
