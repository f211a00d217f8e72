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

/// Where others have a statement that replaces a row, here one deletes it and the same inserts it.
#[tokio::test]
async fn a_row_replaced_within_a_statement_has_no_gap() {
    let mut session = ready("replaced").await;
    let replace = |name: &str| {
        format!(
            "WITH gone AS (DELETE FROM d WHERE sys_end = 'infinity' RETURNING region, customer_id) \
             INSERT INTO d (region, customer_id, name) SELECT region, customer_id, {name} FROM gone"
        )
    };
    session.does(&replace("'x'")).await;
    assert_eq!(session.versions().await, "1:a 1:x… 2:b 2:x…");
    // By what it was, nothing has happened.
    session.does(&replace("'x'")).await;
    session.does(&format!("BEGIN; {}; {}; COMMIT", replace("'y'"), replace("'x'"))).await;
    assert_eq!(session.versions().await, "1:a 1:x… 2:b 2:x…");
}

#[tokio::test]
async fn an_upsert_may_change_the_key_and_not_a_row_twice() {
    let mut session = ready("upsert_key").await;
    let upsert = |rows: &str, set: &str| {
        format!(
            "INSERT INTO d (region, customer_id, name) VALUES {rows} \
             ON CONFLICT (region, customer_id) WHERE sys_end = 'infinity' DO UPDATE SET {set}"
        )
    };
    let base = |sql: String| sql.replace("INTO d ", "INTO silver.dim_customer_hist AS d ");
    session.does(&base(upsert("('eu', 1, 'x')", "customer_id = d.customer_id + 10"))).await;
    assert_eq!(session.versions().await, "1:a| 2:b… 11:a…");
    // Onto a key that is there.
    let code = session.fails(&base(upsert("('eu', 2, 'x')", "customer_id = 11"))).await;
    assert_eq!(code, "23505");
    let code = session.fails(&base(upsert("('eu', 2, 'x'), ('eu', 2, 'y')", "name = excluded.name"))).await;
    assert_eq!(code, "21000");
    assert_eq!(session.versions().await, "1:a| 2:b… 11:a…");
}

#[tokio::test]
async fn the_period_is_left_out_or_said_to_be_the_default() {
    let mut session = ready("defaults").await;
    for columns in ["sys_start", "sys_end", "sys_start, sys_end", "row_hash, sys_start, sys_end"] {
        let defaults = vec!["DEFAULT"; columns.split(", ").count()].join(", ");
        session
            .does(&format!(
                "INSERT INTO silver.dim_customer_hist (region, customer_id, name, {columns}) \
                 VALUES ('us', 1, 'a', {defaults}); \
                 DELETE FROM silver.dim_customer_hist WHERE region = 'us' AND sys_end = 'infinity'"
            ))
            .await;
    }
    session
        .does(
            "UPDATE silver.dim_customer_hist SET name = 'c', sys_end = DEFAULT \
             WHERE customer_id = 1 AND region = 'eu'",
        )
        .await;
    assert_eq!(session.ask("SELECT count(*) FROM d WHERE region = 'eu'").await, ["3"]);
}

/// Several tables in one statement, each row of one side met by several of the other.
#[tokio::test]
async fn rows_are_changed_by_what_other_tables_say() {
    let mut session = ready("joined").await;
    session
        .does(
            "CREATE TABLE said (customer_id integer, name text); \
             INSERT INTO said VALUES (1, 'x'), (1, 'x'), (2, 'y'), (7, 'z')",
        )
        .await;
    let update = "UPDATE silver.dim_customer_hist AS d SET name = said.name FROM said \
         WHERE said.customer_id = d.customer_id AND d.sys_end = 'infinity'";
    assert_eq!(session.does(update).await, 2);
    assert_eq!(session.does(update).await, 2);
    let delete = "DELETE FROM silver.dim_customer_hist AS d USING said \
         WHERE said.customer_id = d.customer_id AND said.name = 'y' AND d.sys_end = 'infinity'";
    assert_eq!(session.does(delete).await, 1);
    assert_eq!(session.versions().await, "1:a 1:x… 2:b 2:y|");
    // Two dimensions of one statement have one time.
    session.does("CREATE TABLE other AS SELECT max(sys_start) AS at FROM silver.dim_customer_hist").await;
    let both = "WITH one AS (UPDATE d SET name = 'z' WHERE customer_id = 1 AND sys_end = 'infinity' RETURNING sys_start), \
         two AS (INSERT INTO d (region, customer_id, name) VALUES ('us', 1, 'u') RETURNING sys_start) \
         UPDATE other SET at = one.sys_start FROM one, two WHERE one.sys_start = two.sys_start AND one.sys_start > at";
    assert_eq!(session.does(both).await, 1);
}

/// A reference holds for what has ended as well: what it would take away there is refused, and nothing of it
/// is left.
#[tokio::test]
async fn references_hold_for_what_has_ended_too() {
    let mut session = ready("referred").await;
    session
        .does(
            "CREATE TABLE account (customer_id integer PRIMARY KEY); INSERT INTO account VALUES (1), (2), (3); \
             CREATE TABLE rank (credit numeric PRIMARY KEY); INSERT INTO rank VALUES (1), (2), (3); \
             UPDATE d SET credit = customer_id; UPDATE d SET name = 'c' WHERE customer_id = 1",
        )
        .await;
    let before = session.versions().await;
    for action in ["NO ACTION", "CASCADE", "SET NULL"] {
        session
            .does(&format!(
                "ALTER TABLE silver.dim_customer_hist \
                 ADD CONSTRAINT key FOREIGN KEY (customer_id) REFERENCES account ON UPDATE CASCADE ON DELETE CASCADE, \
                 ADD CONSTRAINT attribute FOREIGN KEY (credit) REFERENCES rank ON UPDATE {action} ON DELETE {action}"
            ))
            .await;
        for statement in [
            "DELETE FROM account WHERE customer_id = 1",
            "UPDATE account SET customer_id = 9 WHERE customer_id = 2",
            "DELETE FROM rank WHERE credit = 1",
            "UPDATE rank SET credit = 9 WHERE credit = 2",
            "INSERT INTO d (region, customer_id) VALUES ('eu', 8)",
        ] {
            assert_eq!(session.fails(statement).await, "23503", "{action}: {statement}");
        }
        assert_eq!(session.versions().await, before, "{action}");
        session
            .does("ALTER TABLE silver.dim_customer_hist DROP CONSTRAINT key, DROP CONSTRAINT attribute")
            .await;
    }
    session
        .does("ALTER TABLE silver.dim_customer_hist ADD FOREIGN KEY (customer_id) REFERENCES account")
        .await;
    session
        .does("UPDATE d SET customer_id = 3 WHERE customer_id = 2; DELETE FROM d WHERE customer_id = 1")
        .await;
    assert_eq!(session.versions().await, "1:a 1:c| 2:b 2:b| 3:b…");
}

/// Numbers that are given out one after the other are not used up by versions.
#[tokio::test]
async fn numbers_given_to_keys_are_not_spent_on_history() {
    let mut session = ready("numbers").await;
    session
        .does(
            "CREATE SEQUENCE number START 10; \
             ALTER TABLE silver.dim_customer_hist ALTER customer_id SET DEFAULT nextval('number')",
        )
        .await;
    session.does("INSERT INTO silver.dim_customer_hist (region, name) VALUES ('eu', 'x'), ('eu', 'y')").await;
    session.does("UPDATE d SET name = name || 'z' WHERE customer_id >= 10").await;
    session.does("DELETE FROM d WHERE customer_id = 10").await;
    session.does("INSERT INTO silver.dim_customer_hist (region, name) VALUES ('eu', 'last')").await;
    assert_eq!(session.versions().await, "1:a… 2:b… 10:x 10:xz| 11:y 11:yz… 12:last…");
}

/// Triggers of others see current versions, by their end too.
#[tokio::test]
async fn other_triggers_see_what_was_current() {
    let mut session = ready("seen").await;
    session
        .does(
            "CREATE TABLE seen (op text, was text, ends text, later boolean); \
             CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             INSERT INTO seen SELECT TG_OP, OLD.name, OLD.sys_end::text, NEW.sys_start > OLD.sys_start; \
             RETURN NULL; END $$; \
             CREATE TRIGGER see AFTER UPDATE OR DELETE ON silver.dim_customer_hist FOR EACH ROW EXECUTE FUNCTION see()",
        )
        .await;
    session.does("UPDATE d SET name = 'c' WHERE customer_id = 1").await;
    session.does("UPDATE d SET seen = '2024-01-01' WHERE customer_id = 1").await;
    session.does("DELETE FROM d WHERE customer_id = 1").await;
    let seen = session.ask("SELECT concat_ws(' ', op, was, ends, later) FROM seen").await;
    assert_eq!(seen, ["UPDATE a infinity t", "UPDATE c infinity f", "DELETE c infinity"]);
}

/// Who has locked a row goes first; who waited for it builds on what it left.
#[tokio::test]
async fn a_row_locked_by_a_reader_is_written_by_it_first() {
    let warehouse = crate::support::Warehouse::new("locked").await;
    let (mut reader, mut writer) = (warehouse.connect().await, warehouse.connect().await);
    reader
        .does("INSERT INTO silver.dim_customer_hist (region, customer_id, name) VALUES ('eu', 1, 'a')")
        .await;
    reader.does("BEGIN; SELECT FROM silver.dim_customer_hist WHERE sys_end = 'infinity' FOR UPDATE").await;
    let waiting = tokio::spawn(async move {
        writer.does("UPDATE silver.dim_customer_hist SET name = name || 'w' WHERE sys_end = 'infinity'").await
    });
    let mut watcher = warehouse.connect().await;
    while watcher.ask("SELECT count(*) FROM pg_locks WHERE NOT granted").await == ["0"] {
        tokio::task::yield_now().await;
    }
    reader
        .does("UPDATE silver.dim_customer_hist SET name = name || 'r' WHERE sys_end = 'infinity'; COMMIT")
        .await;
    assert_eq!(waiting.await.unwrap(), 1);
    assert_eq!(watcher.versions().await, "1:a 1:ar 1:arw…");
}

/// A column that another has dropped, or one that rows of before have by a default, moves no value elsewhere.
#[tokio::test]
async fn columns_that_come_and_go_move_no_value() {
    let mut session = ready("dropped").await;
    session
        .does(
            "ALTER TABLE silver.dim_customer_hist ADD COLUMN gone text DEFAULT 'g', ADD COLUMN later text DEFAULT 'l'; \
             ALTER TABLE silver.dim_customer_hist DROP COLUMN gone",
        )
        .await;
    session.does("UPDATE d SET name = 'c', note = '1' WHERE customer_id = 1").await;
    session
        .does(
            "UPDATE silver.dim_customer_hist SET later = 'm' WHERE customer_id = 1 AND sys_end = 'infinity'",
        )
        .await;
    session.does("UPDATE d SET customer_id = 3 WHERE customer_id = 2").await;
    let rows = session
        .ask(
            "SELECT concat_ws(' ', customer_id, name, note, later, sys_end = 'infinity') \
             FROM silver.dim_customer_hist ORDER BY customer_id, sys_start",
        )
        .await;
    assert_eq!(rows, ["1 a l f", "1 c 1 m t", "2 b l f", "3 b l t"]);
}
