//! The cases on which other ways of versioning are tried, and in which some break, as cases of our own.

use crate::support::Session;

async fn ready(name: &str) -> Session {
    let mut session = Session::alone(name).await;
    session
        .does(
            "CREATE VIEW d AS SELECT * FROM silver.dim_customer_hist; \
             INSERT INTO silver.dim_customer_hist (region, customer_id, name) \
             VALUES ('eu', 1, 'a'), ('eu', 2, 'b')",
        )
        .await;
    session
}

/// Per-row triggers that compare the writer's number with the transaction's call this a conflict.
#[tokio::test]
async fn both_sides_of_a_savepoint_are_one_transaction() {
    let mut session = ready("savepoint").await;
    session
        .does(
            "BEGIN; UPDATE d SET name = 'x' WHERE customer_id = 1; SAVEPOINT s; \
             UPDATE d SET name = 'y' WHERE customer_id = 1; RELEASE s; \
             UPDATE d SET name = 'z' WHERE customer_id = 1; SAVEPOINT s; \
             DELETE FROM d WHERE customer_id = 1; ROLLBACK TO s; \
             UPDATE d SET name = 'w' WHERE customer_id = 1; COMMIT",
        )
        .await;
    assert_eq!(session.versions().await, "1:a 1:w… 2:b…");
}

/// A check for "nothing changed" that gives back the old row discards what it does not compare.
#[tokio::test]
async fn an_update_is_never_discarded() {
    let mut session = ready("discarded").await;
    session.does("UPDATE d SET seen = '2024-01-01' WHERE customer_id = 1").await;
    session.does("UPDATE d SET credit = 1.0 WHERE customer_id = 1").await;
    session.does("UPDATE d SET credit = 1.000 WHERE customer_id = 1").await;
    let row = session
        .ask("SELECT concat_ws(' ', credit, seen::date) FROM silver.dim_customer WHERE customer_id = 1");
    assert_eq!(row.await, ["1.000 2024-01-01"]);
}

#[tokio::test]
async fn writes_through_views_functions_and_common_tables_are_versioned() {
    let mut session = ready("through").await;
    session.does("UPDATE d SET name = 'c' WHERE customer_id = 1 AND sys_end = 'infinity'").await;
    session
        .does(
            "WITH gone AS (DELETE FROM d WHERE customer_id = 2 RETURNING region, name) \
             INSERT INTO d (region, customer_id, name) SELECT region, 3, name FROM gone",
        )
        .await;
    session.does("DO $$ BEGIN UPDATE d SET name = 'd' WHERE customer_id = 3; END $$").await;
    session.does("PREPARE p AS UPDATE d SET name = $1 WHERE customer_id = 3").await;
    session.does("EXECUTE p('e')").await;
    session.does("EXECUTE p('f')").await;
    assert_eq!(session.versions().await, "1:a 1:c… 2:b| 3:b 3:d 3:e 3:f…");
}

#[tokio::test]
async fn a_cursors_row_is_versioned() {
    let mut session = ready("cursor").await;
    session
        .does(
            "BEGIN; DECLARE c CURSOR FOR SELECT FROM silver.dim_customer_hist WHERE customer_id = 1 FOR UPDATE; \
             FETCH c; UPDATE silver.dim_customer_hist SET name = 'c' WHERE CURRENT OF c; COMMIT",
        )
        .await;
    assert_eq!(session.versions().await, "1:a 1:c… 2:b…");
}

#[tokio::test]
async fn what_other_triggers_change_is_versioned_too() {
    let mut session = ready("triggers").await;
    session
        .does(
            "CREATE FUNCTION loud() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN NEW.name := upper(NEW.name); RETURN NEW; END $$; \
             CREATE TRIGGER m BEFORE INSERT OR UPDATE ON silver.dim_customer_hist \
             FOR EACH ROW WHEN (NEW.sys_end IS NULL OR NEW.sys_end = 'infinity') EXECUTE FUNCTION loud()",
        )
        .await;
    session.does("UPDATE d SET name = 'c' WHERE customer_id = 1").await;
    session.does("UPDATE d SET name = 'c' WHERE customer_id = 1").await;
    assert_eq!(session.versions().await, "1:a 1:C… 2:b…");
    let hash = "SELECT row_hash = silver.dim_customer_row_hash(name, born, credit, weight, note) \
         FROM silver.dim_customer_hist WHERE customer_id = 1 AND sys_end = 'infinity'";
    assert_eq!(session.ask(hash).await, ["true"]);
}

/// A trigger that cancels a write cancels its history.
#[tokio::test]
async fn a_cancelled_write_leaves_no_version() {
    let mut session = ready("cancelled").await;
    session
        .does(
            "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$; \
             CREATE TRIGGER zzz_no BEFORE UPDATE OR DELETE ON silver.dim_customer_hist \
             FOR EACH ROW EXECUTE FUNCTION no()",
        )
        .await;
    assert_eq!(session.does("UPDATE d SET name = 'c' WHERE customer_id = 1").await, 0);
    assert_eq!(session.does("DELETE FROM d WHERE customer_id = 1").await, 0);
    assert_eq!(session.versions().await, "1:a… 2:b…");
}

/// Delete, then the same key again, in transactions of their own and the other way round.
#[tokio::test]
async fn a_key_that_comes_back_has_a_gap() {
    let mut session = ready("comes_back").await;
    session.does("DELETE FROM d WHERE customer_id = 1").await;
    session.does("INSERT INTO d (region, customer_id, name) VALUES ('eu', 1, 'a')").await;
    session.does("DELETE FROM d WHERE customer_id = 1").await;
    session.does("INSERT INTO d (region, customer_id, name) VALUES ('eu', 1, 'z')").await;
    assert_eq!(session.versions().await, "1:a| 1:a| 1:z… 2:b…");
}

#[tokio::test]
async fn a_constraint_that_fails_late_takes_history_back() {
    let mut session = ready("deferred").await;
    session
        .does(
            "CREATE TABLE account (customer_id integer PRIMARY KEY); INSERT INTO account VALUES (1), (2); \
             ALTER TABLE silver.dim_customer_hist ADD FOREIGN KEY (customer_id) REFERENCES account \
             ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED",
        )
        .await;
    session.fails("BEGIN; UPDATE d SET customer_id = 9 WHERE customer_id = 1; COMMIT").await;
    session.does("ROLLBACK").await;
    assert_eq!(session.versions().await, "1:a… 2:b…");
}

#[tokio::test]
async fn a_large_load_by_copy_is_versioned() {
    let mut session = ready("copy").await;
    session
        .does(
            "COPY silver.dim_customer_hist (region, customer_id, name) \
             FROM PROGRAM $$seq 10 2009 | sed 's/.*/eu\\t&\\tn&/'$$",
        )
        .await;
    session.does("UPDATE d SET name = name || 'x' WHERE customer_id >= 10").await;
    session.does("DELETE FROM d WHERE customer_id >= 10 AND customer_id % 2 = 0").await;
    let counts = session
        .ask(
            "SELECT concat_ws(' ', count(*), count(*) FILTER (WHERE sys_end = 'infinity'), count(DISTINCT row_hash)) \
             FROM silver.dim_customer_hist WHERE customer_id >= 10",
        )
        .await;
    assert_eq!(counts, ["4000 1000 4000"]);
}

/// A snapshot that is taken again and again: unchanged, changed, gone, back.
#[tokio::test]
async fn a_snapshot_taken_again_makes_versions_of_what_changed_only() {
    let mut session = ready("snapshots").await;
    session.does("CREATE TABLE shot (customer_id integer, name text)").await;
    let shots = [
        "(1, 'a'), (2, 'b')",
        "(1, 'a'), (2, 'B')",
        "(1, 'a')",
        "(1, NULL), (2, 'B')",
        "(1, NULL), (2, 'B')",
    ];
    for shot in shots {
        session
            .does(&format!(
                "TRUNCATE shot; INSERT INTO shot VALUES {shot}; BEGIN; \
                 DELETE FROM d WHERE sys_end = 'infinity' \
                 AND customer_id NOT IN (SELECT customer_id FROM shot); \
                 INSERT INTO silver.dim_customer_hist (region, customer_id, name) SELECT 'eu', * FROM shot \
                 ON CONFLICT (region, customer_id) WHERE sys_end = 'infinity' \
                 DO UPDATE SET name = excluded.name; COMMIT"
            ))
            .await;
    }
    assert_eq!(session.versions().await, "1:a 1:∅… 2:b 2:B| 2:B…");
}

/// A version that is written over from a query on the dimension's own past.
#[tokio::test]
async fn what_was_can_be_put_back_and_is_a_version_of_its_own() {
    let mut session = ready("put_back").await;
    session.does("UPDATE d SET name = 'z' WHERE customer_id = 1").await;
    session
        .does(
            "UPDATE d SET name = past.name FROM silver.dim_customer_hist AS past \
             WHERE d.customer_id = past.customer_id AND d.sys_end = 'infinity' AND past.sys_end < 'infinity'",
        )
        .await;
    assert_eq!(session.versions().await, "1:a 1:z 1:a… 2:b…");
}
