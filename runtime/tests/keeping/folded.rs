//! The law of what is folded: whatever lands and is written, folded and erased, from the horizon on silver holds
//! what a fold in plain Rust of all that ever was, but for what was erased, says; by its own judgement too, and a
//! rebuild changes nothing. On the objects that `generate` writes.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use medallion_runtime::connection::{self, Database};
use medallion_runtime::descriptor::Warehouse;
use medallion_runtime::forget::{self, Current, Extent, Outcome, Subject};
use medallion_runtime::place::Place;
use medallion_runtime::progress::Silent;
use medallion_runtime::round::{self, Round, Waits};
use medallion_runtime::staging::Staging;
use medallion_runtime::{migrate, rebuild, retain, verify};
use medallion_server::Server;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use sqlx::{AssertSqlSafe, Executor as _, PgConnection, Row as _};

use crate::fold::{self, Known, Time};
use crate::folded_histories_warehouse::warehouse;

/// Folds what is older than the test says, instead of a day.
const POLICY: &str = "
    CREATE OR REPLACE FUNCTION medallion.kept_since() RETURNS timestamptz LANGUAGE sql STABLE
    AS $$SELECT current_setting('keeping.horizon')::timestamptz$$;
    CREATE SCHEMA whole;
    CREATE VIEW whole.br_item_cdc AS SELECT lsn, op, full_row, commit_ts, seq FROM bronze.br_item_cdc;
    CREATE VIEW whole.dim_item_hist_journal AS TABLE medallion.dim_item_hist_journal;
    -- What cannot be computed is as if it had not landed.
    CREATE VIEW whole.br_customer_cdc AS
    SELECT *
    FROM (
        SELECT lsn, op, full_row, commit_ts, seq FROM bronze.br_customer_cdc
        UNION ALL SELECT lsn, op, full_row, commit_ts, seq FROM medallion.br_customer_cdc_pruned
    ) AS landed
    WHERE op IN ('D', 'T') OR full_row ->> 'note' IS DISTINCT FROM 'unread';
    CREATE VIEW whole.br_sale_cdc AS
    SELECT lsn, op, full_row, commit_ts, seq FROM bronze.br_sale_cdc
    UNION ALL SELECT lsn, op, full_row, commit_ts, seq FROM medallion.br_sale_cdc_pruned;
    CREATE VIEW whole.dim_customer_hist_journal AS
    TABLE medallion.dim_customer_hist_journal
    UNION ALL
    SELECT journal_id, journal_op, journal_by, journal_xid, customer_id, name, item_id, store, note, sys_start
    FROM medallion.dim_customer_hist_journal_pruned;
";

/// Makes bronze as new, and then what is made of it; the owner may.
const EMPTY: [&str; 2] = [
    "BEGIN;
    SELECT medallion.prune();
    DELETE FROM bronze.br_item_cdc;
    DELETE FROM bronze.br_customer_cdc;
    DELETE FROM bronze.br_sale_cdc;
    DELETE FROM medallion.late_change;
    DELETE FROM medallion.misfit;
    DELETE FROM medallion.watermark;
    DELETE FROM medallion.horizon;
    DELETE FROM medallion.erasure;
    DELETE FROM medallion.br_customer_cdc_pruned;
    DELETE FROM medallion.br_sale_cdc_pruned;
    DELETE FROM medallion.source_position;
    INSERT INTO medallion.source_position (slot, state, system_identifier, database)
    VALUES ('medallion_folded_histories', 'streaming', '', '');
    COMMIT;",
    "BEGIN;
    SELECT medallion.backfill();
    DELETE FROM silver.dim_item_hist;
    DELETE FROM silver.dim_customer_hist;
    DELETE FROM medallion.dim_item_hist_journal;
    DELETE FROM medallion.dim_customer_hist_journal;
    DELETE FROM silver.fact_sale;
    DELETE FROM medallion.fact_sale_history;
    DELETE FROM gold.sales_by_store;
    DELETE FROM gold.customers_by_note;
    DELETE FROM gold.versions_by_item;
    DELETE FROM medallion.misfit;
    DELETE FROM medallion.watermark;
    DELETE FROM medallion.horizon;
    DELETE FROM medallion.erasure;
    DELETE FROM medallion.dim_customer_hist_journal_pruned;
    DELETE FROM medallion.dim_customer_hist_pruned;
    DELETE FROM medallion.fact_sale_history_pruned;
    DO $$
    BEGIN
        IF to_regnamespace('medallion_bronze') IS NOT NULL THEN
            DELETE FROM medallion_bronze.late_taken;
        END IF;
    END
    $$;
    COMMIT;",
];

/// What happens, one thing after the other.
#[derive(Clone, Debug)]
enum Act {
    /// A source transaction commits, and lands so many acts later.
    Source {
        changes: Vec<Change>,
        delay: usize,
    },
    /// Somebody lands a change by hand, at a position that has been passed.
    Backfill(Change),
    /// Somebody writes to the dimensions, in one transaction.
    Write(Vec<Statement>),
    Apply,
    /// What is older is folded; the process may be killed before bronze is that stands apart.
    Fold {
        killed: bool,
    },
    /// A key of a relation is forgotten.
    Forget(usize, i64),
}

/// Of which table and key, what is done, and the numbers that its values are made of.
type Change = (usize, i64, u8, i64, i64);
/// What is done, to which key, by which numbers.
type Statement = (usize, i64, i64, i64);

const RELATIONS: [&str; 3] = ["dim_item_hist", "dim_customer_hist", "fact_sale"];

fn act() -> impl Strategy<Value = Act> {
    let change = (0..3_usize, 1..4_i64, 0..13_u8, 0..4_i64, 0..3_i64);
    let backfill = change.clone().prop_map(Act::Backfill);
    let statement = (0..6_usize, 1..4_i64, 0..4_i64, 0..3_i64);
    prop_oneof![
        8 => (prop::collection::vec(change, 1..4), 0..5_usize)
            .prop_map(|(changes, delay)| Act::Source { changes, delay: delay.saturating_sub(2) }),
        2 => backfill,
        4 => prop::collection::vec(statement, 1..3).prop_map(Act::Write),
        2 => Just(Act::Apply),
        2 => any::<bool>().prop_map(|killed| Act::Fold { killed }),
        1 => (0..3_usize, 1..4_i64).prop_map(|(relation, key)| Act::Forget(relation, key)),
    ]
}

/// A database with the warehouse in it.
struct Bench {
    warehouse: Warehouse,
    place: Place,
    connection: PgConnection,
    /// Where changes land, if bronze stands apart.
    bronze: Option<PgConnection>,
    /// How many rows were folded, and how many subjects erased, in all cases.
    folded: u64,
    erased: u64,
}

impl Bench {
    async fn new(name: &str) -> Self {
        let server = Server::shared_scratch().unwrap();
        let name = format!("folded_{name}");
        server.ensure_database(&name).unwrap();
        let url = server.url(&name);
        let warehouse = warehouse();
        let place = Place { source: url.clone(), warehouse: url.clone(), bronze: None, embedded: None };
        migrate::up(&warehouse, &place).await.unwrap_or_else(|error| panic!("{error}"));
        let mut connection = connection::connect(Database::Warehouse, &url).await.unwrap();
        connection.execute(POLICY).await.unwrap();
        Self { warehouse, place, connection, bronze: None, folded: 0, erased: 0 }
    }

    /// The same with bronze in a database of its own.
    async fn apart(name: &str) -> Self {
        let server = Server::shared_scratch().unwrap();
        let [name, there] = ["", "_bronze"].map(|end| format!("folded_apart_{name}{end}"));
        for name in [&name, &there] {
            server.ensure_database(name).unwrap();
        }
        let mut warehouse = warehouse();
        for landing in &mut warehouse.landings {
            landing.is_apart = true;
        }
        let [url, there] = [&name, &there].map(|name| server.url(name));
        let place = Place {
            source: url.clone(),
            warehouse: url.clone(),
            bronze: Some(there.clone()),
            embedded: None,
        };
        migrate::up(&warehouse, &place).await.unwrap_or_else(|error| panic!("{error}"));
        let mut connection = connection::connect(Database::Warehouse, &url).await.unwrap();
        let mut bronze = connection::connect(Database::Bronze, &there).await.unwrap();
        connection.execute(POLICY).await.unwrap();
        bronze.execute(POLICY).await.unwrap();
        Self { warehouse, place, connection, bronze: Some(bronze), folded: 0, erased: 0 }
    }
}

#[test]
fn from_the_horizon_on_silver_is_what_it_would_be() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let bench = runtime.block_on(Bench::new("law"));
    is_what_it_would_be(&runtime, bench);
}

#[test]
fn the_same_where_bronze_stands_apart_and_is_folded_by_itself() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let bench = runtime.block_on(Bench::apart("law"));
    is_what_it_would_be(&runtime, bench);
}

fn is_what_it_would_be(runtime: &tokio::runtime::Runtime, bench: Bench) {
    let bench = RefCell::new(bench);
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(10);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 150, ..Config::default() };
    // The same each time; others where `PROPTEST_CASES` asks for more.
    let mut runner = match std::env::var_os("PROPTEST_CASES") {
        Some(_) => TestRunner::new(config),
        None => TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha)),
    };
    runner
        .run(&prop::collection::vec(act(), 4..28), |acts| {
            runtime.block_on(bench.borrow_mut().check(&acts)).map_err(TestCaseError::fail)
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

/// What the law rests on: folding takes rows away, and forgetting erases somebody.
#[tokio::test]
async fn the_past_is_folded_and_a_subject_erased() {
    let named = |number| Act::Source { changes: vec![(1, 1, 4, number, 1)], delay: 0 };
    let fold = |killed| Act::Fold { killed };
    let acts = [
        named(0),
        named(1),
        named(2),
        Act::Apply,
        fold(true),
        named(3),
        Act::Apply,
        fold(false),
        Act::Forget(1, 1),
    ];
    for mut bench in [Bench::new("certain").await, Bench::apart("certain").await] {
        bench.check(&acts).await.unwrap_or_else(|error| panic!("{error}"));
        assert!(bench.folded > 0, "nothing was folded");
        assert_eq!(bench.erased, 1, "nobody was erased");
        if let Some(bronze) = &mut bench.bronze {
            let left = "SELECT (SELECT count(*) FROM bronze.br_customer_cdc WHERE op <> 'T')
                + (SELECT count(*) FROM medallion.br_customer_cdc_pruned WHERE op <> 'T')";
            let left: i64 = sqlx::query_scalar(left).fetch_one(bronze).await.unwrap();
            assert_eq!(left, 0, "bronze has the subject still");
        }
    }
}

/// What cannot be computed takes the place of nothing that was, and goes with the subject.
#[tokio::test]
async fn what_is_left_out_folds_nothing_away() {
    let customer = |what| Act::Source { changes: vec![(1, 1, what, 1, 1)], delay: 0 };
    let folded = Act::Fold { killed: false };
    let acts = [customer(4), customer(12), Act::Apply, folded.clone(), customer(12), folded.clone()];
    let over = [&acts[..], &[customer(5), folded]].concat();
    for mut bench in [Bench::new("left_out").await, Bench::apart("left_out").await] {
        bench.check(&acts).await.unwrap_or_else(|error| panic!("{error}"));
        let current = "SELECT count(*) FROM silver.dim_customer_hist WHERE sys_end = 'infinity'";
        assert_eq!(bench.value(current).await.unwrap(), "1");
        // It stays known why what is archived was left out, until its subject is forgotten.
        bench.check(&over).await.unwrap_or_else(|error| panic!("{error}"));
        let misfits = "SELECT count(*) FROM medallion.misfit";
        assert_eq!(bench.value(misfits).await.unwrap(), "2");
        let landed = "SELECT count(*) FROM bronze.br_customer_cdc";
        assert_eq!(bench.value(landed).await.unwrap(), "1");
        bench.forget("dim_customer_hist", 1).await.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(bench.value(misfits).await.unwrap(), "0");
    }
}

/// A relation of which nothing is left but the end of all its keys.
#[tokio::test]
async fn the_last_key_of_a_relation_is_forgotten() {
    let source = |key, what| Act::Source { changes: vec![(0, key, what, 0, 0)], delay: 0 };
    let acts = [source(3, 4), source(3, 0), source(1, 0), Act::Fold { killed: false }, Act::Forget(0, 3)];
    Bench::new("last_key").await.check(&acts).await.unwrap_or_else(|error| panic!("{error}"));
}

/// What was written is forgotten before anything was applied.
#[tokio::test]
async fn the_only_thing_ever_written_is_forgotten() {
    let acts = [Act::Write(vec![(0, 2, 0, 0)]), Act::Forget(0, 2)];
    Bench::new("only_one").await.check(&acts).await.unwrap_or_else(|error| panic!("{error}"));
}

/// A change on its way.
struct Landing {
    after: usize,
    lsn: i64,
    time: Time,
    sql: String,
}

impl Bench {
    async fn check(&mut self, acts: &[Act]) -> Result<(), String> {
        self.land(EMPTY[0]).await?;
        self.run(EMPTY[1]).await?;
        let mut waiting: Vec<Landing> = Vec::new();
        let mut lsn = 0;
        for (number, act) in acts.iter().enumerate() {
            match act {
                Act::Source { changes, delay } => {
                    lsn += 1;
                    let time = fold::later(lsn, 0, &mut self.connection).await?;
                    for (seq, change) in changes.iter().enumerate() {
                        let sql = landing(change, lsn, seq, time);
                        waiting.push(Landing { after: number + delay, lsn, time, sql });
                    }
                }
                Act::Backfill(change) => {
                    let time = fold::later(lsn, 0, &mut self.connection).await?;
                    self.land(&landing(change, 0, number, time)).await?;
                }
                Act::Write(statements) => self.write(statements).await?,
                Act::Apply => self.apply().await?,
                Act::Fold { killed } => self.fold(*killed).await?,
                Act::Forget(relation, key) => self.forget(RELATIONS[*relation], *key).await?,
            }
            // What the horizon has passed comes too late: what it was part of is folded.
            let horizon = self.horizon().await?;
            let passed =
                |one: &Landing| horizon.is_some_and(|(time, lsn)| one.time <= time || one.lsn <= lsn);
            waiting.retain(|one| !passed(one));
            for at in (0..waiting.len()).rev() {
                if waiting[at].after <= number {
                    let sql = waiting.remove(at).sql;
                    self.land(&sql).await?;
                }
            }
        }
        for Landing { sql, .. } in waiting {
            self.land(&sql).await?;
        }
        self.holds().await
    }

    /// Where nothing waits, the laws hold.
    async fn holds(&mut self) -> Result<(), String> {
        self.apply().await?;
        let horizon = self.horizon().await?.map_or(Time::MIN, |(time, _)| time);
        let known = Known::read("whole", "whole", &mut self.connection).await?;
        for (relation, expected) in known.fold() {
            let found = fold::stored(relation, &mut self.connection).await?;
            let (expected, found) = (kept(&expected, horizon), kept(&found, horizon));
            if expected != found {
                let lacking: Vec<_> = expected.difference(&found).collect();
                let beyond: Vec<_> = found.difference(&expected).collect();
                return Err(format!(
                    "{relation} lacks {lacking:#?}\nand has {beyond:#?}\nsince {horizon} of {known:#?}"
                ));
            }
        }
        let checks = verify::verify(&self.warehouse, &self.place, |_| ()).await;
        let checks = checks.map_err(|error| error.to_string())?;
        if let Some(check) = checks.iter().find(|check| check.broken > 0 || check.waits.is_some()) {
            let bronze = self
                .value("SELECT coalesce(string_agg(one::text, ' '), '') FROM whole.br_customer_cdc AS one")
                .await?;
            return Err(format!("{check:#?}\n{bronze} {horizon}"));
        }
        let rebuilt = rebuild::rebuild(&self.warehouse, &self.place, &[], &mut Silent).await;
        let differed = rebuilt.map_err(|error| error.to_string())?.differed;
        match differed.iter().find(|(_, rows)| *rows > 0) {
            None => Ok(()),
            Some(one) => Err(format!("rebuilt: {one:?}")),
        }
    }

    /// Folds all but what is very young: a writer's stamp is never older than the horizon.
    async fn fold(&mut self, killed: bool) -> Result<(), String> {
        self.holds().await.map_err(|error| format!("before it is folded: {error}"))?;
        let horizon =
            "SELECT least(max(system_time), clock_timestamp() - interval '5 ms') FROM medallion.watermark";
        let horizon = self.value(&format!("SELECT coalesce(({horizon})::text, '')")).await?;
        let sql = format!("SELECT set_config('keeping.horizon', '{horizon}', false)");
        self.run(&sql).await?;
        self.land(&sql).await?;
        if self.value("SELECT count(*) FROM medallion.watermark").await? == "0" {
            return Ok(());
        }
        let bronze = self.bronze.as_mut().filter(|_| !killed);
        let retained = retain::retain(&self.warehouse, &mut self.connection, bronze).await;
        self.folded += retained.map_err(|error| error.to_string())?.map_or(0, |retained| retained.rows());
        self.holds().await
    }

    async fn forget(&mut self, relation: &str, key: i64) -> Result<(), String> {
        let key = [key.to_string()];
        let subject = Subject::find(&self.warehouse, relation, &key).map_err(|error| error.to_string())?;
        let outcome =
            forget::forget(&self.warehouse, &self.place, &subject, Current::Erase, Extent::Keep).await;
        self.erased +=
            u64::from(matches!(outcome.map_err(|error| error.to_string())?, Outcome::Forgotten(_)));
        let left = "SELECT count(*) FROM medallion.misfit AS misfit
            WHERE NOT EXISTS (SELECT FROM bronze.br_customer_cdc AS one WHERE (one.lsn, one.seq) = (misfit.lsn, misfit.seq))
            AND NOT EXISTS (SELECT FROM medallion.br_customer_cdc_pruned AS one WHERE (one.lsn, one.seq) = (misfit.lsn, misfit.seq))";
        match self.value(left).await?.as_str() {
            "0" => self.holds().await,
            left => Err(format!("{left} changes are gone, and it is known why they were left out")),
        }
    }

    async fn horizon(&mut self) -> Result<Option<(Time, i64)>, String> {
        let sql = "SELECT (extract(epoch FROM \"time\") * 1000000)::bigint, lsn FROM medallion.horizon";
        let row = sqlx::query(sql).fetch_optional(&mut self.connection).await;
        Ok(row.map_err(|error| error.to_string())?.map(|row| (row.get(0), row.get(1))))
    }

    /// Writes; what versioning refuses is undone as a whole.
    async fn write(&mut self, statements: &[Statement]) -> Result<(), String> {
        let sql: Vec<String> = statements.iter().map(statement).collect();
        let sql = format!("BEGIN; {}; COMMIT", sql.join("; "));
        if let Err(error) = self.connection.execute(AssertSqlSafe(sql.clone())).await {
            let code =
                error.as_database_error().and_then(|error| error.code()).unwrap_or_default().into_owned();
            self.run("ROLLBACK").await?;
            // A key that is there already, or a version that is later than the writer.
            if code != "23505" && code != "40001" {
                return Err(format!("{sql}: {error}"));
            }
        }
        Ok(())
    }

    async fn apply(&mut self) -> Result<(), String> {
        self.land(
            "UPDATE medallion.source_position SET (last_lsn, last_commit_ts) = (
                SELECT greatest(max(lsn), last_lsn), greatest(max(commit_ts), last_commit_ts)
                FROM (TABLE whole.br_item_cdc UNION ALL TABLE whole.br_customer_cdc UNION ALL TABLE whole.br_sale_cdc) AS landed
            )",
        )
        .await?;
        let staging = Staging::default();
        let round =
            round::publish(&self.warehouse, Waits::Surely, &staging, &mut self.connection, |_, _, _| ());
        match round.await.map_err(|error| error.to_string())? {
            Round::Published(_) => Ok(()),
            Round::Held(tested) => Err(format!("held: {tested:?}")),
        }
    }

    async fn run(&mut self, sql: &str) -> Result<(), String> {
        let done = self.connection.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await;
        done.map(drop).map_err(|error| format!("{sql}: {error}"))
    }

    /// Where changes land.
    async fn land(&mut self, sql: &str) -> Result<(), String> {
        let Some(bronze) = &mut self.bronze else { return self.run(sql).await };
        let done = bronze.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await;
        done.map(drop).map_err(|error| format!("{sql}: {error}"))
    }

    async fn value(&mut self, sql: &str) -> Result<String, String> {
        let sql = AssertSqlSafe(format!("SELECT ({sql})::text"));
        sqlx::query_scalar(sql).fetch_one(&mut self.connection).await.map_err(|error| error.to_string())
    }
}

/// Versions as far as they are kept: those that ended by the horizon are not, the others begin at it or later.
fn kept(lines: &BTreeSet<String>, horizon: Time) -> BTreeSet<String> {
    let clipped = |line: &String| {
        let (values, period) = line.rsplit_once(" [")?;
        let (since, until) = period.trim_end_matches(')').split_once(", ")?;
        let (since, until): (Time, Time) = (since.parse().ok()?, until.parse().ok()?);
        (until > horizon).then(|| format!("{values} [{}, {until})", since.max(horizon)))
    };
    lines.iter().filter_map(clipped).collect()
}

/// The statement that lands a change. What is behind it does not matter: bronze is what counts.
fn landing((table, key, action, one, two): &Change, lsn: i64, seq: usize, time: Time) -> String {
    let table = ["item", "customer", "sale"][*table];
    let mut row: BTreeMap<&str, serde_json::Value> = match table {
        "item" => [("item_id", (*key).into()), ("store", (*one).into())].into(),
        "customer" => [
            ("customer_id", (*key).into()),
            ("name", (*two > 0).then(|| format!("n{two}")).into()),
            ("item_id", (*one).into()),
            ("note", (*two).into()),
        ]
        .into(),
        _ => [
            ("sale_id", (*key).into()),
            ("sold_at", fold::moment(time - 4_000 * *two).into()),
            ("item_id", (*one).into()),
            ("customer_id", (*two).into()),
            ("amount", (*one).into()),
        ]
        .into(),
    };
    // A note that is no number.
    if (table, *action) == ("customer", 12) {
        row.insert("note", "unread".into());
    }
    let (op, image) = match action {
        0 => ("T", "NULL".to_owned()),
        1..=3 => ("D", format!("'{}'", serde_json::to_string(&row).unwrap())),
        _ => ("U", format!("'{}'", serde_json::to_string(&row).unwrap())),
    };
    format!(
        "INSERT INTO bronze.br_{table}_cdc (lsn, op, full_row, commit_ts, seq) VALUES \
         ({lsn}, '{op}', {image}, '{}', {seq})",
        fold::moment(time)
    )
}

fn statement((what, key, one, two): &Statement) -> String {
    match what {
        0 => format!("INSERT INTO silver.dim_item_hist (item_id, store) VALUES ({key}, {one})"),
        1 => format!(
            "UPDATE silver.dim_item_hist SET store = {one} WHERE item_id = {key} AND sys_end = 'infinity'"
        ),
        2 => format!(
            "INSERT INTO silver.dim_customer_hist (customer_id, name, item_id, store, note) \
             VALUES ({key}, 'w{two}', {one}, {two}, {two})"
        ),
        3 => format!(
            "UPDATE silver.dim_customer_hist SET name = 'w{two}' WHERE customer_id = {key} AND sys_end = 'infinity'"
        ),
        4 => format!(
            "UPDATE silver.dim_customer_hist SET store = {one} + 7, item_id = {two} \
             WHERE customer_id = {key} AND sys_end = 'infinity'"
        ),
        _ => {
            format!("DELETE FROM silver.dim_customer_hist WHERE customer_id = {key} AND sys_end = 'infinity'")
        }
    }
}
