//! The warehouse held against its laws, on the sample and its traffic: clean as it is; whatever the owner
//! damages is found and named, and a rebuild brings back exactly what stood there.

use medallion_runtime::connection::Database;
use medallion_runtime::progress::Silent;
use medallion_runtime::verify::Check;
use medallion_runtime::{rebuild, script, verify};
use medallion_server::Server;

use crate::support::{Shop, compare};

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
