//! The rules of versioning, a test each.

use crate::support::{Session, Warehouse};

const INTO: &str = "INSERT INTO silver.dim_customer_hist (region, customer_id, name) VALUES";
const UPDATE: &str = "UPDATE silver.dim_customer_hist SET";
const DELETE: &str = "DELETE FROM silver.dim_customer_hist WHERE";
const CURRENT: &str = "sys_end = 'infinity'";

fn insert(key: i64, name: &str) -> String {
    format!("{INTO} ('eu', {key}, '{name}')")
}

fn rename(key: i64, name: &str) -> String {
    format!("{UPDATE} name = '{name}' WHERE customer_id = {key} AND {CURRENT}")
}

fn delete(key: i64) -> String {
    format!("{DELETE} customer_id = {key} AND {CURRENT}")
}

/// Statements as one transaction.
fn together(statements: &[String]) -> String {
    format!("BEGIN; {}; COMMIT", statements.join("; "))
}

#[tokio::test]
async fn several_writes_of_a_transaction_leave_one_version_its_last() {
    let mut session = Session::alone("several").await;
    session.does(&together(&[insert(1, "a"), rename(1, "b"), rename(1, "c")])).await;
    assert_eq!(session.versions().await, "1:c…");
    session.does(&together(&[rename(1, "d"), rename(1, "e"), rename(1, "f")])).await;
    assert_eq!(session.versions().await, "1:c 1:f…");
}

#[tokio::test]
async fn what_comes_and_goes_in_a_transaction_leaves_nothing() {
    let mut session = Session::alone("nothing").await;
    session.does(&together(&[insert(1, "a"), delete(1)])).await;
    session.does(&together(&[insert(1, "a"), rename(1, "b"), delete(1)])).await;
    assert_eq!(session.versions().await, "∅");
    session.does(&insert(1, "a")).await;
    let before = session.ask("SELECT version FROM silver.dim_customer_hist AS version").await;
    session.does(&together(&[rename(1, "b"), rename(1, "a")])).await;
    session.does(&together(&[delete(1), insert(1, "a")])).await;
    session.does(&together(&[delete(1), insert(1, "b"), delete(1), insert(1, "a")])).await;
    session.does(&together(&[format!("{DELETE} {CURRENT}"), insert(1, "a")])).await;
    let after = session.ask("SELECT version FROM silver.dim_customer_hist AS version").await;
    assert_eq!(before, after);
}

#[tokio::test]
async fn delete_then_insert_closes_and_opens_without_a_gap() {
    let mut session = Session::alone("reinsert").await;
    session.does(&insert(1, "a")).await;
    session.does(&together(&[delete(1), insert(1, "b")])).await;
    assert_eq!(session.versions().await, "1:a 1:b…");
    session.does(&delete(1)).await;
    session.does(&insert(1, "b")).await;
    assert_eq!(session.versions().await, "1:a 1:b| 1:b…");
}

#[tokio::test]
async fn truncate_is_refused_and_removes_nothing() {
    let mut session = Session::alone("truncated").await;
    session.does(&insert(1, "a")).await;
    assert_eq!(session.fails("TRUNCATE silver.dim_customer_hist").await, "23001");
    session.does("SET session_replication_role = replica").await;
    assert_eq!(session.fails("TRUNCATE silver.dim_customer_hist CASCADE").await, "23001");
    assert_eq!(session.versions().await, "1:a…");
}

#[tokio::test]
async fn a_change_of_nothing_leaves_no_version_and_any_other_does() {
    let mut session = Session::alone("lossless").await;
    session
        .does(
            "INSERT INTO silver.dim_customer_hist (region, customer_id, name, credit, weight, note) \
             VALUES ('eu', 1, 'a', 1.0, 0, '{\"a\": 1}')",
        )
        .await;
    let mut versions = 1;
    for (change, makes_one) in [
        ("name = 'a', credit = 1.0, weight = 0", false),
        ("credit = 1.00", true),
        ("credit = 'NaN'", true),
        ("credit = 'NaN'", false),
        ("credit = NULL", true),
        ("credit = NULL", false),
        ("weight = '-0'", true),
        ("weight = '-0'", false),
        ("weight = 'NaN'", true),
        ("weight = 'NaN'", false),
        ("name = 'A'", true),
        ("name = ''", true),
        ("name = NULL", true),
        ("name = NULL", false),
        ("note = '{\"a\":1}'", true),
        ("note = '{\"a\":1}'", false),
        ("note = (SELECT to_json(string_agg(md5(n::text), '')) FROM generate_series(1, 2000) AS n)", true),
        ("note = note", false),
        ("born = 'infinity'", true),
        ("born = 'infinity'", false),
        ("born = '0044-03-15 BC'", true),
    ] {
        session.does(&format!("{UPDATE} {change} WHERE {CURRENT}")).await;
        versions += i32::from(makes_one);
        let found = session.ask("SELECT count(*) FROM silver.dim_customer_hist").await;
        assert_eq!(found, [versions.to_string()], "{change}");
    }
}

/// To a collation `a` may equal `A`: an attribute changes nevertheless, and a key stays the same.
#[tokio::test]
async fn letter_case_counts_under_any_collation() {
    let mut session = Warehouse::in_any_case("any_case").await.connect().await;
    session.does(&insert(1, "a")).await;
    let same = session.ask("SELECT count(*) FROM silver.dim_customer WHERE name = 'A' AND region = 'EU'");
    assert_eq!(same.await, ["1"]);
    session.does(&rename(1, "A")).await;
    session.does(&rename(1, "A")).await;
    session.does(&together(&[rename(1, "a"), rename(1, "A")])).await;
    assert_eq!(session.versions().await, "1:a 1:A…");
    session.does(&format!("{UPDATE} region = 'EU' WHERE {CURRENT}")).await;
    assert_eq!(session.versions().await, "1:a 1:A…");
    assert_eq!(session.fails(&insert(1, "b")).await, "23505");
}

/// Values that stand apart from their row go along with every version, read or not.
#[tokio::test]
async fn large_values_are_kept_by_every_version() {
    let mut session = Session::alone("large").await;
    session.does(&insert(1, "a")).await;
    let large = "(SELECT to_json(string_agg(md5(n::text), '')) FROM generate_series(1, 5000) AS n)";
    session.does(&format!("{UPDATE} note = {large} WHERE {CURRENT}")).await;
    session.does(&rename(1, "b")).await;
    session.does(&format!("{UPDATE} seen = now() WHERE {CURRENT}")).await;
    session.does(&format!("{UPDATE} customer_id = 2 WHERE {CURRENT}")).await;
    session.does(&delete(2)).await;
    session.does("VACUUM silver.dim_customer_hist").await;
    let kept = format!(
        "SELECT concat_ws(' ', customer_id, name, note::text = ({large})::text) \
         FROM silver.dim_customer_hist ORDER BY sys_start"
    );
    assert_eq!(session.ask(&kept).await, ["1 a", "1 a t", "1 b t", "2 b t"]);
    let journal = format!(
        "SELECT count(*) FROM medallion.dim_customer_hist_journal WHERE note::text = ({large})::text"
    );
    assert_eq!(session.ask(&journal).await, ["6"]);
}

/// In Berlin the hour from two to three comes twice on 27 October 2024, and not at all on 31 March.
#[tokio::test]
async fn hours_that_come_twice_or_not_at_all_are_times_like_any_other() {
    let mut session = Session::alone("hours").await;
    session
        .does(
            "BEGIN; SELECT medallion.backfill(); \
             INSERT INTO silver.dim_customer_hist (region, customer_id, name, row_hash, sys_start, sys_end) \
             VALUES ('eu', 1, 'a', '', '2024-03-31 00:59:59.999999+00', '2024-03-31 01:00:00+00'), \
             ('eu', 1, 'b', '', '2024-03-31 01:00:00+00', '2024-10-27 00:30:00+00'), \
             ('eu', 1, 'c', '', '2024-10-27 00:30:00+00', '2024-10-27 01:30:00+00'), \
             ('eu', 1, 'd', '', '2024-10-27 01:30:00+00', 'infinity'); COMMIT",
        )
        .await;
    for zone in ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"] {
        session.does(&format!("SET TimeZone = '{zone}'")).await;
        for (time, name) in [
            ("2024-03-31 01:59:59.999999+01", "a"),
            ("2024-03-31 03:00+02", "b"),
            ("2024-10-27 02:29:59+02", "b"),
            ("2024-10-27 02:30+02", "c"),
            ("2024-10-27 02:29:59+01", "c"),
            ("2024-10-27 02:30+01", "d"),
        ] {
            let there = session.ask(&format!("SELECT name FROM silver.dim_customer_as_of('{time}')")).await;
            assert_eq!(there, [name], "{zone}: {time}");
            session.does(&format!("SET medallion.as_of = '{time}'")).await;
            assert_eq!(session.ask("SELECT name FROM as_of.dim_customer").await, [name], "{zone}: {time}");
            session.does("RESET medallion.as_of").await;
        }
    }
}

#[tokio::test]
async fn untracked_attributes_are_updated_in_place() {
    let mut session = Session::alone("in_place").await;
    session.does(&insert(1, "a")).await;
    let start = session.ask("SELECT sys_start FROM silver.dim_customer_hist").await;
    session.does(&format!("{UPDATE} seen = '2024-01-01' WHERE {CURRENT}")).await;
    assert_eq!(session.versions().await, "1:a…");
    assert_eq!(session.ask("SELECT sys_start FROM silver.dim_customer_hist").await, start);
    // What comes back keeps what is new of it.
    session
        .does(&together(&[rename(1, "b"), rename(1, "a").replace("name =", "seen = '2025-01-01', name =")]))
        .await;
    assert_eq!(session.ask("SELECT seen::date FROM silver.dim_customer").await, ["2025-01-01"]);
    assert_eq!(session.ask("SELECT sys_start FROM silver.dim_customer_hist").await, start);
}

#[tokio::test]
async fn a_key_change_closes_the_old_key_and_opens_the_new() {
    let mut session = Session::alone("key").await;
    session.does(&insert(1, "a")).await;
    session.does(&format!("{UPDATE} customer_id = 2 WHERE {CURRENT}")).await;
    assert_eq!(session.versions().await, "1:a| 2:a…");
    session.does(&format!("{INTO} ('eu', 1, 'a')")).await;
    // Keys that change hands within a transaction, to what they were and to another.
    session
        .does(&together(&[
            format!("{UPDATE} customer_id = 9 WHERE customer_id = 1 AND {CURRENT}"),
            format!("{UPDATE} customer_id = 1 WHERE customer_id = 2 AND {CURRENT}"),
            format!("{UPDATE} customer_id = 2, name = 'b' WHERE customer_id = 9 AND {CURRENT}"),
        ]))
        .await;
    assert_eq!(session.versions().await, "1:a| 1:a… 2:a 2:b…");
}

#[tokio::test]
async fn a_transaction_has_one_time() {
    let mut session = Session::alone("stamp").await;
    session
        .does(&together(&[insert(1, "a"), insert(2, "a"), "SELECT pg_sleep(0.01)".into(), insert(3, "a")]))
        .await;
    assert_eq!(session.ask("SELECT count(DISTINCT sys_start) FROM silver.dim_customer_hist").await, ["1"]);
    session
        .does(&together(&[
            rename(1, "b"),
            "SAVEPOINT one".into(),
            rename(2, "b"),
            "RELEASE one; SAVEPOINT two".into(),
            rename(3, "x"),
            "ROLLBACK TO two".into(),
            rename(2, "c"),
            delete(3),
        ]))
        .await;
    assert_eq!(session.versions().await, "1:a 1:b… 2:a 2:c… 3:a|");
    assert_eq!(session.ask("SELECT count(DISTINCT sys_start) FROM silver.dim_customer_hist").await, ["2"]);
}

#[tokio::test]
async fn a_rollback_leaves_nothing_and_a_failed_statement_neither() {
    let mut session = Session::alone("rollback").await;
    session.does(&insert(1, "a")).await;
    session.does(&format!("BEGIN; {}; {}; ROLLBACK", rename(1, "b"), insert(2, "b"))).await;
    session.fails(&format!("{INTO} ('eu', 2, 'b'), ('eu', 1, 'c')")).await;
    session.fails(&format!("{UPDATE} name = 'b', credit = 1 / (customer_id - 1) WHERE {CURRENT}")).await;
    session.does(&format!("BEGIN; SAVEPOINT s; {}; ROLLBACK TO s; COMMIT", rename(1, "b"))).await;
    assert_eq!(session.versions().await, "1:a…");
}

#[tokio::test]
async fn a_transaction_that_began_earlier_comes_later_or_fails() {
    let warehouse = Warehouse::new("earlier").await;
    let (mut early, mut late) = (warehouse.connect().await, warehouse.connect().await);
    late.does(&insert(1, "a")).await;
    // It has written nothing yet: its time is still to come.
    early.does("BEGIN").await;
    late.does(&rename(1, "b")).await;
    early.does(&format!("{}; COMMIT", rename(1, "c"))).await;
    assert_eq!(late.versions().await, "1:a 1:b 1:c…");
    // It has, and what it wants to replace is younger.
    for write in
        [rename(1, "z"), delete(1), format!("{UPDATE} seen = now() WHERE customer_id = 1 AND {CURRENT}")]
    {
        early.does(&format!("BEGIN; {}", insert(7, "x"))).await;
        late.does(&rename(1, "d")).await;
        late.does(&rename(1, "e")).await;
        assert_eq!(early.fails(&write).await, "40001");
        early.does("ROLLBACK").await;
    }
    // A key that was there meanwhile, and that is gone.
    early.does(&format!("BEGIN; {}", insert(7, "x"))).await;
    late.does(&insert(2, "b")).await;
    late.does(&delete(2)).await;
    assert_eq!(early.fails(&insert(2, "c")).await, "40001");
    early.does("ROLLBACK").await;
    // The same where a snapshot hides it, and where it hides only the end.
    early.does(&format!("BEGIN ISOLATION LEVEL REPEATABLE READ; {}", insert(7, "x"))).await;
    late.does(&insert(2, "b")).await;
    late.does(&delete(2)).await;
    assert_eq!(early.fails(&insert(2, "c")).await, "40001");
    early.does("ROLLBACK; BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM silver.dim_customer_hist").await;
    late.does(&delete(1)).await;
    assert_eq!(early.fails(&insert(1, "g")).await, "40001");
    early.does("ROLLBACK").await;
}

/// What began no version counts as well: the last write of a key is the last in its journal.
#[tokio::test]
async fn what_was_written_later_is_not_taken_for_earlier() {
    let warehouse = Warehouse::new("written_later").await;
    let (mut early, mut late) = (warehouse.connect().await, warehouse.connect().await);
    late.does(&insert(1, "a")).await;
    let in_place = format!("{UPDATE} seen = now() WHERE customer_id = 1 AND {CURRENT}");
    let of_nothing = rename(1, "a");
    let come_and_gone = format!("BEGIN; {}; {}; COMMIT", insert(2, "b"), delete(2));
    for (meanwhile, writes) in [
        (&in_place, vec![rename(1, "z"), delete(1), in_place.clone(), of_nothing.clone()]),
        (&of_nothing, vec![rename(1, "z"), delete(1), in_place.clone()]),
        (&come_and_gone, vec![insert(2, "c")]),
    ] {
        for write in writes {
            early.does(&format!("BEGIN; {}", insert(7, "x"))).await;
            late.does(meanwhile).await;
            assert_eq!(early.fails(&write).await, "40001", "{meanwhile}, then {write}");
            early.does("ROLLBACK").await;
            // Another key is nobody's business.
            early.does(&format!("BEGIN; {}", insert(7, "x"))).await;
            late.does(meanwhile).await;
            early.does(&format!("{}; ROLLBACK", insert(8, "y"))).await;
        }
    }
    assert_eq!(late.versions().await, "1:a…");
    let inverted = "SELECT count(*) FROM (SELECT sys_start < lag(sys_start) OVER (PARTITION BY region, customer_id \
                    ORDER BY journal_id) AS is_inverted FROM medallion.dim_customer_hist_journal) AS entry WHERE is_inverted";
    assert_eq!(late.ask(inverted).await, ["0"]);
}

/// Who gives up while it gets a lock at last, on a machine that is busy, must not keep it.
#[tokio::test]
async fn a_writer_that_gives_up_keeps_nobody_waiting() {
    let warehouse = Warehouse::new("gives_up").await;
    let (mut holder, mut writer) = (warehouse.connect().await, warehouse.connect().await);
    let mut other = warehouse.connect().await;
    other.does(&format!("{}; {}", insert(1, "a"), insert(2, "b"))).await;
    let lock = "('medallion.latest_ending'::regclass::oid::bigint)";
    holder.does(&format!("SELECT pg_advisory_lock{lock}")).await;
    let process = writer.ask("SELECT pg_backend_pid()").await.remove(0);
    writer.does("SET statement_timeout = '300ms'").await;
    let waiting = tokio::spawn(async move {
        let code = writer.fails(&delete(1)).await;
        (writer, code)
    });
    let waits = format!("SELECT count(*) FROM pg_locks WHERE NOT granted AND pid = {process}");
    while other.ask(&waits).await == ["0"] {
        tokio::task::yield_now().await;
    }
    signal("STOP", &process);
    // Its time runs out meanwhile, and its lock is free before it knows.
    let has_time = format!(
        "SELECT clock_timestamp() < query_start + interval '400 ms' FROM pg_stat_activity WHERE pid = {process}"
    );
    while other.ask(&has_time).await == ["true"] {
        tokio::task::yield_now().await;
    }
    holder.does(&format!("SELECT pg_advisory_unlock{lock}")).await;
    signal("CONT", &process);
    let (mut writer, code) = waiting.await.unwrap();
    assert_eq!(code, "57014");
    let kept = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()";
    assert_eq!(writer.ask(kept).await, ["0"]);
    other.does(&format!("SET statement_timeout = '1min'; {}", delete(2))).await;
}

fn signal(name: &str, process: &str) {
    let status = std::process::Command::new("kill").args([&format!("-{name}"), process]).status().unwrap();
    assert!(status.success());
}

#[tokio::test]
async fn a_writer_that_waits_comes_after_the_one_it_waited_for() {
    let warehouse = Warehouse::new("waits").await;
    let (mut first, mut second) = (warehouse.connect().await, warehouse.connect().await);
    first.does(&insert(1, "a")).await;
    first.does(&format!("BEGIN; {}", rename(1, "b"))).await;
    let waiting = tokio::spawn(async move {
        second.does(&rename(1, "c")).await;
    });
    let mut watcher = warehouse.connect().await;
    while watcher.ask("SELECT count(*) FROM pg_locks WHERE NOT granted").await == ["0"] {
        tokio::task::yield_now().await;
    }
    first.does("COMMIT").await;
    waiting.await.unwrap();
    assert_eq!(first.versions().await, "1:a 1:b 1:c…");
}

/// Another's version of the very microsecond, as after a clock that was set back: known by who wrote it.
#[tokio::test]
async fn equal_times_of_two_transactions_are_a_conflict() {
    let warehouse = Warehouse::new("equal").await;
    let (mut one, mut other) = (warehouse.connect().await, warehouse.connect().await);
    one.does(&insert(1, "a")).await;
    for write in [rename(1, "c"), delete(1), format!("{UPDATE} seen = now() WHERE {CURRENT}")] {
        one.does("BEGIN").await;
        other.does(&format!("{} RETURNING 1", rename(1, "b"))).await;
        other.does(&rename(1, "a")).await;
        let stamp =
            other.ask("SELECT extract(epoch FROM max(sys_start)) FROM silver.dim_customer_hist").await;
        one.does(&format!("SET LOCAL medallion.stamp = '{}'", stamp[0])).await;
        assert_eq!(one.fails(&write).await, "40001");
        one.does("ROLLBACK").await;
    }
    // A version of the future is what a clock that was set back leaves.
    one.does(
        "BEGIN; SELECT medallion.backfill(); UPDATE silver.dim_customer_hist \
         SET sys_start = now() + interval '1 hour' WHERE sys_end = 'infinity'; COMMIT",
    )
    .await;
    assert_eq!(one.fails(&rename(1, "c")).await, "40001");
    assert_eq!(one.fails(&delete(1)).await, "40001");
}

#[tokio::test]
async fn an_upsert_leaves_no_version_that_never_was() {
    let mut session = Session::alone("upsert").await;
    let upsert = |name: &str, then: &str| {
        format!("{} ON CONFLICT (region, customer_id) WHERE {CURRENT} DO {then}", insert(1, name))
    };
    session.does(&upsert("a", "UPDATE SET name = excluded.name")).await;
    session.does(&upsert("a", "UPDATE SET name = excluded.name")).await;
    session.does(&upsert("b", "NOTHING")).await;
    session.does(&upsert("c", "UPDATE SET name = excluded.name WHERE false")).await;
    assert_eq!(session.versions().await, "1:a…");
    let all = "UPDATE SET name = excluded.name, row_hash = excluded.row_hash, sys_start = excluded.sys_start";
    session.does(&upsert("b", all)).await;
    session.does(&together(&[upsert("c", all), upsert("d", all)])).await;
    assert_eq!(session.versions().await, "1:a 1:b 1:d…");
    session.does(&format!("{} ON CONFLICT DO NOTHING", insert(1, "e"))).await;
    assert_eq!(session.versions().await, "1:a 1:b 1:d…");
}

#[tokio::test]
async fn the_merge_of_the_blueprint_works() {
    let mut session = Session::alone("merge").await;
    session.does("CREATE TABLE staging (customer_id integer, name text, hash bytea)").await;
    let merge = "MERGE INTO silver.dim_customer_hist AS tgt USING staging AS src \
         ON tgt.region = 'eu' AND tgt.customer_id = src.customer_id AND tgt.sys_end = 'infinity' \
         WHEN MATCHED AND src.hash <> tgt.row_hash THEN UPDATE SET name = src.name, row_hash = src.hash \
         WHEN NOT MATCHED THEN INSERT (region, customer_id, name, row_hash) \
         VALUES ('eu', src.customer_id, src.name, src.hash)";
    let stage = |rows: &str| {
        format!(
            "TRUNCATE staging; INSERT INTO staging SELECT id, name, \
             silver.dim_customer_row_hash(name, NULL, NULL, NULL, NULL) FROM (VALUES {rows}) AS row (id, name)"
        )
    };
    session.does(&stage("(1, 'a'), (2, 'a')")).await;
    assert_eq!(session.does(merge).await, 2);
    assert_eq!(session.does(merge).await, 0);
    session.does(&stage("(1, 'b'), (2, 'a'), (3, NULL)")).await;
    assert_eq!(session.does(merge).await, 2);
    session.does(&delete(2)).await;
    assert_eq!(session.does(merge).await, 1);
    assert_eq!(session.versions().await, "1:a 1:b… 2:a| 2:a… 3:∅…");
}

#[tokio::test]
async fn closed_versions_met_on_the_way_are_left_as_they_are() {
    let mut session = Session::alone("closed").await;
    session.does(&insert(1, "a")).await;
    session.does(&rename(1, "b")).await;
    session.does(&rename(1, "c")).await;
    // The second plain update of a key, and one of all rows there are.
    assert_eq!(session.does(&format!("{UPDATE} name = 'd' WHERE customer_id = 1")).await, 1);
    assert_eq!(session.does(&format!("{UPDATE} name = name || 'd'")).await, 1);
    assert_eq!(session.versions().await, "1:a 1:b 1:c 1:d 1:dd…");
    assert_eq!(session.does(&format!("{DELETE} true")).await, 1);
    assert_eq!(session.versions().await, "1:a 1:b 1:c 1:d 1:dd|");
}

#[tokio::test]
async fn a_write_that_reaches_only_closed_versions_fails_and_says_why() {
    let mut session = Session::alone("only_closed").await;
    session.does(&together(&[insert(1, "a"), insert(2, "a")])).await;
    session.does(&rename(1, "b")).await;
    for statement in [
        format!("{UPDATE} name = 'z' WHERE name = 'a'"),
        format!("{DELETE} name = 'a'"),
        format!("{UPDATE} name = 'z' WHERE {CURRENT} AND customer_id = 2 OR sys_end < 'infinity'"),
    ] {
        let (code, message) = session.run(&statement).await.unwrap_err();
        assert_eq!(code, "23001", "{statement}");
        assert!(message.contains("(eu,1)") && message.contains("only closed versions"), "{message}");
    }
    session.does(&delete(1)).await;
    assert_eq!(session.fails(&format!("{UPDATE} name = 'z' WHERE customer_id = 1")).await, "23001");
    let merge = "MERGE INTO silver.dim_customer_hist AS tgt USING (VALUES ('eu', 1)) AS src (region, id) \
         ON tgt.region = src.region AND tgt.customer_id = src.id \
         WHEN MATCHED THEN UPDATE SET name = 'back' \
         WHEN NOT MATCHED THEN INSERT (region, customer_id, name) VALUES (src.region, src.id, 'back')";
    assert_eq!(session.fails(merge).await, "23001");
    session.does(&merge.replace("= src.id WHEN", "= src.id AND tgt.sys_end = 'infinity' WHEN")).await;
    assert_eq!(session.versions().await, "1:a 1:b| 1:back… 2:a…");
    assert_eq!(session.ask("SELECT count(*) FROM medallion.noticed").await, ["0"]);
}

#[tokio::test]
async fn counts_and_returning_tell_what_was_written() {
    let mut session = Session::alone("returning").await;
    let row = "customer_id || coalesce(name, '∅') || (sys_end = 'infinity') || (row_hash IS NOT NULL)";
    let with = |statement: String| format!("WITH w AS ({statement} RETURNING {row} AS r) SELECT r FROM w");
    // What changes data stands at the top of a question, so these are not asked as others are.
    for (statement, answer) in [
        (insert(1, "a"), "1atruetrue"),
        (rename(1, "b"), "1btruetrue"),
        (format!("{UPDATE} customer_id = 2 WHERE customer_id = 1 AND {CURRENT}"), "2btruetrue"),
        (delete(2), "2btruetrue"),
    ] {
        let found: String = sqlx::query_scalar(sqlx::AssertSqlSafe(with(statement)))
            .fetch_one(&mut session.connection)
            .await
            .unwrap();
        assert_eq!(found, answer);
    }
    session.does(&format!("{INTO} ('eu', 5, 'a'), ('eu', 6, 'a')")).await;
    assert_eq!(session.does(&format!("{UPDATE} name = 'b' WHERE {CURRENT}")).await, 2);
    assert_eq!(session.does(&format!("{DELETE} {CURRENT}")).await, 2);
}

#[tokio::test]
async fn generated_columns_and_columns_added_later_are_kept() {
    let mut session = Session::alone("columns").await;
    session
        .does(
            "ALTER TABLE silver.dim_customer_hist ADD COLUMN gone text, \
             ADD COLUMN loud text GENERATED ALWAYS AS (upper(name)) STORED, ADD COLUMN later text; \
             ALTER TABLE silver.dim_customer_hist DROP COLUMN gone",
        )
        .await;
    session.does(&insert(1, "a")).await;
    session.does(&format!("{UPDATE} note = '1' WHERE {CURRENT}")).await;
    session.does(&format!("{UPDATE} later = 'l' WHERE {CURRENT}")).await;
    session.does(&rename(1, "b")).await;
    let rows = session
        .ask(
            "SELECT concat_ws(' ', name, loud, note, CASE WHEN sys_end = 'infinity' THEN later END) \
             FROM silver.dim_customer_hist ORDER BY sys_start",
        )
        .await;
    assert_eq!(rows, ["a A", "a A 1", "b B 1 l"]);
}

#[tokio::test]
async fn session_settings_make_no_difference() {
    let mut session = Session::alone("settings").await;
    session
        .does(
            "INSERT INTO silver.dim_customer_hist (region, customer_id, name, born, credit, weight, seen) \
             VALUES ('eu', 1, 'a', '2020-02-03', 1.50, 0.1, '2024-03-31 02:30+00')",
        )
        .await;
    for setting in [
        "TimeZone = 'America/New_York'",
        "TimeZone = 'Europe/Berlin'",
        "DateStyle = 'SQL, DMY'",
        "DateStyle = 'German'",
        "IntervalStyle = 'iso_8601'",
        "extra_float_digits = -15",
        "bytea_output = 'escape'",
        "lc_monetary = 'C'",
        "search_path = 'pg_temp'",
    ] {
        session.does(&format!("SET {setting}")).await;
        session.does(&format!("{UPDATE} born = born, weight = weight WHERE {CURRENT}")).await;
        assert_eq!(session.versions().await, "1:a…", "{setting}");
    }
    // The hours that summer time takes away and gives twice.
    session.does("SET TimeZone = 'Europe/Berlin'").await;
    session.does(&rename(1, "b")).await;
    assert_eq!(session.versions().await, "1:a 1:b…");
}

#[tokio::test]
async fn every_write_is_journalled_and_the_loaders_are_not() {
    let mut session = Session::alone("journal").await;
    session.does(&insert(1, "a")).await;
    session.does(&rename(1, "b")).await;
    session.does(&format!("{UPDATE} customer_id = 2 WHERE {CURRENT}")).await;
    session.does(&delete(2)).await;
    session.does(&format!("BEGIN; SELECT medallion.backfill(); {DELETE} true; COMMIT")).await;
    let lines = session
        .ask(
            "SELECT concat_ws(' ', journal_op, customer_id, name, journal_by = session_user) \
             FROM medallion.dim_customer_hist_journal ORDER BY journal_id",
        )
        .await;
    assert_eq!(lines, ["I 1 a t", "U 1 b t", "D 1 b t", "U 2 b t", "D 2 b t"]);
}
