//! Histories that grow large, as generated: closed versions that stand apart from current ones, loaded and
//! asked by one name, and overlaps that the database refuses.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by them")]

// The generated warehouse looks for its migrations in the crate of that name.
extern crate self as migration;

#[path = "../../tests/cases/generate/large_histories/expected/migration/src/large_histories/mod.rs"]
pub mod large_histories;
#[path = "../../tests/cases/generate/large_histories/expected/generated/src/large_histories/mod.rs"]
#[allow(unused_qualifications, reason = "SeaORM writes them")]
pub mod large_histories_warehouse;

use std::cell::RefCell;

use medallion_runtime::connection::{self, Database};
use medallion_runtime::{apply, verify};
use medallion_server::Server;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _};

const APART: &str = include_str!(
    "../../tests/cases/generate/large_histories/expected/migration/src/large_histories/m000001_baseline/up.sql"
);
const GUARDED: &str = include_str!(
    "../../tests/cases/generate/overlaps_refused/expected/migration/src/overlaps_refused/m000001_baseline/up.sql"
);
const GUARDED_BACK: &str = include_str!(
    "../../tests/cases/generate/overlaps_refused/expected/migration/src/overlaps_refused/m000001_baseline/down.sql"
);

/// A session of a database of its own.
struct Session(PgConnection);

impl Session {
    async fn empty(name: &str) -> Self {
        let server = Server::shared_scratch().unwrap();
        let name = format!("large_{name}");
        server.ensure_database(&name).unwrap();
        Self(connection::connect(Database::Warehouse, &server.url(&name)).await.unwrap())
    }

    /// With closed versions apart.
    async fn apart(name: &str) -> Self {
        let mut session = Self::empty(name).await;
        session.does(APART).await;
        session
    }

    /// With overlaps refused; or nothing where the server lacks the extension, and says so.
    async fn guarded(name: &str) -> Option<Self> {
        let mut session = Self::empty(name).await;
        let known = "SELECT 1 FROM pg_available_extensions WHERE name = 'btree_gist'";
        if session.ask(known).await.is_empty() {
            let (code, message) = session.fails(GUARDED).await;
            assert_eq!(code, "0A000");
            assert_eq!(
                message,
                "the server does not have the extension `btree_gist`, by which overlaps are refused"
            );
            return None;
        }
        session.does(GUARDED).await;
        Some(session)
    }

    async fn does(&mut self, sql: &str) {
        self.0.execute(AssertSqlSafe(sql.to_owned())).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// What must fail: the code and the message.
    async fn fails(&mut self, sql: &str) -> (String, String) {
        let error = self.0.execute(AssertSqlSafe(sql.to_owned())).await.expect_err(sql);
        let error = error.into_database_error().unwrap_or_else(|| panic!("{sql}: no server refused it"));
        (error.code().unwrap_or_default().into_owned(), error.message().to_owned())
    }

    /// The rows of a question, their values as text with a blank between.
    async fn ask(&mut self, sql: &str) -> Vec<String> {
        let rows = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
            .fetch_all(&mut self.0)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        let text = |row: &sqlx::postgres::PgRow, at| {
            row.get_unchecked::<Option<String>, _>(at).unwrap_or("∅".into())
        };
        rows.iter().map(|row| (0..row.len()).map(|at| text(row, at)).collect::<Vec<_>>().join(" ")).collect()
    }

    async fn plan(&mut self, sql: &str) -> String {
        self.ask(&format!("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) {sql}")).await.join("\n")
    }

    /// Lands changes of customers, a transaction each: its position, its day, and the name, or none for a
    /// deletion; then applies them.
    async fn loads(&mut self, changes: &[(i64, &str, Option<&str>)]) {
        for (lsn, day, name) in changes {
            let row = format!(
                "jsonb_build_object('region', 'north', 'customer_id', 1, 'item_id', 7, 'name', '{}', \
                 'seen', '{day}T00:00:00Z')",
                name.unwrap_or_default()
            );
            self.does(&format!(
                "INSERT INTO bronze.br_customer_cdc (lsn, op, full_row, load_ts, commit_ts, seq) \
                 VALUES ({lsn}, '{}', {row}, now(), '{day} 12:00:00+00', 1)",
                if name.is_some() { "U" } else { "D" },
            ))
            .await;
        }
        let (lsn, day, _) = changes.last().unwrap();
        self.applies(usize::try_from(*lsn).unwrap(), &format!("timestamptz '{day} 12:00:00+00'")).await;
    }

    /// Applies what has landed up to a position and its time.
    async fn applies(&mut self, lsn: usize, time: &str) {
        self.does(&format!(
            "INSERT INTO medallion.source_position (slot, state, system_identifier, database, last_lsn, last_commit_ts) \
             VALUES ('medallion_large_histories', 'streaming', '', '', {lsn}, {time}) \
             ON CONFLICT (slot) DO UPDATE SET last_lsn = excluded.last_lsn, last_commit_ts = excluded.last_commit_ts"
        ))
        .await;
        let mut transaction = self.0.begin().await.unwrap();
        apply::apply(&large_histories_warehouse::warehouse(), &mut transaction, |_| ()).await.unwrap();
        transaction.commit().await.unwrap();
    }
}

/// A change: of a customer or an item, which one, what is done, a number that its values are made of.
type Change = (bool, i64, u8, i64);
/// Transactions, each some days after the one before, how many others land before it does, and whether silver is
/// applied after it.
type Traffic = Vec<(Vec<Change>, i64, usize, bool)>;

/// Where closed versions stand makes no difference: what is loaded into a dimension of the same columns, whose
/// versions stand in one table, is what is loaded into the one where they stand apart.
#[test]
fn apart_or_together_is_the_same_history() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let session = RefCell::new(runtime.block_on(Session::apart("law")));
    let change = (any::<bool>(), 1..4_i64, 0..12_u8, 0..3_i64);
    let traffic = prop::collection::vec(
        (prop::collection::vec(change, 1..5), 0..40_i64, 0..6_usize, any::<bool>()),
        1..12,
    );
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(24);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    TestRunner::new(config)
        .run(&traffic, |traffic| runtime.block_on(check(&traffic, &mut session.borrow_mut())))
        .unwrap_or_else(|error| panic!("{error}"));
}

async fn check(traffic: &Traffic, session: &mut Session) -> Result<(), TestCaseError> {
    session.does(EMPTY).await;
    let (mut days, last) = (0, traffic.len() - 1);
    let mut landings: Vec<(usize, String)> = Vec::new();
    for (number, (changes, later, delay, applied)) in traffic.iter().enumerate() {
        days += later;
        let time = format!("timestamptz '2024-01-01 00:00:00+00' + interval '{days} days {number} seconds'");
        for (seq, (customer, key, what, value)) in changes.iter().enumerate() {
            let (table, row) = match customer {
                true => (
                    "br_customer_cdc",
                    format!(
                        "jsonb_build_object('region', 'north', 'customer_id', {key}, 'name', 'n{value}', \
                         'item_id', {}, 'seen', {time})",
                        value + 1
                    ),
                ),
                false => {
                    ("br_item_cdc", format!("jsonb_build_object('item_id', {key}, 'title', 't{value}')"))
                }
            };
            let (op, row) = match what {
                0 => ('T', "NULL".to_owned()),
                1..=3 => ('D', row),
                _ => ('U', row),
            };
            // Most land at once.
            let at = number + delay.saturating_sub(3);
            let lands = format!(
                "INSERT INTO bronze.{table} (lsn, op, full_row, load_ts, commit_ts, seq) \
                 VALUES ({}, '{op}', {row}, now(), {time}, {seq})",
                10 * (number + 1)
            );
            landings.push((at.min(last), lands));
        }
        for (_, lands) in landings.extract_if(.., |(at, _)| *at == number) {
            session.does(&lands).await;
        }
        if *applied || number == last {
            session.applies(10 * (number + 1), &time).await;
            let differ = session.ask(DIFFERENCE).await;
            prop_assert!(differ.is_empty(), "after transaction {number}: {differ:#?}");
        }
    }
    let checks = verify::on(&large_histories_warehouse::warehouse(), &mut session.0, |_| ()).await.unwrap();
    let broken: Vec<_> = checks.iter().filter(|check| check.broken > 0).collect();
    prop_assert!(broken.is_empty(), "{broken:#?}");
    Ok(())
}

/// Versions of one of the two dimensions that the other has not.
const DIFFERENCE: &str = "
    (SELECT one::text FROM silver.dim_customer_hist AS one EXCEPT ALL SELECT one::text FROM silver.dim_client_hist AS one)
    UNION ALL (SELECT one::text FROM silver.dim_client_hist AS one EXCEPT ALL SELECT one::text FROM silver.dim_customer_hist AS one)
    UNION ALL (SELECT one::text FROM silver.dim_customer AS one EXCEPT ALL SELECT one::text FROM silver.dim_client AS one)
    UNION ALL (SELECT one::text FROM silver.dim_client AS one EXCEPT ALL SELECT one::text FROM silver.dim_customer AS one)
    UNION ALL (
        SELECT one::text || tableoid::regclass FROM silver.dim_customer_hist AS one
        WHERE (sys_end = 'infinity') <> (tableoid = 'silver.dim_customer_hist_current'::regclass)
        OR tableoid = 'silver.dim_customer_hist_closed_default'::regclass
    )";

/// Makes the warehouse as new; the owner may.
const EMPTY: &str = "
    BEGIN;
    ALTER TABLE bronze.br_item_cdc DISABLE TRIGGER refuse_change;
    ALTER TABLE bronze.br_customer_cdc DISABLE TRIGGER refuse_change;
    DELETE FROM bronze.br_item_cdc;
    DELETE FROM bronze.br_customer_cdc;
    ALTER TABLE bronze.br_item_cdc ENABLE ALWAYS TRIGGER refuse_change;
    ALTER TABLE bronze.br_customer_cdc ENABLE ALWAYS TRIGGER refuse_change;
    SELECT medallion.backfill();
    DELETE FROM silver.dim_item_hist;
    DELETE FROM silver.dim_customer_hist;
    DELETE FROM silver.dim_client_hist;
    DELETE FROM medallion.watermark;
    DELETE FROM medallion.late_change;
    COMMIT;";

const VERSIONS: &str = "SELECT name, (sys_start AT TIME ZONE 'UTC')::date, \
    CASE sys_end WHEN 'infinity' THEN '…' ELSE (sys_end AT TIME ZONE 'UTC')::date::text END, \
    split_part(tableoid::regclass::text, '.', 2) FROM silver.dim_customer_hist ORDER BY sys_start";

#[tokio::test]
async fn versions_move_to_the_partition_of_their_end() {
    let mut session = Session::apart("loaded").await;
    session.loads(&[(10, "2024-01-10", Some("Ada"))]).await;
    assert_eq!(session.ask(VERSIONS).await, ["Ada 2024-01-10 … dim_customer_hist_current"]);
    session
        .loads(&[
            (20, "2024-01-20", Some("Bea")),
            (30, "2024-02-10", Some("Cid")),
            (40, "2024-02-11", None),
            (50, "2025-07-01", Some("Dan")),
        ])
        .await;
    let versions = [
        "Ada 2024-01-10 2024-01-20 dim_customer_hist_closed_2024_01",
        "Bea 2024-01-20 2024-02-10 dim_customer_hist_closed_2024_02",
        "Cid 2024-02-10 2024-02-11 dim_customer_hist_closed_2024_02",
        "Dan 2025-07-01 … dim_customer_hist_current",
    ];
    assert_eq!(session.ask(VERSIONS).await, versions);
    // What is updated in place stays where it is.
    session.loads(&[(60, "2025-07-02", Some("Dan"))]).await;
    assert_eq!(session.ask(VERSIONS).await, versions);

    for (time, name) in [
        ("2024-01-10 11:59+00", ""),
        ("2024-01-10 12:00+00", "Ada"),
        ("2024-02-10 11:59+00", "Bea"),
        ("2024-02-10 12:00+00", "Cid"),
        ("2024-03-01 00:00+00", ""),
        ("infinity", "Dan"),
    ] {
        for question in [
            format!("SELECT name FROM silver.dim_customer_as_of('{time}')"),
            format!("SELECT name FROM silver.dim_customer_as_of('{time}', 'north', 1)"),
            format!("SET medallion.as_of = '{time}'; SELECT name FROM as_of.dim_customer"),
            format!(
                "SET medallion.as_of = '{time}'; SELECT name FROM as_of.dim_customer_hist WHERE sys_end = 'infinity'"
            ),
        ] {
            assert_eq!(session.ask(&question).await.join(""), name, "{question}");
        }
    }
    assert_eq!(
        session.ask("SELECT name FROM silver.dim_customer_history('north', 1)").await,
        ["Ada", "Bea", "Cid", "Dan"]
    );
    assert_eq!(session.ask("SELECT name FROM silver.dim_customer").await, ["Dan"]);
}

#[tokio::test]
async fn a_question_reads_no_partition_that_it_cannot_meet() {
    let mut session = Session::apart("pruned").await;
    session
        .loads(&[
            (10, "2024-01-10", Some("Ada")),
            (20, "2024-01-20", Some("Bea")),
            (30, "2024-03-10", Some("Cid")),
            (40, "2024-05-11", Some("Dan")),
        ])
        .await;
    for now in [
        "SELECT * FROM silver.dim_customer",
        "SELECT * FROM silver.dim_customer WHERE customer_id = 1 AND region = 'north'",
        "SELECT * FROM silver.dim_customer_hist WHERE sys_end = 'infinity'",
        "SELECT * FROM silver.dim_customer_as_of('infinity')",
    ] {
        let plan = session.plan(now).await;
        assert!(plan.contains("dim_customer_hist_current") && !plan.contains("closed_2024"), "{now}\n{plan}");
        // Beyond the last year that has partitions is the default one.
        assert_eq!(plan.contains("closed"), now.contains("as_of"), "{now}\n{plan}");
    }
    session.does("SET medallion.as_of = '2024-04-01 00:00:00+00'").await;
    session
        .does("PREPARE one (timestamptz) AS SELECT * FROM silver.dim_customer_as_of($1, 'north', 1)")
        .await;
    session.does("SET plan_cache_mode = force_generic_plan").await;
    for then in [
        "SELECT * FROM silver.dim_customer_as_of('2024-04-01 00:00:00+00')",
        "SELECT * FROM silver.dim_customer_as_of('2024-04-01 00:00:00+00', 'north', 1)",
        "SELECT * FROM as_of.dim_customer",
        "EXECUTE one('2024-04-01 00:00:00+00')",
    ] {
        let plan = session.plan(then).await;
        assert!(plan.contains("closed_2024_05"), "{then}\n{plan}");
        let earlier =
            plan.lines().filter(|line| line.contains("closed_2024_01") || line.contains("closed_2024_03"));
        for line in earlier {
            assert!(line.contains("never executed"), "{then}\n{plan}");
        }
    }
}

#[tokio::test]
async fn closed_versions_stay_in_every_partition() {
    let mut session = Session::apart("kept").await;
    session.loads(&[(10, "2024-01-10", Some("Ada")), (20, "2024-01-20", Some("Bea"))]).await;
    for role in ["origin", "replica"] {
        session.does(&format!("SET session_replication_role = {role}")).await;
        for statement in [
            "DELETE FROM silver.dim_customer_hist WHERE sys_end < 'infinity'",
            "DELETE FROM silver.dim_customer_hist_closed",
            "DELETE FROM silver.dim_customer_hist_closed_2024_01",
            "UPDATE silver.dim_customer_hist SET name = 'Eve' WHERE sys_end < 'infinity'",
            "UPDATE silver.dim_customer_hist SET sys_end = '2024-01-25' WHERE sys_end < 'infinity'",
            "TRUNCATE silver.dim_customer_hist",
            "TRUNCATE silver.dim_customer_hist_current",
            "TRUNCATE silver.dim_customer_hist_closed",
            "TRUNCATE silver.dim_customer_hist_closed_2024_01",
            "TRUNCATE silver.dim_customer_hist_closed_default",
        ] {
            assert_eq!(session.fails(statement).await.0, "23001", "{statement}");
        }
    }
    let twice = "INSERT INTO silver.dim_customer_hist SELECT * FROM silver.dim_customer_hist WHERE sys_end = 'infinity'";
    assert_eq!(session.fails(twice).await.0, "23505", "one current version a key");
}

#[tokio::test]
async fn the_loader_makes_partitions_that_it_does_not_own() {
    let mut session = Session::apart("roles").await;
    session.loads(&[(10, "2024-01-10", Some("Ada"))]).await;
    session.does("GRANT UPDATE ON medallion.source_position TO large_histories_loader").await;
    // What one role has staged is not another's to empty.
    session.does("DISCARD TEMP").await;
    session.does("SET ROLE large_histories_loader").await;
    session.loads(&[(20, "2024-01-20", Some("Bea")), (30, "2024-02-20", Some("Cid"))]).await;
    session.does("SET ROLE large_histories_reader").await;
    assert_eq!(
        session.ask("SELECT name FROM silver.dim_customer_hist ORDER BY 1").await,
        ["Ada", "Bea", "Cid"]
    );
    assert_eq!(session.fails("DELETE FROM silver.dim_customer_hist_current").await.0, "42501");
}

#[tokio::test]
async fn overlaps_are_refused_and_neighbours_are_not() {
    let Some(mut session) = Session::guarded("overlaps").await else { return };
    let version = |item: i64, from: &str, to: &str| {
        format!("INSERT INTO silver.dim_item_hist VALUES ({item}, 'a', '', '{from}', '{to}')")
    };
    session.does(&version(1, "2024-01-01", "2024-02-01")).await;
    session.does(&version(1, "2024-02-01", "infinity")).await;
    session.does(&version(2, "2024-01-15", "infinity")).await;
    for (from, to) in [
        ("2023-01-01", "2024-01-02"),
        ("2024-01-10", "2024-01-11"),
        ("2025-01-01", "2025-01-02"),
        ("2020-01-01", "infinity"),
    ] {
        assert_eq!(session.fails(&version(1, from, to)).await.0, "23P01", "{from} {to}");
    }
    session.does(&version(1, "2023-01-01", "2024-01-01")).await;
}

/// Triggers write the closed version after the current one has been replaced, so that no statement leaves two
/// that overlap, and the constraint need not be deferred.
#[tokio::test]
async fn writers_are_versioned_under_the_constraint() {
    let Some(mut session) = Session::guarded("writers").await else { return };
    let versions = "SELECT item_id, coalesce(note, '∅'), sys_end = 'infinity' FROM silver.dim_writer_hist \
        ORDER BY item_id, sys_start";
    session
        .does("INSERT INTO silver.dim_writer_hist (item_id, title, note) VALUES (1, 'a', 'x'), (2, 'b', 'x')")
        .await;
    session.does("UPDATE silver.dim_writer_hist SET note = 'y'").await;
    assert_eq!(session.ask(versions).await, ["1 x f", "1 y t", "2 x f", "2 y t"]);
    session
        .does(
            "BEGIN; DELETE FROM silver.dim_writer_hist WHERE item_id = 1; \
             INSERT INTO silver.dim_writer_hist (item_id, title, note) VALUES (1, 'a', 'z'); COMMIT",
        )
        .await;
    session
        .does(
            "BEGIN; UPDATE silver.dim_writer_hist SET note = 'z' WHERE item_id = 2; \
             UPDATE silver.dim_writer_hist SET note = 'y' WHERE item_id = 2; COMMIT",
        )
        .await;
    assert_eq!(session.ask(versions).await, ["1 x f", "1 y f", "1 z t", "2 x f", "2 y t"]);
    session
        .does("UPDATE silver.dim_writer_hist SET item_id = 3 WHERE item_id = 1 AND sys_end = 'infinity'")
        .await;
    session
        .does(
            "BEGIN; DELETE FROM silver.dim_writer_hist WHERE item_id = 2; \
             INSERT INTO silver.dim_writer_hist (item_id, title, note) VALUES (2, 'b', 'y'); COMMIT",
        )
        .await;
    assert_eq!(session.ask(versions).await, ["1 x f", "1 y f", "1 z f", "2 x f", "2 y t", "3 z t"]);
}

#[tokio::test]
async fn the_extension_goes_if_it_came_with_the_warehouse() {
    let known = "SELECT extname FROM pg_extension WHERE extname = 'btree_gist'";
    let Some(mut session) = Session::guarded("back").await else { return };
    session.does(GUARDED_BACK).await;
    assert_eq!(session.ask(known).await, [""; 0]);
    session.does("CREATE EXTENSION btree_gist WITH SCHEMA public").await;
    session.does(GUARDED).await;
    session.does(GUARDED_BACK).await;
    assert_eq!(session.ask(known).await, ["btree_gist"]);
}
