//! wal2json lands the rows that PostgreSQL's own plugin lands, but for its limits. A server that lacks the plugin, or
//! does not allow it, is told of on standard error and passed by.

use std::io::Write as _;

use medallion_runtime::capture::Point;
use medallion_runtime::descriptor::Plugin;

use crate::bench::Bench;

const TABLES: &str = "
    CREATE TYPE mood AS ENUM ('sad', 'quite \"ok\"');
    CREATE TABLE item (
        id integer PRIMARY KEY, name text, n numeric, f double precision, flag boolean, at timestamptz, day date,
        blob bytea, tags text[], doc jsonb, raw json, mood mood, long text, twice integer GENERATED ALWAYS AS (id * 2) STORED
    );
    ALTER TABLE item ALTER long SET STORAGE EXTERNAL;
    CREATE TABLE whole (a integer, b text, PRIMARY KEY (a, b));
    ALTER TABLE whole REPLICA IDENTITY FULL;
    CREATE TABLE sale (id integer, shop integer, note text, PRIMARY KEY (id, shop)) PARTITION BY LIST (shop);
    CREATE TABLE sale_1 PARTITION OF sale FOR VALUES IN (1);
    CREATE TABLE sale_2 PARTITION OF sale FOR VALUES IN (2);
    CREATE TABLE beside (id integer PRIMARY KEY)";

const CAPTURED: &[(&str, &[&str])] = &[("item", &["id"]), ("whole", &["a", "b"]), ("sale", &["id", "shop"])];

/// Two captures of one source: by each plugin. None where the server has only its own.
async fn benches(name: &str) -> Option<(Bench, Bench)> {
    let own = Bench::new(name, TABLES, CAPTURED).await;
    let mut other = own.beside(&format!("{name}_too"), CAPTURED).await;
    other.warehouse.source.plugin = Plugin::Wal2json;
    match other.try_capture().await {
        Ok(_) => Some((own, other)),
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains("cannot create replication slot"), "{text}");
            let _ = writeln!(
                std::io::stderr(),
                "PASSED BY, the server has no wal2json or does not allow it: {text}"
            );
            None
        }
    }
}

/// All that has landed of a table, in order, without what differs between two captures of it.
async fn landed(bench: &mut Bench, table: &str) -> Vec<String> {
    bench
        .target_value(&format!(
            "SELECT coalesce(array_agg(concat_ws(' ', lsn, seq, op, commit_ts, full_row::text) ORDER BY lsn, seq), '{{}}')
            FROM bronze.{table}
            WHERE lsn > (SELECT max(lsn) FROM medallion.captured_table)"
        ))
        .await
}

#[tokio::test]
async fn both_plugins_land_the_same_rows() {
    let Some((mut own, mut other)) = benches("plugins").await else { return };
    own.capture().await;
    let changes = [
        "INSERT INTO item (id, name, n, f, flag, at, day, blob, tags, doc, raw, mood, long) VALUES
            (1, e'a \"b\" \\\\ \\n \\u00e9 \\U0001F600', 12345678901234567890.1230, 0.1, true, '2023-01-02 03:04:05.6+00',
                '2023-01-02', '\\x00ff', '{a,\"b,c\",NULL}', '{\"b\": 1.10, \"a\": [null]}', '{\"b\":  1.10}', 'quite \"ok\"',
                repeat('long', 2000)),
            (2, NULL, -1e-7, 1e300, false, '0044-03-15 12:00:00+00 BC', 'infinity', '', '{}', 'null', '[]', 'sad', NULL)",
        "BEGIN; UPDATE item SET name = 'left alone' WHERE id = 1; UPDATE item SET id = 3 WHERE id = 2;
            DELETE FROM item WHERE id = 3; SAVEPOINT s; DELETE FROM item; ROLLBACK TO s; COMMIT",
        "INSERT INTO whole VALUES (1, 'a'), (2, 'b'); UPDATE whole SET b = 'c' WHERE a = 1; DELETE FROM whole WHERE a = 2",
        "INSERT INTO sale VALUES (1, 1, 'one'), (2, 2, 'two'); UPDATE sale SET shop = 2 WHERE id = 1;
            UPDATE sale SET note = NULL; DELETE FROM sale WHERE id = 2",
        "INSERT INTO beside VALUES (1); TRUNCATE whole, item; INSERT INTO whole VALUES (9, 'last')",
        "TRUNCATE sale; INSERT INTO sale VALUES (5, 2, 'again')",
        "ALTER TABLE whole ADD added text; INSERT INTO whole VALUES (10, 'x', 'y'); UPDATE whole SET added = 'z'",
    ];
    for sql in changes {
        own.on_source(sql).await;
        own.capture().await;
        other.capture().await;
    }
    for table in ["item", "whole", "sale"] {
        let (ours, theirs) = (landed(&mut own, table).await, landed(&mut other, table).await);
        assert!(ours.len() >= 5, "{table}: {ours:?}");
        assert_eq!(theirs, ours, "{table}");
    }
    other.assert_fold().await;
}

#[tokio::test]
async fn stopped_at_any_point_the_other_plugin_loses_and_doubles_nothing() {
    let Some((_, mut other)) = benches("plugins_killed").await else { return };
    other.audit("sale", "id").await;
    for (round, point) in
        [Point::BatchCopied, Point::BatchLanded, Point::SlotAdvanced].into_iter().enumerate()
    {
        let id = round * 10;
        other
            .on_source(&format!(
                "INSERT INTO sale SELECT n, 1 + n % 2, 'a' FROM generate_series({id}, {id} + 9) AS n;
                UPDATE sale SET note = 'b' WHERE id % 3 = 0; DELETE FROM sale WHERE id = {id} + 1"
            ))
            .await;
        other.capture_until(point).await;
    }
    other.capture().await;
    other.assert_once().await;
    other.assert_fold().await;
}

/// Another word in the spec: the slot is the other plugin's, and a resnapshot makes it anew.
#[tokio::test]
async fn another_plugin_in_the_spec_begins_with_a_slot_of_its_own() {
    let Some((_, mut other)) = benches("plugins_changed").await else { return };
    other.on_source("INSERT INTO whole VALUES (1, 'a')").await;
    other.warehouse.source.plugin = Plugin::Pgoutput;
    let error = other.error().await;
    assert!(error.contains("is one of plugin `wal2json`, and the spec says `pgoutput`"), "{error}");
    other.resnapshot().await;
    other.on_source("INSERT INTO whole VALUES (2, 'b')").await;
    assert_eq!(other.capture().await.rows(), 1);
    other.assert_fold().await;
}
