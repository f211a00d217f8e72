//! What cannot be captured is refused, with the way out: never a gap, never another's slot.

use medallion_runtime::descriptor::{Landing, Name};

use crate::bench::{Bench, run};
use medallion_runtime::capture;
use medallion_runtime::connection::{self, Database};

const TABLES: &str = "
    CREATE TABLE item (id integer PRIMARY KEY, name text);
    ALTER TABLE item REPLICA IDENTITY FULL;
    INSERT INTO item VALUES (1, 'a')";

const CAPTURED: &[(&str, &[&str])] = &[("item", &["id"])];

fn assert_says(error: &str, parts: &[&str]) {
    for part in parts {
        assert!(error.contains(part), "`{part}` in: {error}");
    }
}

#[tokio::test]
async fn a_slot_that_is_gone_is_a_gap() {
    let mut bench = Bench::new("gone", TABLES, CAPTURED).await;
    bench.capture().await;
    bench.on_source("SELECT pg_drop_replication_slot('bench_gone'); INSERT INTO item VALUES (2, 'b')").await;
    assert_says(&bench.error().await, &["`bench_gone` is gone", "medallion source resnapshot"]);
    bench.on_source("SELECT pg_create_logical_replication_slot('bench_gone', 'pgoutput')").await;
    assert_says(&bench.error().await, &["is confirmed to", "medallion source resnapshot"]);
}

#[tokio::test]
async fn a_slot_that_somebody_else_advanced_is_a_gap() {
    let mut bench = Bench::new("advanced", TABLES, CAPTURED).await;
    bench.capture().await;
    bench
        .on_source(
            "INSERT INTO item VALUES (2, 'b');
            SELECT pg_replication_slot_advance('bench_advanced', pg_current_wal_lsn())",
        )
        .await;
    assert_says(
        &bench.error().await,
        &["is confirmed to", "those between are gone", "medallion source resnapshot"],
    );
    let landed: i64 = bench.target_value("SELECT count(*) FROM bronze.item").await;
    assert_eq!(landed, 1);
}

#[tokio::test]
async fn a_slot_of_somebody_else_is_left_alone() {
    let mut bench = Bench::new("foreign", TABLES, CAPTURED).await;
    bench.on_source("SELECT pg_create_logical_replication_slot('bench_foreign', 'pgoutput')").await;
    assert_says(&bench.error().await, &["this warehouse has not made it", "pg_drop_replication_slot"]);
    let slots: i64 = bench
        .source_value("SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'bench_foreign'")
        .await;
    assert_eq!(slots, 1);
}

#[tokio::test]
async fn another_system_or_database_is_refused() {
    let mut bench = Bench::new("moved", TABLES, CAPTURED).await;
    bench.capture().await;
    bench.on_target("UPDATE medallion.source_position SET database = 'elsewhere'").await;
    assert_says(&bench.error().await, &["the one captured so far is `elsewhere`", "SOURCE_DATABASE_URL"]);
    bench.on_target("UPDATE medallion.source_position SET system_identifier = '1'").await;
    assert_says(&bench.error().await, &["another server", "(system 1)"]);
}

#[tokio::test]
async fn what_a_source_lacks_is_said_at_once() {
    let mut bench = Bench::new("lacking", TABLES, CAPTURED).await;
    for table in ["lost", "also_lost"] {
        bench.warehouse.landings.push(Landing::new(
            Name::new("bronze", table),
            Name::new("public", table),
            ["id"],
        ));
    }
    let error = bench.error().await;
    assert_says(&error, &["no table `public.lost`", "no table `public.also_lost`"]);

    bench.warehouse.landings.truncate(1);
    for (identity, says) in [
        ("REPLICA IDENTITY NOTHING", "writes nothing of old rows"),
        (
            "DROP CONSTRAINT item_pkey, ADD UNIQUE (id), REPLICA IDENTITY DEFAULT",
            "writes nothing of old rows",
        ),
        (
            "ADD code text NOT NULL DEFAULT 'a' UNIQUE, REPLICA IDENTITY USING INDEX item_code_key",
            "writes only `code` of old rows to the log, and the key of `bronze.item` is `id`",
        ),
    ] {
        bench
            .on_source(&format!(
                "ALTER TABLE item {}",
                identity.replace("UNIQUE, ", "UNIQUE; ALTER TABLE item ")
            ))
            .await;
        assert_says(&bench.error().await, &[says, "ALTER TABLE \"public\".\"item\" REPLICA IDENTITY FULL;"]);
    }

    bench.on_source("ALTER TABLE item REPLICA IDENTITY FULL").await;
    bench.warehouse.landings[0].key = vec!["number".to_owned()];
    assert_says(&bench.error().await, &["publishes no column `number`"]);
}

#[tokio::test]
async fn identities_of_partitions_count() {
    let sql = "
        CREATE TABLE item (id integer, code text NOT NULL, PRIMARY KEY (id)) PARTITION BY RANGE (id);
        CREATE TABLE item_low PARTITION OF item FOR VALUES FROM (0) TO (10) PARTITION BY RANGE (id);
        CREATE TABLE item_low_1 PARTITION OF item_low FOR VALUES FROM (0) TO (5);
        CREATE TABLE item_high PARTITION OF item FOR VALUES FROM (10) TO (20);
        CREATE UNIQUE INDEX item_high_code ON item_high (code, id);
        ALTER TABLE item REPLICA IDENTITY FULL;
        ALTER TABLE item_low_1 REPLICA IDENTITY NOTHING;
        ALTER TABLE item_high REPLICA IDENTITY USING INDEX item_high_code";
    let mut bench = Bench::new("leaves", sql, CAPTURED).await;
    let error = bench.error().await;
    assert_says(
        &error,
        &[
            "`public.item_low_1` writes nothing of old rows",
            "`public.item_high` writes only `id`, `code` of old rows to the log, and `public.item`, whose partition it is, says whole rows",
            "ALTER TABLE \"public\".\"item_low_1\" REPLICA IDENTITY FULL;",
        ],
    );
    assert!(!error.contains("\"item_low\" "), "{error}");
    bench
        .on_source(
            "ALTER TABLE item_low_1 REPLICA IDENTITY DEFAULT; ALTER TABLE item_high REPLICA IDENTITY FULL",
        )
        .await;
    bench.capture().await;
}

#[tokio::test]
async fn a_publication_that_lacks_something_is_refused() {
    let mut bench = Bench::new("published", TABLES, CAPTURED).await;
    bench.on_source("CREATE PUBLICATION bench WITH (publish = 'insert')").await;
    let error = bench.error().await;
    assert_says(
        &error,
        &[
            "ALTER PUBLICATION \"bench\" SET (publish = 'insert, update, delete, truncate');",
            "ALTER PUBLICATION \"bench\" ADD TABLE ONLY \"public\".\"item\";",
        ],
    );
    bench
        .on_source(
            "ALTER PUBLICATION bench SET (publish = 'insert, update, delete, truncate');
            ALTER PUBLICATION bench ADD TABLE item WHERE (id > 3)",
        )
        .await;
    assert_says(&bench.error().await, &["only some rows of `public.item`"]);
    bench.on_source("ALTER PUBLICATION bench SET TABLE item").await;
    bench.capture().await;
    bench.assert_fold().await;
    bench.on_source("DROP PUBLICATION bench").await;
    assert_says(&bench.error().await, &["publication `bench` is gone", "medallion source resnapshot"]);
}

#[tokio::test]
async fn a_role_that_may_not_is_told_what_it_lacks() {
    let mut bench = Bench::new("role", TABLES, CAPTURED).await;
    bench.on_source("CREATE ROLE capture_reader LOGIN").await;
    bench.source_url = bench.source_url.replace("user=medallion", "user=capture_reader");
    let error = bench.error().await;
    assert_says(&error, &["may not replicate", "ALTER ROLE \"capture_reader\" REPLICATION;"]);
    bench.on_source("ALTER ROLE capture_reader REPLICATION").await;
    assert_says(&bench.error().await, &["GRANT SELECT ON \"public\".\"item\" TO \"capture_reader\";"]);
    bench.on_source("GRANT SELECT ON item TO capture_reader").await;
    assert_says(&bench.error().await, &["let the owner of the tables run: CREATE PUBLICATION \"bench\""]);
    bench.on_source("CREATE PUBLICATION bench FOR TABLE item").await;
    bench.capture().await;
    bench.on_source("UPDATE item SET name = 'b'").await;
    bench.capture().await;
    bench.assert_fold().await;
}

#[tokio::test]
async fn rows_without_a_position_are_refused() {
    let mut bench = Bench::new("orphans", TABLES, CAPTURED).await;
    bench.on_target("INSERT INTO bronze.item VALUES (1, 'I', '{}', now(), now(), 1)").await;
    assert_says(&bench.error().await, &["`bronze.item` holds changes", "medallion source resnapshot"]);
}

#[tokio::test]
async fn within_a_transaction_nothing_begins() {
    let bench = Bench::new("within", TABLES, CAPTURED).await;
    let mut target = connection::connect(Database::Warehouse, &bench.target_url).await.expect("connected");
    run(&mut target, "BEGIN; CREATE TABLE mine ()").await;
    let error = capture::capture(&bench.warehouse, &bench.source_url, &mut target, &mut crate::bench::Quiet)
        .await
        .expect_err("refused");
    assert_says(&error.to_string(), &["within a transaction"]);
}

#[tokio::test]
async fn a_recorded_log_above_the_slot_is_refused() {
    let mut bench = Bench::new("high", TABLES, CAPTURED).await;
    bench
        .on_source(
            "CREATE TABLE change_log (position bigint, seq bigint, committed_at timestamptz, relation text,
                op char(1), full_row jsonb);
            INSERT INTO change_log VALUES (1::bigint << 60, 1, now(), 'item', 'I', '{\"id\": 1}')",
        )
        .await;
    bench.warehouse.source.recorded_log = Some(Name::new("public", "change_log"));
    assert_says(&bench.error().await, &["at or above the slot's start", "number its transactions from 1"]);
    bench.on_source("TRUNCATE change_log").await;
    bench.capture().await;
    bench.assert_fold().await;
}
