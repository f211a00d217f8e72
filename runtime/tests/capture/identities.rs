//! Whatever the source writes of old rows, what lands is whole: values that a change left alone are those of
//! the version before, and a delete has the row that it took.

use medallion_runtime::capture::Point;

use crate::bench::Bench;

const TABLE: &str = "
    CREATE TABLE item (id integer PRIMARY KEY, code text NOT NULL UNIQUE, note text, extra text, n integer);
    ALTER TABLE item ALTER note SET STORAGE EXTERNAL, ALTER extra SET STORAGE EXTERNAL;";

const CAPTURED: &[(&str, &[&str])] = &[("item", &["id"])];

/// A value that is stored out of line.
fn long(digit: usize) -> String {
    format!("repeat('{digit}', 3000)")
}

async fn bench(name: &str, identity: &str) -> Bench {
    let mut bench = Bench::new(name, &format!("{TABLE} {identity}"), CAPTURED).await;
    bench.audit("item", "id").await;
    bench
}

/// Each kind of change that leaves long values alone, in one batch and in batches of their own.
#[tokio::test]
async fn values_left_alone_are_filled_under_every_identity() {
    let identities = [
        ("default", ""),
        ("indexed", "ALTER TABLE item REPLICA IDENTITY USING INDEX item_pkey"),
        ("whole", "ALTER TABLE item REPLICA IDENTITY FULL"),
    ];
    let (one, two) = (long(1), long(2));
    let changes = [
        format!(
            "INSERT INTO item VALUES (1, 'a', {one}, {two}, 1), (2, 'b', {two}, NULL, 1), (3, 'c', NULL, {one}, 1)"
        ),
        "UPDATE item SET n = 2".to_owned(),
        format!("UPDATE item SET n = 3; UPDATE item SET note = {two} WHERE id = 1; UPDATE item SET n = 4"),
        "UPDATE item SET id = id + 10 WHERE id < 3".to_owned(),
        "UPDATE item SET id = id + 10, n = 5; UPDATE item SET id = id + 10; UPDATE item SET n = 6".to_owned(),
        format!(
            "UPDATE item SET extra = {one}; UPDATE item SET id = 1 WHERE code = 'a'; UPDATE item SET n = 7"
        ),
        format!(
            "DELETE FROM item WHERE code = 'a'; INSERT INTO item VALUES (1, 'a', {one}, {one}, 1); UPDATE item SET n = 8"
        ),
        "DELETE FROM item WHERE code = 'a'".to_owned(),
        "TRUNCATE item".to_owned(),
        format!(
            "INSERT INTO item VALUES (1, 'a', {two}, 'short', 1); UPDATE item SET n = 9; DELETE FROM item"
        ),
    ];
    for (name, identity) in identities {
        let mut at_once = bench(&format!("once_{name}"), identity).await;
        let mut each = bench(&format!("each_{name}"), identity).await;
        at_once.capture().await;
        each.capture().await;
        for change in &changes {
            at_once.on_source(&format!("BEGIN; {change}; COMMIT")).await;
            each.on_source(change).await;
            let captured = each.capture().await;
            assert!(captured.findings.is_empty(), "{:?}", captured.findings);
            each.assert_once().await;
            each.assert_fold().await;
        }
        at_once.capture().await;
        at_once.assert_once().await;
        at_once.assert_fold().await;
    }
}

/// Any changes of a few keys, in any batches, stopped anywhere, while somebody lands by hand what rows were before.
#[tokio::test]
async fn any_changes_in_any_batches_land_whole() {
    let mut bench = bench("any_batches", "").await;
    bench.capture().await;
    let mut state = 7_u64;
    let mut roll = move |sides: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % sides
    };
    for round in 0..40 {
        let mut sql = String::new();
        for _ in 0..=roll(12) {
            let (id, other, digit) = (roll(5), roll(5), roll(10) as usize);
            sql.push_str(&match roll(9) {
                0 | 1 => format!(
                    "INSERT INTO item VALUES ({id}, gen_random_uuid()::text, {}, {}, 0) ON CONFLICT DO NOTHING;",
                    long(digit),
                    long(digit + 1)
                ),
                2 => format!("UPDATE item SET note = {} WHERE id = {id};", long(digit)),
                3 => format!("UPDATE item SET extra = NULL WHERE id = {id};"),
                4 => format!("UPDATE item SET id = {other} WHERE id = {id} AND NOT EXISTS (SELECT FROM item WHERE id = {other});"),
                5 => format!("DELETE FROM item WHERE id = {id};"),
                6 if roll(4) == 0 => "TRUNCATE item;".to_owned(),
                7 => "BEGIN; UPDATE item SET n = n + 1; UPDATE item SET n = n * 2; COMMIT;".to_owned(),
                _ => format!("UPDATE item SET n = n + 1 WHERE id = {id};"),
            });
        }
        bench.on_source(&sql).await;
        if roll(2) == 0 {
            bench.land_late("item", roll(5) as i64, "{\"note\": \"late\", \"extra\": \"late\"}").await;
        }
        match roll(5) {
            0 => bench.capture_until(Point::BatchCopied).await,
            1 => bench.capture_until(Point::BatchLanded).await,
            2 => drop(bench.capture().await),
            _ => {}
        }
        if round % 10 == 9 {
            bench.capture().await;
            bench.assert_once().await;
            bench.assert_fold().await;
        }
    }
}

/// Partitions write what their own identity says, and the stream says what their table's is.
#[tokio::test]
async fn a_new_partition_with_less_identity_than_its_table_lands_whole() {
    let sql = "
        CREATE TABLE item (id integer PRIMARY KEY, note text, n integer) PARTITION BY RANGE (id);
        CREATE TABLE item_low PARTITION OF item FOR VALUES FROM (0) TO (10);
        ALTER TABLE item REPLICA IDENTITY FULL;
        ALTER TABLE item_low REPLICA IDENTITY FULL";
    let mut bench = Bench::new("new_leaf", sql, CAPTURED).await;
    bench.audit("item", "id").await;
    bench.capture().await;
    let one = long(1);
    bench
        .on_source(&format!(
            "CREATE TABLE item_high PARTITION OF item FOR VALUES FROM (10) TO (20);
            ALTER TABLE item_high ALTER note SET STORAGE EXTERNAL;
            INSERT INTO item SELECT n, {one}, 1 FROM generate_series(8, 13) AS n;
            UPDATE item SET n = 2"
        ))
        .await;
    bench.capture().await;
    for change in [
        "UPDATE item SET id = 19 WHERE id = 10",
        "UPDATE item SET id = 5 WHERE id = 11",
        "UPDATE item SET id = 18 WHERE id = 8",
        "DELETE FROM item WHERE id IN (9, 12)",
        "UPDATE item SET note = NULL, n = NULL WHERE id = 13",
        "DELETE FROM item WHERE id = 13",
        "DELETE FROM item",
    ] {
        bench.on_source(change).await;
    }
    bench.capture().await;
    bench.assert_once().await;
    bench.assert_fold().await;
}

/// A long value that came to be by a rewrite of the table has never been told.
#[tokio::test]
async fn a_value_that_was_never_told_is_an_error_with_table_and_position() {
    let mut bench = bench("never_told", "").await;
    bench.on_source(&format!("INSERT INTO item VALUES (1, 'a', {}, NULL, 1)", long(1))).await;
    bench.capture().await;
    bench
        .on_source(
            "CREATE FUNCTION noise() RETURNS text LANGUAGE sql AS
                $$SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 200)$$;
            ALTER TABLE item ADD late text DEFAULT noise()",
        )
        .await;
    bench.on_source("UPDATE item SET n = 2").await;
    let error = bench.error().await;
    for part in ["the transaction at ", "row {\"id\": 1} of `public.item`", "REPLICA IDENTITY FULL"] {
        assert!(error.contains(part), "`{part}` in {error}");
    }
    let landed: i64 = bench.target_value("SELECT count(*) FROM bronze.item").await;
    assert_eq!(landed, 1);
}

/// Versions before are found by an index, which is made when the first is looked for.
#[tokio::test]
async fn versions_before_are_found_by_an_index() {
    let mut bench = bench("indexed_versions", "").await;
    bench
        .on_source(&format!(
            "INSERT INTO item SELECT n, n::text, {}, NULL, 0 FROM generate_series(1, 3000) AS n",
            long(1)
        ))
        .await;
    bench.capture().await;
    let index = "SELECT to_regclass('bronze.item_version_idx') IS NOT NULL";
    assert!(!bench.target_value::<bool>(index).await, "nobody has asked");
    bench.on_source("UPDATE item SET n = 1").await;
    bench.capture().await;
    assert!(bench.target_value::<bool>(index).await);
    bench.on_target("SELECT pg_stat_reset()").await;
    bench.on_source("DELETE FROM item WHERE id % 1000 = 0").await;
    bench.capture().await;
    bench.assert_fold().await;
    let scans: i64 = bench
        .target_value(
            "SELECT count(*) FROM bronze.item WHERE op = 'D' AND full_row ->> 'note' = repeat('1', 3000)",
        )
        .await;
    assert_eq!(scans, 3);
}

/// What was erased fills no row any more: such changes are set aside, those that are whole land, and the rest of
/// the table never waits.
#[tokio::test]
async fn changes_that_lack_what_was_erased_are_set_aside() {
    let mut bench = bench("erased", "").await;
    bench.capture().await;
    let (one, two) = (long(1), long(2));
    bench
        .on_source(&format!(
            "INSERT INTO item VALUES (1, 'a', {one}, 'x', 1), (2, 'b', {one}, 'x', 1), (3, 'c', {one}, 'x', 1)"
        ))
        .await;
    bench.capture().await;
    bench
        .on_target(
            "DELETE FROM bronze.item WHERE full_row ->> 'id' IN ('1', '2');
            INSERT INTO medallion.erasure (relation, salt, key_hash, landing, landed_hashes, gone)
            SELECT 'silver.item', 'salt', '', 'bronze.item', array_agg(encode(sha256(convert_to('salt' || key, 'UTF8')), 'hex')), '{}'
            FROM unnest(ARRAY['[1]', '[2]']) AS key",
        )
        .await;
    let finding = |rows: i32| {
        vec![format!(
            "changes of `public.item` that do not tell all of a row, of which the rest was erased, are kept in \
             `medallion.quarantine` and not in `bronze.item`: {rows}"
        )]
    };
    bench.on_source("UPDATE item SET n = 2").await;
    assert_eq!(bench.capture().await.findings, finding(2));
    // A changed key takes along that the rest is not known; one that is gone needs nothing.
    bench.on_source("UPDATE item SET id = 4 WHERE id = 1; DELETE FROM item WHERE id = 2").await;
    assert_eq!(bench.capture().await.findings, finding(3));
    bench.on_source("UPDATE item SET n = 3; UPDATE item SET n = 4 WHERE id = 3").await;
    assert_eq!(bench.capture().await.findings, finding(1));
    // What tells all of a row makes it known again, as does another row of the same key.
    bench
        .on_source(&format!(
            "UPDATE item SET note = {two} WHERE id = 4; INSERT INTO item VALUES (2, 'd', {two})"
        ))
        .await;
    bench.on_source("UPDATE item SET n = 5").await;
    assert_eq!(bench.capture().await.findings, [""; 0]);
    bench.assert_fold().await;
    bench.on_source("DELETE FROM item WHERE id = 4").await;
    assert_eq!(bench.capture().await.findings, [""; 0]);
    bench.assert_fold().await;
}
