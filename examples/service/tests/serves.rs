//! The example's service, started as its users do, on the sample's warehouse: what the mart has, and what it had.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by them")]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use medallion_runtime::connection::{self, Database};
use medallion_runtime::place::Place;
use medallion_runtime::progress::Silent;
use medallion_runtime::{migrate, run, script};
use medallion_server::Server;
use serde_json::Value;

/// The service, under way; it ends with the test.
struct Service {
    child: Child,
    address: String,
}

impl Service {
    fn start(warehouse: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_example-service"))
            .env("DATABASE_URL", warehouse)
            .env("LISTEN", "127.0.0.1:0")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let address =
            said.trim_end().strip_prefix("serving ").unwrap_or_else(|| panic!("it said `{said}`")).to_owned();
        Self { child, address }
    }

    /// The status, and what was answered.
    fn ask(&self, question: &str) -> (u16, String) {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let mut answer = agent.get(format!("{}{question}", self.address)).call().unwrap();
        (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
    }

    fn rows(&self, question: &str) -> Vec<Value> {
        let (status, text) = self.ask(question);
        assert_eq!(status, 200, "{text}");
        serde_json::from_str(&text).unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn the_mart_is_served_as_it_is_and_as_it_was() {
    let server = Server::shared_scratch().unwrap();
    let mut descriptor = warehouse::pagila::warehouse();
    // A slot's name is the whole server's, and the tests share one.
    descriptor.source.slot = "medallion_example".to_owned();
    for database in ["example_source", "example_warehouse"] {
        server.ensure_database(database).unwrap();
    }
    let place = Place {
        source: server.url("example_source"),
        warehouse: server.url("example_warehouse"),
        bronze: None,
        embedded: None,
    };
    for (name, sql) in [("source.sql", descriptor.scripts.source), ("sample.sql", descriptor.scripts.sample)]
    {
        script::execute(Database::Source, &place.source, name, sql.unwrap()).await.unwrap();
    }
    migrate::up(&descriptor, &place).await.unwrap_or_else(|error| panic!("{error}"));
    run::run(&descriptor, &place, &mut Silent).await.unwrap_or_else(|error| panic!("{error}"));

    let service = Service::start(&place.warehouse);
    let mut session = connection::connect(Database::Warehouse, &place.warehouse).await.unwrap();
    let mut first = async |sql: &str| -> String {
        sqlx::query_scalar(sqlx::AssertSqlSafe(sql.to_owned())).fetch_one(&mut session).await.unwrap()
    };
    let all = service.rows("");
    assert_eq!(all.len(), 84, "seven stores, twelve months");
    let store = service.rows("?store=1");
    assert_eq!((store.len(), store[0]["store"].as_i64()), (12, Some(1)));
    let wanted = first(
        "SELECT revenue::text FROM simple_gold.vw_monthly_revenue WHERE store_id = 1 ORDER BY month LIMIT 1",
    );
    assert_eq!(store[0]["revenue"].as_str().unwrap(), wanted.await);

    let past = service.rows("?store=1&as_of=2025-07-01");
    assert!(!past.is_empty() && past.len() < 12, "{past:?}");
    first("SELECT set_config('medallion.as_of', '2025-07-01', false)").await;
    let wanted = first(
        "SELECT json_agg(revenue::text ORDER BY month)::text FROM as_of.vw_monthly_revenue WHERE store_id = 1",
    );
    let wanted: Value = serde_json::from_str(&wanted.await).unwrap();
    let had: Value = past.iter().map(|row| row["revenue"].clone()).collect();
    assert_eq!(had, wanted);
    // One question's time is not another's.
    assert_eq!(service.rows("?store=1"), store);

    let (status, said) = service.ask("?as_of=yesteryear");
    assert_eq!((status, said.contains("yesteryear")), (400, true), "{said}");
    let (status, said) = service.ask("?as_of=2025-07-01&store=x");
    assert_eq!(status, 400, "{said}");
}
