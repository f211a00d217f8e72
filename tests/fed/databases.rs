//! The database of a warehouse, and that of its bronze where the spec has it apart: there a process may die between the
//! commits of the two. Knows no feed.

use std::time::{Duration, Instant};

use medallion_runtime::apart::{self, attach};
use medallion_runtime::apply;
use medallion_runtime::connection::{self, Database};
use medallion_runtime::descriptor::Warehouse;
use medallion_server::Server;
use proptest::prelude::*;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _};

const TRAP: &str = include_str!("trap.sql");

/// What a spec says of it.
pub const APART: &str = "\n[bronze]\ndatabase = \"apart\"\n";

/// How an apply ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// As it should.
    Well,
    /// It is killed before it commits.
    Before,
    /// It is killed when bronze has committed and the warehouse has not. Where it deletes nothing over there, when both
    /// have.
    Between,
}

pub fn ends() -> impl Strategy<Value = Ends> {
    prop_oneof![3 => Just(Ends::Well), 1 => Just(Ends::Before), 2 => Just(Ends::Between)]
}

/// Where silver stands, and where changes land if that is another database.
pub struct Databases {
    pub name: String,
    pub target: PgConnection,
    bronze: Option<PgConnection>,
}

impl Databases {
    /// Makes them, by a script.
    pub async fn new(warehouse: &Warehouse, name: &str, up: &str) -> Self {
        let target = made(name, up).await;
        let mut all = Self { name: name.to_owned(), target, bronze: None };
        if warehouse.is_bronze_apart() {
            let bronze = bronze_of(name);
            all.bronze = Some(made(&bronze, up).await);
            let url = Server::shared_scratch().unwrap().url(&bronze);
            attach::attach(warehouse, &url, &mut all.target).await.unwrap();
        }
        all
    }

    /// The session that lands.
    pub fn lands(&mut self) -> &mut PgConnection {
        self.bronze.as_mut().unwrap_or(&mut self.target)
    }

    /// A run begins: bronze is told how far the warehouse has come. A watch lands on without.
    pub async fn begin(&mut self) {
        if let Some(bronze) = &mut self.bronze {
            apart::tell(&mut self.target, bronze).await.unwrap();
        }
    }

    /// Brings silver up.
    pub async fn apply(&mut self, warehouse: &Warehouse, ends: Ends) -> Result<(), String> {
        let text = |error: medallion_runtime::error::Error| format!("{error:?}");
        if let (Some(bronze), Ends::Between) = (&mut self.bronze, ends) {
            let trap = TRAP.replace("{warehouse}", &self.name).replace("{table}", "medallion.late_change");
            bronze.execute(AssertSqlSafe(trap)).await.unwrap();
        }
        let mut transaction = self.target.begin().await.unwrap();
        apply::hold(warehouse, &mut transaction).await.map_err(text)?;
        apply::apply(warehouse, &mut transaction, |_| ()).await.map_err(text)?;
        let ended = match ends {
            Ends::Before => transaction.rollback().await,
            Ends::Well | Ends::Between => transaction.commit().await,
        };
        if ends == Ends::Well {
            return ended.map_err(|error| error.to_string());
        }
        self.killed().await;
        Ok(())
    }

    /// As if the process had been killed: its sessions end, whatever they are at over there, and others go on.
    pub async fn killed(&mut self) {
        let target = session(&self.name).await;
        let _ = std::mem::replace(&mut self.target, target).close().await;
        let Some(bronze) = &mut self.bronze else { return };
        let next = session(&bronze_of(&self.name)).await;
        let _ = std::mem::replace(bronze, next).close().await;
        let deadline = Instant::now() + Duration::from_secs(60);
        let others = "SELECT count(*) FROM pg_stat_activity \
            WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()";
        while bronze.fetch_one(others).await.unwrap().get::<i64, _>(0) > 0 {
            assert!(Instant::now() < deadline, "a session of bronze does not end");
            tokio::task::yield_now().await;
        }
        bronze.execute("DROP SCHEMA IF EXISTS armed CASCADE").await.unwrap();
    }

    /// Nothing has landed where silver stands.
    pub async fn assert_landed_apart(&mut self, warehouse: &Warehouse) {
        for landing in warehouse.landings.iter().filter(|_| self.bronze.is_some()) {
            let here = format!("SELECT count(*) FROM ONLY {}", landing.table);
            let rows: i64 = self.target.fetch_one(AssertSqlSafe(here)).await.unwrap().get(0);
            assert_eq!(rows, 0, "{}", landing.table);
        }
    }

    pub async fn end(self) {
        self.target.close().await.unwrap();
        let mut names = vec![self.name];
        if let Some(bronze) = self.bronze {
            bronze.close().await.unwrap();
            names.push(bronze_of(&names[0]));
        }
        for name in names {
            drop_database(&name).await;
        }
    }
}

pub async fn drop_database(name: &str) {
    let mut admin = session("postgres").await;
    admin.execute(AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"))).await.unwrap();
}

async fn made(name: &str, up: &str) -> PgConnection {
    Server::shared_scratch().unwrap().ensure_database(name).unwrap();
    let mut session = session(name).await;
    let up = format!("CREATE SCHEMA IF NOT EXISTS medallion;\n{up}");
    session.execute(AssertSqlSafe(up)).await.unwrap();
    session
}

async fn session(name: &str) -> PgConnection {
    let url = Server::shared_scratch().unwrap().url(name);
    connection::connect(Database::Warehouse, &url).await.unwrap()
}

fn bronze_of(name: &str) -> String {
    format!("{name}_bronze")
}
