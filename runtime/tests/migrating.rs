//! Migrations meet others at work: they wait in short tries, say whom they wait for, and leave everything as it was
//! where they give up. What the spec does not allow is not begun.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

use std::time::Duration;

use medallion_runtime::descriptor::{Plugin, RemovedPartitions, Scripts, Source, Warehouse};
use medallion_runtime::migrate::{self, Patience, Refused};
use medallion_runtime::place::Place;
use medallion_server::Server;
use sea_orm_migration::prelude::*;
use sqlx::{Connection as _, Executor as _, PgConnection, Row as _};
use tokio::sync::mpsc;

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
        for sql in [
            "DROP INDEX CONCURRENTLY IF EXISTS public.till_twice",
            "CREATE UNIQUE INDEX CONCURRENTLY till_twice ON public.till (twice)",
        ] {
            manager.get_connection().execute_unprepared(sql).await?;
        }
        Ok(())
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
        },
        landings: Vec::new(),
        silver: Vec::new(),
        marts: Vec::new(),
        tests: Vec::new(),
        migrations,
        refused: &[("m000002_second", "till.rewrite"), ("m000001_baseline", "till.scan")],
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
    (Place { source: url.clone(), warehouse: url, embedded: None }, session)
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
