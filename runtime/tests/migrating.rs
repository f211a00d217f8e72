//! Migrations meet others at work: they wait in short tries, say whom they wait for, and leave everything as it was
//! where they give up. What the spec does not allow is not begun.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

use std::time::{Duration, Instant};

use medallion_runtime::descriptor::{Plugin, RemovedPartitions, Scripts, Source, Warehouse};
use medallion_runtime::error::Error;
use medallion_runtime::lock;
use medallion_runtime::migrate::{self, Patience, Refused};
use medallion_runtime::place::Place;
use medallion_server::Server;
use sea_orm_migration::prelude::*;
use sqlx::{Connection as _, Executor as _, PgConnection, Row as _};
use tokio::sync::mpsc;

/// What the tool writes, as it stands.
#[path = "../../tests/evolution/expected/beside/mod.rs"]
mod beside;

struct First;
struct Second;
struct Indexed;
struct Lazy;

impl MigrationName for First {
    fn name(&self) -> &str {
        "m000001_baseline"
    }
}

impl MigrationName for Second {
    fn name(&self) -> &str {
        "m000002_second"
    }
}

impl MigrationName for Indexed {
    fn name(&self) -> &str {
        "m000003_index"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for First {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sql = "CREATE TABLE medallion.warehouse (name text, objects_hash text);
            INSERT INTO medallion.warehouse VALUES ('shop', 'one');
            CREATE TABLE public.till (id integer, twice integer);
            INSERT INTO public.till VALUES (1, 1), (2, 1)";
        manager.get_connection().execute_unprepared(sql).await?;
        Ok(())
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Second {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sql = "UPDATE medallion.warehouse SET objects_hash = 'two'; ALTER TABLE public.till ADD COLUMN day date";
        manager.get_connection().execute_unprepared(sql).await?;
        Ok(())
    }
}

impl MigrationName for Lazy {
    fn name(&self) -> &str {
        "m000004_lazy"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Lazy {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared("SELECT pg_sleep(600)").await?;
        Ok(())
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Indexed {
    fn use_transaction(&self) -> Option<bool> {
        Some(false)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sql = "
-- By itself:
DROP INDEX CONCURRENTLY IF EXISTS public.till_twice;

-- By itself:
CREATE UNIQUE INDEX CONCURRENTLY till_twice ON public.till (twice);";
        migrate::by_itself(manager.get_connection(), sql).await
    }
}

fn warehouse(objects_hash: &'static str, migrations: fn() -> Vec<Box<dyn MigrationTrait>>) -> Warehouse {
    Warehouse {
        name: "shop",
        spec_hash: "",
        objects_hash,
        time_zone: "UTC",
        schemas: Vec::new(),
        source: Source {
            publication: String::new(),
            slot: String::new(),
            recorded_log: None,
            keep_log: None,
            plugin: Plugin::default(),
            removed_partitions: RemovedPartitions::default(),
            polling: None,
        },
        landings: Vec::new(),
        silver: Vec::new(),
        stagings: Vec::new(),
        calendars: Vec::new(),
        marts: Vec::new(),
        tests: Vec::new(),
        migrations,
        lineage: "[]",
        alerts: Vec::new(),
        refused: &[("m000002_second", "till.rewrite"), ("m000001_baseline", "till.scan")],
        tags: Vec::new(),
        scripts: Scripts::default(),
        demo: Vec::new(),
    }
}

fn first() -> Warehouse {
    warehouse("one", || vec![Box::new(First)])
}

fn second() -> Warehouse {
    warehouse("two", || vec![Box::new(First), Box::new(Second)])
}

fn indexed() -> Warehouse {
    warehouse("one", || vec![Box::new(First), Box::new(Indexed)])
}

async fn database(name: &str) -> (Place, PgConnection) {
    let server = Server::shared_scratch().unwrap();
    server.ensure_database(name).unwrap();
    let url = server.url(name);
    let session = PgConnection::connect(&url).await.unwrap();
    (Place { source: url.clone(), warehouse: url, bronze: None, embedded: None }, session)
}

/// A session that reads the table and does not end.
async fn reader(place: &Place) -> (PgConnection, i32) {
    let mut reader = PgConnection::connect(&place.warehouse).await.unwrap();
    reader.execute("SET application_name = 'a long report'").await.unwrap();
    let pid = reader.fetch_one("SELECT pg_backend_pid()").await.unwrap().get(0);
    reader.execute("BEGIN; SELECT FROM public.till").await.unwrap();
    (reader, pid)
}

fn patience(whole: u64) -> Patience {
    Patience { lock: Duration::from_millis(500), whole: Duration::from_secs(whole), statement: None }
}

#[tokio::test]
async fn it_waits_says_for_whom_and_goes_on_when_they_are_done() {
    let (place, mut session) = database("migrating").await;
    assert_eq!(migrate::up(&first(), &place).await.unwrap(), ["m000001_baseline"]);
    let (mut reader, pid) = reader(&place).await;
    let (sender, mut said) = mpsc::unbounded_channel();
    let second = second();
    let mut say = |line: &str| sender.send(line.to_owned()).unwrap();
    let migration = migrate::up_patiently(&second, &place, patience(300), &mut say);
    let others = async {
        let mut lines = Vec::new();
        while !lines.last().is_some_and(|line: &String| line.contains("tries again")) {
            lines.push(said.recv().await.unwrap());
        }
        // In between nobody has to wait.
        session.execute("SET lock_timeout = '60s'; INSERT INTO public.till VALUES (3, 3)").await.unwrap();
        reader.execute("COMMIT").await.unwrap();
        lines
    };
    let (applied, lines) = tokio::join!(migration, others);
    assert_eq!(applied.unwrap(), ["m000002_second"]);
    let who = format!(
        "m000002_second: waits, for server process {pid} of `medallion` (a long report, idle in transaction)"
    );
    assert!(lines[0].starts_with(&format!("{who} uses till, since ")), "{lines:?}");
    assert!(lines[1].starts_with("m000002_second: no lock within 500ms; lets others go ahead"), "{lines:?}");
}

#[tokio::test]
async fn where_it_gives_up_nothing_has_happened() {
    let (place, mut session) = database("migrating_in_vain").await;
    migrate::up(&first(), &place).await.unwrap();
    let (mut reader, pid) = reader(&place).await;
    let error = migrate::up_patiently(&second(), &place, patience(1), &mut |_| ()).await.unwrap_err();
    assert_eq!(error.sqlstate().as_deref(), Some("55P03"));
    let said = error.to_string();
    assert!(said.starts_with("migration `m000002_second` failed: it was rolled back as a whole"), "{said}");
    assert!(
        said.contains(&format!("server process {pid} ")) && said.contains("let it end, then try again"),
        "{said}"
    );
    let hash: String =
        session.fetch_one("SELECT objects_hash FROM medallion.warehouse").await.unwrap().get(0);
    assert_eq!(hash, "one");
    reader.execute("COMMIT").await.unwrap();
    // A statement that takes too long is not tried again.
    let slow = Patience { statement: Some(Duration::from_millis(100)), ..patience(60) };
    let lazy = warehouse("one", || vec![Box::new(First), Box::new(Lazy)]);
    let error = migrate::up_patiently(&lazy, &place, slow, &mut |_| ()).await.unwrap_err();
    assert_eq!(error.sqlstate().as_deref(), Some("57014"));
}

#[tokio::test]
async fn what_is_not_allowed_is_refused_where_there_is_something_to_lose() {
    let (place, _session) = database("migrating_at_risk").await;
    assert_eq!(migrate::refused(&second(), &place).await.unwrap(), [], "there is nothing yet");
    migrate::up(&first(), &place).await.unwrap();
    let pending = Refused { migration: "m000002_second".to_owned(), what: "till.rewrite".to_owned() };
    assert_eq!(migrate::refused(&second(), &place).await.unwrap(), [pending]);
    migrate::up(&second(), &place).await.unwrap();
    assert_eq!(migrate::refused(&second(), &place).await.unwrap(), [], "it is done");
}

#[tokio::test]
async fn an_index_that_could_not_be_built_is_built_anew() {
    let (place, mut session) = database("migrating_beside").await;
    migrate::up(&first(), &place).await.unwrap();
    let error = migrate::up(&indexed(), &place).await.unwrap_err();
    assert!(error.to_string().starts_with("migration `m000003_index` failed half-way"), "{error}");
    let invalid =
        "SELECT count(*) FROM pg_index WHERE indexrelid = 'public.till_twice'::regclass AND NOT indisvalid";
    assert_eq!(session.fetch_one(invalid).await.unwrap().get::<i64, _>(0), 1);
    session.execute("DELETE FROM public.till WHERE id = 2").await.unwrap();
    assert_eq!(migrate::up(&indexed(), &place).await.unwrap(), ["m000003_index"]);
    assert_eq!(session.fetch_one(invalid).await.unwrap().get::<i64, _>(0), 0);
}

/// A shop that holds sales, for which an index is to be built beside others.
struct Shop;

impl MigrationName for Shop {
    fn name(&self) -> &str {
        "m000001_baseline"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Shop {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sql = "CREATE TABLE medallion.warehouse (name text, objects_hash text);
            INSERT INTO medallion.warehouse VALUES ('shop', 'one');
            CREATE SCHEMA silver;
            CREATE TABLE silver.dim_customer_hist (points integer, sys_end timestamptz);
            CREATE TABLE silver.fact_sale (customer_id integer, sold_at date) PARTITION BY RANGE (sold_at);
            CREATE TABLE silver.fact_sale_default PARTITION OF silver.fact_sale DEFAULT;
            CREATE TABLE silver.\"fact_sale's 2024\" PARTITION OF silver.fact_sale
                FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
            CREATE TABLE silver.fact_sale_2025 PARTITION OF silver.fact_sale
                FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
            INSERT INTO silver.fact_sale VALUES (1, '2024-02-03'), (2, '2023-02-03')";
        manager.get_connection().execute_unprepared(sql).await?;
        Ok(())
    }
}

fn shop() -> Warehouse {
    warehouse("one", || vec![Box::new(Shop), Box::new(beside::Migration)])
}

/// Whoever ends a build in the middle leaves an index behind that serves nobody: the next try builds it.
#[tokio::test]
async fn what_is_built_beside_others_is_begun_anew_where_it_was_broken_off() {
    let (place, mut session) = database("migrating_broken_off").await;
    migrate::up(&warehouse("one", || vec![Box::new(Shop)]), &place).await.unwrap();
    let shop = shop();
    for (table, word) in
        [("silver.dim_customer_hist", "dim_customer"), ("silver.\"fact_sale's 2024\"", "2024")]
    {
        // The build waits for whoever writes.
        let mut writer = PgConnection::connect(&place.warehouse).await.unwrap();
        let write = format!("BEGIN; LOCK TABLE {table} IN ROW EXCLUSIVE MODE");
        writer.execute(sqlx::AssertSqlSafe(write)).await.unwrap();
        let others = async {
            until_it_builds(word, &mut session).await;
            // The loader has the warehouse meanwhile; another migration does not.
            let mut loader = PgConnection::connect(&place.warehouse).await.unwrap();
            lock::take(&mut loader).await.unwrap();
            let another = migrate::up(&shop, &place).await.unwrap_err().to_string();
            assert!(another.starts_with("another migration is at work on this warehouse"), "{another}");
            break_off(word, &mut session).await;
        };
        let (migrated, ()) = tokio::join!(migrate::up(&shop, &place), others);
        let error = migrated.unwrap_err().to_string();
        assert!(error.contains("failed half-way: the next try begins it anew"), "{error}");
        let vain = format!("{table} in vain");
        assert!(built(&mut session).await.contains(&vain), "{vain}");
        // Nobody waits for it the next time.
        writer.execute("ROLLBACK").await.unwrap();
    }
    assert_eq!(migrate::up(&shop, &place).await.unwrap(), ["m000003_dim_customer_hist_index_and_1_more"]);
    let all = [
        "silver.\"fact_sale's 2024\"",
        "silver.dim_customer_hist",
        "silver.fact_sale",
        "silver.fact_sale_2025",
        "silver.fact_sale_default",
    ];
    assert_eq!(built(&mut session).await, all);
    migrate::down(&shop, &place).await.unwrap();
    assert_eq!(built(&mut session).await, Vec::<String>::new());
}

/// A loader that has written to the default partition makes one beside it while that one is indexed: each of the two waits
/// for the other, so that the server ends one of them. Whichever it is tries again, and both get done.
#[tokio::test]
async fn a_loader_that_makes_a_partition_and_a_build_both_end_well() {
    let (place, mut session) = database("migrating_parting").await;
    migrate::up(&warehouse("one", || vec![Box::new(Shop)]), &place).await.unwrap();
    let mut loader = PgConnection::connect(&place.warehouse).await.unwrap();
    const WRITE: &str = "BEGIN; INSERT INTO silver.fact_sale VALUES (3, '2022-02-03')";
    loader.execute(WRITE).await.unwrap();
    let work = async {
        until_it_builds("fact_sale_default", &mut session).await;
        let mut tries = 1;
        loop {
            let part = "CREATE TABLE silver.fact_sale_2030 PARTITION OF silver.fact_sale
                FOR VALUES FROM ('2030-01-01') TO ('2031-01-01')";
            let made = match loader.execute(part).await {
                Ok(_) => loader.execute("COMMIT").await.map(drop),
                Err(error) => Err(error),
            };
            let Err(cause) = made else { break tries };
            let error = Error::new("no partition").because(cause);
            // As `run` and `watch` do it: all of it once more.
            assert!(error.is_passing(), "{error}");
            assert_eq!(error.sqlstate().as_deref(), Some("40P01"), "{error}");
            loader.execute("ROLLBACK").await.unwrap();
            loader.execute(WRITE).await.unwrap();
            tries += 1;
        }
    };
    let mut said = Vec::new();
    let mut say = |text: &str| said.push(text.to_owned());
    // No time is left for a try that is made again: what a try gets done does not count.
    let all = async { migrate::up_patiently(&shop(), &place, patience(60), &mut say).await };
    let (migrated, tries) = tokio::join!(all, work);
    assert_eq!(migrated.unwrap(), ["m000003_dim_customer_hist_index_and_1_more"]);
    let has_yielded = said.iter().any(|text| text.contains("lets others go ahead"));
    assert!(tries > 1 || has_yielded, "nobody had to try again: {said:?}");
    let all = [
        "silver.\"fact_sale's 2024\"",
        "silver.dim_customer_hist",
        "silver.fact_sale",
        "silver.fact_sale_2025",
        "silver.fact_sale_2030",
        "silver.fact_sale_default",
    ];
    assert_eq!(built(&mut session).await, all);
}

/// Who makes a partition does not wait for the default one to be indexed where it holds nothing, as it mostly does.
#[tokio::test]
async fn what_holds_nothing_is_not_built_beside_others() {
    let (place, mut session) = database("migrating_empty").await;
    migrate::up(&warehouse("one", || vec![Box::new(Shop)]), &place).await.unwrap();
    session.execute("TRUNCATE silver.fact_sale_default").await.unwrap();
    let sql = include_str!("../../tests/evolution/expected/beside/up.sql");
    let ask = sql.split("-- Each line of its answer, by itself:").nth(2).unwrap();
    let ask = ask.split("-- By itself:").next().unwrap();
    let spelled = sql.split("-- By itself:").find(|one| one.contains("pg_temp")).unwrap();
    let spelled = spelled.split("-- Each line").next().unwrap();
    session.execute(sqlx::AssertSqlSafe(spelled.to_owned())).await.unwrap();
    let rows = session.fetch_all(sqlx::AssertSqlSafe(ask.to_owned())).await.unwrap();
    let told: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(told, ["CREATE INDEX CONCURRENTLY ON silver.\"fact_sale's 2024\" USING btree (customer_id)"]);
}

/// The sessions that wait to build an index on a table that is called so.
const BUILDING: &str = "FROM pg_stat_activity
    WHERE datname = current_database() AND query LIKE '%CREATE INDEX CONCURRENTLY %' || $1 || '%'
    AND wait_event_type = 'Lock'";

async fn until_it_builds(word: &str, session: &mut PgConnection) {
    let ask = format!("SELECT pid {BUILDING}");
    let deadline = Instant::now() + Duration::from_secs(60);
    let asked = || sqlx::query(sqlx::AssertSqlSafe(ask.clone())).bind(word);
    while asked().fetch_optional(&mut *session).await.unwrap().is_none() {
        assert!(Instant::now() < deadline, "nobody builds an index");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn break_off(word: &str, session: &mut PgConnection) {
    let end = format!("SELECT pg_terminate_backend(pid) {BUILDING}");
    sqlx::query(sqlx::AssertSqlSafe(end)).bind(word).fetch_one(&mut *session).await.unwrap();
}

/// The tables that have an index, or one that serves nobody.
async fn built(session: &mut PgConnection) -> Vec<String> {
    let ask = "SELECT indrelid::regclass || CASE WHEN indisvalid THEN '' ELSE ' in vain' END
        FROM pg_index WHERE indrelid::regclass::text LIKE 'silver.%' ORDER BY indrelid::regclass::text COLLATE \"C\"";
    session.fetch_all(ask).await.unwrap().iter().map(|row| row.get(0)).collect()
}
