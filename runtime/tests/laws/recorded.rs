//! The law of truth, on a live source: whatever several sessions do there, over tables with every kind of key,
//! and wherever capture and apply cut it into batches, each state that was recorded at the source is what the
//! dimensions say as of its time, across all tables at once.

use std::cell::RefCell;
use std::collections::BTreeMap;

use medallion_runtime::capture::{self, Progress};
use medallion_runtime::connection::{self, Database};
use medallion_runtime::descriptor::{Name, Warehouse};
use medallion_server::Server;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use sqlx::{AssertSqlSafe, Executor as _, PgConnection};

use crate::arrivals;
use crate::every_key_warehouse::warehouse;
use crate::keys::{KINDS, Kind};

const SESSIONS: usize = 3;

/// Who, on which table, with which of its keys and which name, does what.
type Step = (usize, usize, usize, usize, Act);

#[derive(Clone, Copy, Debug)]
enum Act {
    Insert,
    Upsert,
    Update,
    UpdateAll,
    /// The one key becomes the other.
    Move,
    Delete,
    Truncate,
    Begin,
    Commit,
    Rollback,
    Savepoint,
    Back,
    Capture,
    /// Silver follows what has landed.
    Apply,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => Just(Act::Insert),
        4 => Just(Act::Upsert),
        6 => Just(Act::Update),
        1 => Just(Act::UpdateAll),
        2 => Just(Act::Move),
        4 => Just(Act::Delete),
        1 => Just(Act::Truncate),
        5 => Just(Act::Begin),
        6 => Just(Act::Commit),
        1 => Just(Act::Rollback),
        2 => Just(Act::Savepoint),
        1 => Just(Act::Back),
        2 => Just(Act::Capture),
        1 => Just(Act::Apply),
    ]
}

/// A source and a warehouse, and those who are connected to them.
struct Place {
    warehouse: Warehouse,
    source_url: String,
    sessions: Vec<PgConnection>,
    /// Records what is committed.
    witness: PgConnection,
    target: PgConnection,
}

struct Quiet;

impl Progress for Quiet {
    fn landed(&mut self, _: &Name, _: u64) {}
    fn note(&mut self, _: &str) {}
}

#[test]
fn dimensions_say_as_of_every_time_what_was_recorded_at_the_source() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let place = RefCell::new(runtime.block_on(Place::open("recorded")));
    let steps = prop::collection::vec((0..SESSIONS, 0..KINDS.len(), 1..3_usize, 0..4_usize, act()), 20..120);
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(6);
    // The source goes on from case to case.
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 0, ..Config::default() };
    TestRunner::new(config)
        .run(&steps, |steps| runtime.block_on(place.borrow_mut().check(&steps)).map_err(TestCaseError::fail))
        .unwrap_or_else(|error| panic!("{error}"));
}

impl Place {
    async fn open(name: &str) -> Self {
        let server = Server::shared_scratch().unwrap();
        let source = format!("{name}_source");
        server.ensure_database(&source).unwrap();
        let source_url = server.url(&source);
        let target = arrivals::open(name).await;
        let mut warehouse = warehouse();
        warehouse.source.slot = format!("medallion_{name}");
        let is_there = |source: &Name| KINDS.iter().any(|kind| source.table == format!("by_{}", kind.name));
        warehouse.landings.retain(|landing| is_there(&landing.source));
        let mut witness = connection::connect(Database::Source, &source_url).await.unwrap();
        run("CREATE SCHEMA silver; CREATE TYPE silver.mood AS ENUM ('sad', 'ok', 'happy')", &mut witness)
            .await
            .unwrap();
        for kind in &KINDS {
            let columns: Vec<String> = kind.key.iter().map(|(name, of)| format!("{name} {of}")).collect();
            let sql = format!(
                "CREATE TABLE by_{} ({}, name text, note text, PRIMARY KEY ({}))",
                kind.name,
                columns.join(", "),
                kind.columns()
            );
            run(&sql, &mut witness).await.unwrap();
        }
        let mut sessions = Vec::new();
        for _ in 0..SESSIONS {
            let mut session = connection::connect(Database::Source, &source_url).await.unwrap();
            run("SET lock_timeout = '15ms'", &mut session).await.unwrap();
            sessions.push(session);
        }
        let mut place = Self { warehouse, source_url, sessions, witness, target };
        place.capture().await.unwrap();
        place
    }

    async fn check(&mut self, steps: &[Step]) -> Result<(), String> {
        let mut recorded: Vec<(i64, Vec<String>)> = vec![self.record().await];
        let mut open: BTreeMap<usize, usize> = BTreeMap::new();
        for (number, table, key, name, act) in steps {
            let session = &mut self.sessions[*number];
            let (sql, ends) = match act {
                Act::Begin if !open.contains_key(number) => {
                    open.insert(*number, 0);
                    ("BEGIN".to_owned(), false)
                }
                Act::Commit if open.remove(number).is_some() => ("COMMIT".to_owned(), true),
                Act::Rollback if open.remove(number).is_some() => ("ROLLBACK".to_owned(), true),
                Act::Savepoint if let Some(depth) = open.get_mut(number) => {
                    *depth += 1;
                    ("SAVEPOINT s".to_owned(), false)
                }
                Act::Back if let Some(depth) = open.get_mut(number).filter(|depth| **depth > 0) => {
                    *depth -= 1;
                    ("ROLLBACK TO s; RELEASE s".to_owned(), false)
                }
                Act::Begin | Act::Commit | Act::Rollback | Act::Savepoint | Act::Back => continue,
                Act::Capture => {
                    self.capture().await?;
                    continue;
                }
                Act::Apply => {
                    self.apply().await?;
                    continue;
                }
                // Nobody could read the table until it ends.
                Act::Truncate if open.remove(number).is_some() => {
                    (format!("TRUNCATE by_{}; COMMIT", KINDS[*table].name), true)
                }
                change => (statement(*change, &KINDS[*table], *key, *name), !open.contains_key(number)),
            };
            if run(&sql, session).await.is_err() {
                // A key that is there, or a row that another holds.
                run("ROLLBACK", session).await?;
                open.remove(number);
            } else if ends {
                recorded.push(self.record().await);
            }
        }
        for session in &mut self.sessions {
            run("ROLLBACK", session).await?;
        }
        self.capture().await?;
        self.apply().await?;
        for (position, state) in &recorded {
            self.compare(*position, state).await?;
        }
        arrivals::verified(&mut self.target).await;
        Ok(())
    }

    async fn capture(&mut self) -> Result<(), String> {
        let done = capture::capture(&self.warehouse, &self.source_url, &mut self.target, &mut Quiet).await;
        done.map(drop).map_err(|error| error.to_string())
    }

    async fn apply(&mut self) -> Result<(), String> {
        arrivals::apply_to(&self.warehouse, &mut self.target).await.map(drop)
    }

    /// What is committed at the source, and the position that it stands at.
    async fn record(&mut self) -> (i64, Vec<String>) {
        let rows = everything(|kind| format!("by_{}", kind.name));
        let sql = format!("SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint, ARRAY ({rows} ORDER BY 1)");
        sqlx::query_as(AssertSqlSafe(sql)).fetch_one(&mut self.witness).await.unwrap()
    }

    async fn compare(&mut self, position: i64, state: &[String]) -> Result<(), String> {
        // A commit record may begin where the position was taken: it came after.
        let times: Vec<String> = KINDS
            .iter()
            .map(|kind| {
                format!("SELECT max(commit_ts) FROM bronze.br_by_{} WHERE lsn < {position}", kind.name)
            })
            .collect();
        let time = format!("SELECT max(time)::text FROM ({}) AS last (time)", times.join(" UNION ALL "));
        let time: Option<String> =
            sqlx::query_scalar(AssertSqlSafe(time)).fetch_one(&mut self.target).await.unwrap();
        let time = time.unwrap_or_else(|| "-infinity".to_owned());
        let rows = everything(|kind| format!("silver.by_{}_as_of('{time}')", kind.name));
        let sql = format!("SELECT ARRAY ({rows} ORDER BY 1)");
        let found: Vec<String> =
            sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut self.target).await.unwrap();
        if found == state {
            return Ok(());
        }
        Err(format!("as of {time}, position {position}:\nrecorded {state:#?}\nfound {found:#?}"))
    }
}

/// The rows of all tables, each as text: key and name, for a note is only kept as it is now.
fn everything(table: impl Fn(&Kind) -> String) -> String {
    let rows: Vec<String> = KINDS
        .iter()
        .map(|kind| {
            format!(
                "SELECT concat('{} ', to_jsonb(rows)) FROM (SELECT {}, name FROM {}) AS rows",
                kind.name,
                kind.columns(),
                table(kind)
            )
        })
        .collect();
    rows.join(" UNION ALL ")
}

fn statement(act: Act, kind: &Kind, key: usize, name: usize) -> String {
    let table = format!("by_{}", kind.name);
    let columns = kind.columns();
    let name = ["NULL", "''", "'a'", "'A'"][name];
    let insert = format!(
        "INSERT INTO {table} ({columns}, name, note) VALUES ({}, {name}, clock_timestamp()::text)",
        kind.values(key).join(", ")
    );
    match act {
        Act::Insert => insert,
        Act::Upsert => {
            format!(
                "{insert} ON CONFLICT ({columns}) DO UPDATE SET name = excluded.name, note = excluded.note"
            )
        }
        Act::Update => format!("UPDATE {table} SET name = {name} WHERE {}", kind.is(key)),
        Act::UpdateAll => format!("UPDATE {table} SET name = {name}, note = 'all'"),
        Act::Move => {
            let there = kind.values(3 - key);
            let set: Vec<String> = kind
                .key
                .iter()
                .zip(there)
                .map(|((column, _), value)| format!("{column} = {value}"))
                .collect();
            format!("UPDATE {table} SET {} WHERE {}", set.join(", "), kind.is(key))
        }
        Act::Delete => format!("DELETE FROM {table} WHERE {}", kind.is(key)),
        Act::Truncate => format!("TRUNCATE {table}"),
        Act::Begin | Act::Commit | Act::Rollback | Act::Savepoint | Act::Back | Act::Capture | Act::Apply => {
            unreachable!("they change no row")
        }
    }
}

async fn run(sql: &str, connection: &mut PgConnection) -> Result<(), String> {
    connection
        .execute(AssertSqlSafe(sql.to_owned()))
        .await
        .map(drop)
        .map_err(|error| format!("{sql}: {error}"))
}
